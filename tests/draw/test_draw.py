"""The pictures: each shows what its trace holds, in words and in outlines, for any photo."""

import io
import itertools
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import matplotlib.style
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from mrcnn_steps import draw, trace
from mrcnn_steps.data import COCO_CLASSES, Sample, sample
from mrcnn_steps.draw import fonts, style
from mrcnn_steps.draw.style import short
from mrcnn_steps.model.network import tiny
from mrcnn_steps.palette import LEAVES

FIGURES = {name: getattr(draw, name) for name in draw.__all__ if name.startswith("figure_")}


def lively(model, seed=0):
    """Random weights under which every stage has something to choose from."""
    torch.manual_seed(seed)
    for layer, spread in (
        (model.rpn.head.cls_logits, 10),
        (model.rpn.head.bbox_pred, 0.5),
        (model.roi_heads.box_predictor.cls_score, 8),
        (model.roi_heads.box_predictor.bbox_pred, 0.5),
    ):
        torch.nn.init.normal_(layer.weight, std=spread)
    # Untrained proposals overlap objects a little; enough of them count as positive like this.
    model.roi_heads.proposal_matcher.high_threshold = 0.1
    return model.eval()


def blobs(count: int, height: int, width: int, class_names=COCO_CLASSES) -> Sample:
    """A photo of noise with random ellipses as its objects."""
    generator = torch.Generator().manual_seed(count)
    y, x = torch.arange(height)[:, None], torch.arange(width)[None]
    masks = torch.zeros((count, height, width), dtype=torch.bool)
    for mask in masks:
        cy, cx, ry, rx = torch.rand(4, generator=generator).tolist()
        ry, rx = (0.05 + 0.2 * ry) * height, (0.05 + 0.2 * rx) * width
        mask |= ((y - cy * height) / ry) ** 2 + ((x - cx * width) / rx) ** 2 <= 1
    return Sample.from_masks(
        image=torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator),
        masks=masks,
        labels=torch.arange(count) % (len(class_names) - 1) + 1,
        crowd=torch.zeros(count, dtype=torch.bool),
        class_names=class_names,
        name=f"{count} blobs",
    )


@pytest.fixture(scope="module")
def model():
    return lively(tiny(image_size=256))


@pytest.fixture(scope="module")
def traced(model):
    found = trace(model, sample("voc_people"))
    assert len(found.detections) > 10
    assert len(found.ground_truth.mask_targets) > 10
    return found


def small_faster_rcnn():
    return fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=81, min_size=128, max_size=192
    )


# A photo, and how its model differs from the usual one.
CASES = {
    "no annotations": (lambda: blobs(1, 90, 120).image, {}),
    "no detections": (lambda: blobs(2, 80, 60), {"score_thresh": 1.0}),
    "one object": (lambda: blobs(1, 300, 200), {}),
    "300 objects": (lambda: blobs(300, 200, 256), {}),
    "40 × 30": (lambda: blobs(2, 30, 40), {}),
    "6000 × 4000": (lambda: blobs(1, 4000, 6000), {"detections_per_img": 2}),
    "panorama": (lambda: blobs(1, 20, 900), {}),
    "Faster R-CNN": (lambda: blobs(3, 120, 90), None),
}


@pytest.fixture(scope="module", params=CASES)
def odd(request, model):
    """A photo or model that is out of the ordinary."""
    photo, changes = CASES[request.param]
    if changes is None:
        return trace(lively(small_faster_rcnn()), photo())
    usual = {name: getattr(model.roi_heads, name) for name in changes}
    for name, value in changes.items():
        setattr(model.roi_heads, name, value)
    found = trace(model, photo())
    for name, value in usual.items():
        setattr(model.roi_heads, name, value)
    return found


def written(figure) -> list[Text]:
    """All text of a figure."""
    return [text for text in figure.findobj(Text) if text.get_text()]


def labels_of(ax) -> list[Text]:
    return [text for text in ax.texts if text.get_bbox_patch() is not None]


def outlines(ax, color=None, dashed=None) -> int:
    """Number of boxes on a panel, of one color; contours, which are translucent, not counted."""
    count = 0
    for group in ax.findobj(PolyCollection):
        edges = group.get_edgecolor()
        if len(edges) == 0 or edges[0][3] < 1:
            continue
        if dashed is not None and (group.get_linestyle()[0][1] is not None) != dashed:
            continue
        each = itertools.islice(itertools.cycle(edges), len(group.get_paths()))
        count += sum(color is None or to_hex(edge).upper() == color for edge in each)
    return count


