"""The primitives: each draws what it is given, where it is, and no label lies on another."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from PIL import Image

from mrcnn_steps import draw
from mrcnn_steps.draw.style import short
from tests.draw.scenes import check_labels, labels_of


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