def collide(first, second) -> bool:
    return (
        min(first.x1, second.x1) - max(first.x0, second.x0) > 0.01
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 0.01
    )


def check_labels(figure) -> None:
    """No label lies on another or leaves its panel."""
    figure.canvas.draw()
    for ax in figure.axes:
        panel = ax.get_window_extent()
        places = [label.get_bbox_patch().get_window_extent() for label in labels_of(ax)]
        for place in places:
            assert panel.x0 - 0.6 <= place.x0
            assert place.x1 <= panel.x1 + 0.6
            assert panel.y0 - 0.6 <= place.y0
            assert place.y1 <= panel.y1 + 0.6
        assert not any(collide(*pair) for pair in itertools.combinations(places, 2))


class TestEveryFigure:
    @pytest.mark.parametrize("name", FIGURES)
    def test_is_a_page_of_900_pixels_with_a_title(self, traced, name):
        figure = FIGURES[name](traced)
        width, height = Image.open(io.BytesIO(figure._repr_png_())).size
        assert width == 900
        assert height < 1000
        assert figure.texts[0].get_text() in figure.heading
        if name != "figure_network":
            check_labels(figure)

    @pytest.mark.parametrize("name", FIGURES)
    def test_copes_with_any_photo(self, odd, name):
        figure = FIGURES[name](odd)
        file = io.BytesIO()
        figure.savefig(file, dpi=40)
        assert Image.open(file).size[0] == 360
        assert not any(text.get_parse_math() for text in written(figure) if "$" in text.get_text())
        # Pictures of large photos are small: 6000 × 4000 pixels are never handed to matplotlib.
        assert all(max(shown.get_array().shape) <= 2000 for shown in images(figure))

    def test_does_not_depend_on_the_style_of_the_session(self, traced):
        plain = draw.figure_letterbox(traced)._repr_png_()
        with matplotlib.style.context(["dark_background", "ggplot"]):
            assert draw.figure_letterbox(traced)._repr_png_() == plain

    def test_can_be_drawn_in_threads(self, traced):
        def png(_):
            return draw.figure_sample(traced)._repr_png_()

        with ThreadPoolExecutor(2) as pool:
            assert len(set(pool.map(png, range(4)))) == 1

    def test_needs_no_pyplot(self, traced):
        from matplotlib import _pylab_helpers

        draw.figure_sample(traced)
        assert not _pylab_helpers.Gcf.figs


def images(figure):
    return [shown for ax in figure.axes for shown in ax.images]


HOSTILE = (
    "background",
    r"$\frac{$",
    "<b>bold</b>",
    "two\nlines",
    "a name that is very much longer than any label ever should be",
)


class TestText:
    def test_a_category_name_is_text(self, model):
        hostile = blobs(4, 120, 160, HOSTILE)
        found = trace(lively(tiny(HOSTILE, image_size=256)), hostile)
        for draw_figure in FIGURES.values():
            draw_figure(found).savefig(io.BytesIO(), dpi=40)
        names = {text.get_text() for text in labels_of(draw.figure_sample(found).axes[0])}
        assert names == {r"$\frac{$", "<b>bold</b>", "two lines", "a name that is very much lo…"}

    def test_a_sample_may_be_called_anything(self):
        photo = blobs(1, 50, 60)
        figure = draw.figure_sample(Sample(**vars(photo) | {"name": r"$\frac{$"}))
        assert figure.texts[0].get_text() == r"$\frac{$: 1 object"
        assert figure._repr_png_()

    def test_a_name_in_another_script_is_legible_or_told_of(self):
        """One warning in words; matplotlib has one for each letter, and a warning is an error."""
        photo = blobs(1, 50, 60)
        figure = draw.figure_sample(Sample(**vars(photo) | {"name": "Мяч, ελιά"}))
        assert figure.texts[0].get_text() == "Мяч, ελιά: 1 object"
        assert figure._repr_png_()
        # Of the private use area, which no font has.
        with pytest.warns(UserWarning, match="a\ue123: no font here has \ue123; install one"):
            figure = draw.figure_sample(Sample(**vars(photo) | {"name": "a\ue123"}))
        assert figure.texts[0].get_text() == "a□: 1 object"
        assert figure._repr_png_()

    def test_letters_come_from_whatever_font_has_them(self, monkeypatch):
        """STIX, which matplotlib brings along, has letters that its usual font has not."""
        families = ("DejaVu Sans", "STIXGeneral")
        monkeypatch.setattr(fonts, "FAMILIES", families)
        monkeypatch.setattr(style, "FAMILIES", families)
        fonts._letters.cache_clear()
        photo = blobs(1, 50, 60)
        figure = draw.figure_sample(Sample(**vars(photo) | {"name": "\u2a3f"}))
        assert figure.texts[0].get_text() == "\u2a3f: 1 object"
        assert figure._repr_png_()
        fonts._letters.cache_clear()


class TestPrimitives:
    @given(st.integers(0, 2**32 - 1), st.integers(1, 60))
    @settings(max_examples=15, deadline=None)
    def test_labels_never_overlap(self, random_boxes, seed, count):
        places = random_boxes(count, seed=seed)
        figure, [ax] = draw.page("labels", aspect=0.75)
        draw.photo(ax, torch.zeros((3, 600, 800), dtype=torch.uint8))
        names = [f"object {i}" for i in range(count)]
        written = draw.labels(ax, places, names, "#0072B2")
        check_labels(figure)
        assert written[0].get_text() == "object 0"
        left_out = [text for text in ax.texts if "left out" in text.get_text()]
        assert len(left_out) == (len(written) < count)
        if left_out:
            assert left_out[0].get_text().startswith(f"{count - len(written)} of {count} labels")

    def test_a_lone_label_stands_on_its_box(self):
        figure, [ax] = draw.page("label")
        draw.photo(ax, torch.zeros((3, 400, 400), dtype=torch.uint8))
        box = torch.tensor([[100.0, 200, 300, 300]])
        [label] = draw.labels(ax, box, ["here"], "#F0E442")
        figure.canvas.draw()
        place = label.get_bbox_patch().get_window_extent(figure.canvas.get_renderer())
        x, y = ax.transData.transform((100, 200))
        assert place.x0 == pytest.approx(x, abs=2)
        assert place.y0 == pytest.approx(y, abs=3)

    def test_a_photo_is_in_its_own_pixels(self):
        image = torch.zeros((3, 40, 60), dtype=torch.uint8)
        image[0, 10:20, 30:50] = 255
        figure, [ax] = draw.page("photo", aspect=40 / 60)
        draw.photo(ax, image)
        pixels = render(figure)
        for (x, y), color in {
            (30.5, 10.5): (255, 0, 0),
            (49.5, 19.5): (255, 0, 0),
            (29.5, 10.5): (0, 0, 0),
            (50.5, 19.5): (0, 0, 0),
        }.items():
            assert at(pixels, ax, x, y) == color

    def test_a_view_shows_a_part_and_the_plane_around_the_photo(self):
        image = torch.full((3, 40, 60), 255, dtype=torch.uint8)
        figure, [ax] = draw.page("photo")
        draw.photo(ax, image, (50, 30, 70, 50))
        pixels = render(figure)
        assert at(pixels, ax, 59, 39) == (255, 255, 255)
        assert at(pixels, ax, 61, 39) == at(pixels, ax, 59, 41) == (238, 241, 244)

    def test_boxes_are_drawn_where_they_are(self):
        figure, [ax] = draw.page("boxes")
        draw.photo(ax, torch.zeros((3, 100, 100), dtype=torch.uint8))
        found = draw.boxes(ax, torch.tensor([[20.0, 30, 60, 80]]), "#E69F00")
        assert len(found.get_paths()) == 1
        pixels = render(figure)
        for x, y in ((20, 50), (60, 50), (40, 30), (40, 80)):
            assert at(pixels, ax, x, y) == (230, 159, 0)
        assert at(pixels, ax, 40, 50) == (0, 0, 0)

    def test_no_boxes_are_fine(self):
        _, [ax] = draw.page("boxes")
        assert len(draw.boxes(ax, torch.zeros((0, 4)), "#E69F00").get_paths()) == 0
        assert draw.labels(ax, torch.zeros((0, 4)), [], []) == []

    @pytest.mark.parametrize("size", [(50, 60), (1500, 2000)])
    def test_masks_tint_their_pixels_and_no_others(self, size):
        height, width = size
        mask = torch.zeros((1, height, width), dtype=torch.bool)
        mask[0, height // 5 : height // 2, width // 5 : width // 2] = True
        figure, [ax] = draw.page("masks", aspect=height / width)
        draw.photo(ax, torch.zeros((3, height, width), dtype=torch.uint8))
        draw.masks(ax, mask, ["#0072B2"], opacity=0.5)
        pixels = render(figure)
        inside = at(pixels, ax, width * 0.35, height * 0.35)
        assert np.abs(np.subtract(inside, (0, 57, 89))).max() <= 1
        assert at(pixels, ax, width * 0.6, height * 0.35) == (0, 0, 0)
        assert at(pixels, ax, width * 0.1, height * 0.35) == (0, 0, 0)

    def test_dashes_tell_the_kinds_of_anchors_apart_without_color(self):
        looks = [draw.POSITIVE, draw.NEGATIVE, draw.NEUTRAL]
        assert len({look.dash for look in looks}) == len({look.color for look in looks}) == 3

    def test_a_crop_fades_what_is_outside_the_mask(self):
        image = torch.zeros((3, 20, 20), dtype=torch.uint8)
        mask = torch.zeros((20, 20), dtype=torch.bool)
        mask[5:10] = True
        part = draw.crop(image, torch.tensor([0.0, 0, 10, 10]), mask)
        assert part.shape == (10, 10, 3)
        assert (part[5:] == 0).all()
        assert (part[:5] == 178).all()

    def test_a_crop_beyond_the_photo_still_has_a_pixel(self):
        image = torch.zeros((3, 20, 20), dtype=torch.uint8)
        assert draw.crop(image, torch.tensor([30.0, -9, 40, -2])).shape == (1, 1, 3)

    def test_colors_stay_distinct(self):
        assert len(set(draw.palette(60))) == 60
        assert draw.palette(3) == list(draw.OKABE_ITO[:3])

    def test_a_class_has_its_color_whatever_else_is_in_the_picture(self, traced):
        """That of its label: the one that the explorers give it, too."""
        by_label = draw.class_colors(len(traced.class_names))
        figure = draw.figure_classified_proposals(traced, limit=12)
        labels, scores = traced.classification.labels, traced.classification.scores
        best = scores.where(labels > 0, -1).topk(12).indices
        names = {short(traced.class_names[label]): by_label[label] for label in labels[best]}
        shown = labels_of(figure.axes[0])
        assert shown
        for label in shown:
            name = label.get_text().rpartition(" ")[0]
            assert to_hex(label.get_bbox_patch().get_facecolor()).upper() == names[name]


def render(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB"))


def at(pixels: np.ndarray, ax, x: float, y: float) -> tuple[int, ...]:
    """The color on the page at a point of the data."""
    column, row = ax.transData.transform((x, y))
    return tuple(pixels[len(pixels) - 1 - int(row), int(column)].tolist())


class TestNumbers:
    """What titles say and panels show is what the trace holds."""

    def test_sample(self, traced):
        figure = draw.figure_sample(traced)
        assert figure.heading.startswith("voc_people: 19 objects. chair × 8, person × 7, ")
        assert outlines(figure.axes[0]) == 19

    def test_a_sample_needs_no_trace(self):
        assert draw.figure_sample(sample("voc_people")).heading.startswith("voc_people: 19 objects")

    def test_crowds_say_so(self):
        photo = blobs(1, 60, 80)
        crowd = Sample(**vars(photo) | {"crowd": torch.tensor([True])})
        [label] = labels_of(draw.figure_sample(crowd).axes[0])
        assert label.get_text() == "person (crowd)"

    def test_letterbox(self, traced):
        figure = draw.figure_letterbox(traced)
        assert figure.heading.startswith("Letterbox: 500 × 375 pixels become 256 × 256.")
        assert "the window is (0, 32) – (256, 224)" in figure.heading
        [window] = [g for g in figure.axes[1].collections if g.get_edgecolor()[0][3] == 1]
        assert window.get_paths()[0].get_extents().extents.tolist() == [0, 32, 256, 224]

    def test_mini_masks(self, traced):
        figure = draw.figure_mini_masks(traced, limit=7)
        mini = traced.ground_truth.mini_masks
        shown = [image for image in images(figure) if image.get_gid() == "mask"]
        assert figure.heading.startswith("19 mini-masks of 56 × 56, 7 shown.")
        assert len(shown) == 7
        assert np.array_equal(shown[3].get_array(), mini.mini_masks[3].numpy())
        assert any(f"IoU {mini.iou[3]:.3f}" in text.get_text() for text in written(figure))

    def test_mini_mask_round_trip(self, traced):
        truth = traced.ground_truth
        mini = truth.mini_masks
        heading = draw.figure_mini_mask_round_trip(traced).heading
        lost = (truth.masks & ~mini.expanded).any(dim=0).sum()
        gained = (mini.expanded & ~truth.masks).any(dim=0).sum()
        assert f"mean IoU {mini.iou.mean():.3f}, 1.2 MB in 59.6 kB" in heading
        assert f"{lost:,} pixels lost, {gained:,} gained" in heading

    def test_anchor_cell(self, traced):
        figure = draw.figure_anchor_cell(traced)
        assert figure.heading.startswith("15 of 4,092 anchors")
        assert outlines(figure.axes[0]) == 15
        for level, ax in enumerate(figure.axes[1:]):
            rows = sorted(int(label.get_text().replace(",", "")) for label in labels_of(ax))
            places = [traced.anchors.locate(row) for row in rows]
            grid = traced.anchors.grids[level]
            assert [place.ratio for place in places] == [0, 1, 2]
            assert {(place.level, place.row, place.column) for place in places} == {
                (level, grid.rows // 2, grid.columns // 2)
            }

    def test_anchor_levels(self, traced):
        figure = draw.figure_anchor_levels(traced)
        assert figure.heading.startswith("4,092 anchors on 5 pyramid levels")
        texts = [text.get_text() for text in written(figure)]
        titles = [text.partition(":")[0] for text in texts if " px, every " in text]
        assert titles == ["P2", "P3", "P4", "P5", "P6"]
        cells = [line for ax in figure.axes for line in ax.lines if line.get_gid() == "cells"]
        assert [len(line.get_xdata()) for line in cells] == [
            grid.rows * grid.columns for grid in traced.anchors.grids
        ]

    def test_a_level_may_have_many_sizes(self):
        found = trace(lively(small_faster_rcnn()), blobs(1, 90, 120))
        texts = {text.get_text() for text in written(draw.figure_anchor_levels(found))}
        assert "level 0: 32–512 px, every 32 px" in texts

    def test_of_very_many_classes_the_first_are_named(self):
        heading = draw.figure_sample(blobs(30, 60, 80)).heading
        assert heading.count(" × 1") == 8
        assert "truck × 1 and 22 more classes. 80 × 60 pixels." in heading

    def test_positive_and_negative_anchors(self, traced):
        labels = traced.ground_truth.rpn_targets.labels
        for draw_figure, label, look in (
            (draw.figure_positive_anchors, 1, draw.POSITIVE),
            (draw.figure_negative_anchors, -1, draw.NEGATIVE),
        ):
            figure = draw_figure(traced)
            count = int((labels == label).sum())
            assert figure.heading.startswith(f"{count} {look.name} anchors")
            dashed = look.dash != "solid"
            assert outlines(figure.axes[0], look.color, dashed) == count

    def test_neutral_anchors(self, traced):
        figure = draw.figure_neutral_anchors(traced, limit=30)
        targets = traced.ground_truth.rpn_targets
        count, between = int((targets.labels == 0).sum()), int((targets.match.labels == 0).sum())
        assert figure.heading.startswith(f"{count:,} neutral anchors, 30 shown. {between:,} are ")
        assert outlines(figure.axes[0], draw.NEUTRAL.color, dashed=True) == 30

    def test_refined_positives_land_on_objects(self, traced):
        figure = draw.figure_refined_positives(traced)
        truth = traced.ground_truth
        count = len(truth.rpn_targets.positive_index)
        ax = figure.axes[0]
        assert figure.heading.startswith(f"{count} positive anchors before and after refinement")
        assert outlines(ax, dashed=True) == outlines(ax, dashed=False) == count
        [lines] = ax.findobj(LineCollection)
        ends = np.array([segment[1] for segment in lines.get_segments()]).reshape(count, 4, 2)
        objects = truth.boxes[truth.rpn_targets.match.gt_index[truth.rpn_targets.positive_index]]
        assert np.allclose(ends[:, [0, 2]].reshape(count, 4), objects.numpy(), atol=1e-2)

    def test_top_anchors(self, traced):
        figure = draw.figure_top_anchors(traced, limit=40)
        best = traced.proposals.top_scores.sort(descending=True).values
        assert f"Top 40 of 4,092 anchors, objectness {best[0]:.3f} … {best[39]:.3f}" in (
            figure.heading
        )
        assert outlines(figure.axes[0]) == 40

    def test_refined_anchors_are_clipped_to_the_image(self, traced):
        figure = draw.figure_refined_anchors(traced, limit=50)
        for ax in figure.axes:
            sure = outlines(ax, draw.POSITIVE.color) + outlines(ax, draw.NEGATIVE.color)
            assert sure == 50
        paths = [path for group in figure.axes[1].collections for path in group.get_paths()]
        corners = np.concatenate([path.vertices for path in paths])
        assert corners.min() >= 0
        assert corners.max() <= 256

    def test_proposals_are_normalized(self, traced):
        figure = draw.figure_proposals(traced, limit=25)
        count = len(traced.proposals)
        assert figure.heading.startswith(f"{count:,} proposals, the best 25 shown.")
        assert outlines(figure.axes[0]) == 25
        paths = [path for group in figure.axes[0].collections for path in group.get_paths()]
        corners = np.concatenate([path.vertices for path in paths])
        assert corners.min() >= 0
        assert 0.5 < corners.max() <= 1
        expected = float(traced.proposals.padded()[:25, 0].min())
        assert corners[:, 0].min() == pytest.approx(expected, abs=1e-6)

    def test_classified_proposals(self, traced):
        figure = draw.figure_classified_proposals(traced, limit=12)
        labels = traced.classification.labels
        foreground = int((labels > 0).sum())
        assert f"{len(labels):,} classified proposals: {foreground:,} foreground" in figure.heading
        assert f"{len(labels) - foreground:,} are background" in figure.heading
        assert outlines(figure.axes[0]) == min(12, foreground)

    def test_detection_steps(self, traced):
        found = traced.detections
        figure = draw.figure_detection_steps(traced, limit=20)
        captions = [ax.texts[0].get_text() for ax in figure.axes]
        assert captions == [
            f"{len(traced.proposals):,} proposals",
            f"foreground: {len(found.foreground_rows):,}",
            f"score: {len(found.confident_rows):,}",
            f"size: {len(found.large_rows):,}",
            f"NMS per class: {len(found.nms_rows):,}",
            f"limit: {len(found):,}",
        ]
        assert outlines(figure.axes[-1], dashed=False) == min(20, len(found))
        for ax, before, after in zip(figure.axes[2:], found.steps, found.steps[1:], strict=False):
            gone = len(before) - len(after)
            assert outlines(ax, LEAVES.color, dashed=True) == min(20, gone)

    def test_mask_targets_begin_with_the_best_of_each_object(self, traced):
        truth = traced.ground_truth
        figure = draw.figure_mask_targets(traced, limit=8)
        shown = [image for image in images(figure) if image.get_gid() == "mask"]
        assert figure.heading.startswith(
            f"{len(truth.mask_targets)} mask targets of 28 × 28, 8 shown."
        )
        assert len(shown) == 8
        objects = [text.get_text() for text in written(figure) if "box IoU" in text.get_text()]
        reached = len(truth.positive_objects.unique())
        assert len({text.split(",")[0] for text in objects}) == min(8, reached)

    def test_predicted_masks_are_those_of_the_detected_class(self, traced):
        figure = draw.figure_predicted_masks(traced, limit=5)
        shown = [image for image in images(figure) if image.get_gid() == "mask"]
        label = traced.detections.labels[4]
        expected = traced.mask_logits[4, label].sigmoid().numpy()
        assert np.allclose(shown[4].get_array(), expected)
        assert len(shown) == 5

    def test_result(self, traced):
        scores = traced.result["scores"]
        bar = float(scores[4])
        figure = draw.figure_result(traced, min_score=bar)
        count = int((scores >= bar).sum())
        assert figure.heading.startswith(f"{count} of {len(scores)} detections with a score of ")
        assert outlines(figure.axes[0]) == count

    def test_a_result_without_sure_detections_says_what_the_best_one_has(self, traced):
        figure = draw.figure_result(traced, min_score=1.1)
        best = traced.result["scores"][0]
        assert figure.heading.endswith(f"None. The best one has {best:.2f}.")

    def test_pipeline(self, traced):
        texts = [ax.texts[0].get_text() for ax in draw.figure_pipeline(traced, 0.0).axes]
        count = len(traced.detections)
        assert texts[1:] == [
            "4,092 anchors",
            f"{len(traced.proposals):,} proposals",
            f"{count} detections",
            f"{count} objects",
        ]

    def test_network_shows_the_shapes_of_the_photo(self, traced):
        texts = {text.get_text() for text in written(draw.figure_network(traced))}
        count = len(traced.detections)
        assert {"3 × 375 × 500", "3 × 256 × 256", f"{count} × 81 × 28 × 28", "loss_mask"} <= texts
