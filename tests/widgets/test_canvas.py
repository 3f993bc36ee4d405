"""The viewer, driven from Python without a browser: what it refuses, and the picture it leaves."""

import base64
import io
import json
import time

import numpy as np
import pytest
import torch
import traitlets
from ipywidgets import Button, VBox
from PIL import Image

from mrcnn_widgets.viewer.canvas import (
    NEGATIVE,
    POSITIVE,
    ArrowLayer,
    BoxLayer,
    Canvas,
    Category,
    GridLayer,
    Group,
    MaskLayer,
    PointLayer,
)
from mrcnn_widgets.viewer.layers import MAX_TEXT, one_line
from mrcnn_widgets.viewer.still import ink_on, picture
from mrcnn_widgets.viewer.twin import StaticView
from mrcnn_widgets.viewer.wire import encode
from tests.widgets.examples import NAN, PHOTO, anchors, check_shades, scattered_boxes, three_boxes

BAD_PICKS = [[5], "", -1, ["boxes", "x"], ["boxes", 1.5], ["boxes", True], ["boxes", 10**400]]
BAD_PICKS += [{"a": 1}, [["boxes"], 0], ["boxes", None], ["boxes", 0, 0]]
BAD_THRESHOLDS = [
    {"boxes": 5},
    {"boxes": {"score": 5}},
    {"boxes": {"score": [1]}},
    {"boxes": {"score": ["a", "b"]}},
    {"boxes": {"score": [NAN, None]}},
    {"boxes": {"score": [0, 10**400]}},
    {"boxes": {"score": {"low": 1}}},
    {"boxes": {5: [0, 1]}},
    ["boxes"],
]


def decode_png(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


class TestCanvas:
    @pytest.mark.parametrize("photo", [PHOTO, PHOTO.transpose(2, 0, 1), torch.tensor(PHOTO)])
    def test_takes_photos_of_either_order(self, photo):
        assert (Canvas(photo).photo == PHOTO).all()

    @pytest.mark.parametrize(
        "photo", [PHOTO[..., 0], PHOTO / 255, np.zeros((0, 5, 3), np.uint8), PHOTO[None]]
    )
    def test_refuses_what_is_no_photo(self, photo):
        with pytest.raises(ValueError, match="photo: expected uint8 RGB"):
            Canvas(photo)

    def test_refuses_two_layers_of_a_name(self):
        with pytest.raises(ValueError, match="different names"):
            Canvas(PHOTO, [three_boxes(), three_boxes()])

    def test_layers_by_name(self):
        canvas = Canvas(PHOTO, [three_boxes()])
        assert len(canvas["boxes"]) == 3
        with pytest.raises(KeyError, match="no layer 'masks'"):
            canvas["masks"]

    def test_put_replaces_in_place_and_adds_on_top(self):
        canvas = Canvas(PHOTO, [three_boxes(), PointLayer("points", [[1, 2]])])
        fresh = three_boxes()
        canvas.put(fresh, GridLayer("cells", (8, 8), (15, 20)))
        assert [layer.name for layer in canvas.layers] == ["boxes", "points", "cells"]
        assert canvas["boxes"] is fresh

    def test_selection_survives_new_data_while_its_row_exists(self):
        canvas = Canvas(PHOTO, [three_boxes()], selected=("boxes", 2))
        canvas.put(three_boxes())
        assert canvas.selected == ("boxes", 2)
        canvas.put(BoxLayer("boxes", [[0, 0, 5, 5]]))
        assert canvas.selected is None

    @pytest.mark.parametrize("pick", [("boxes", 3), ("boxes", -1), ("other", 0)])
    def test_refuses_to_select_what_is_not_there(self, pick):
        canvas = Canvas(PHOTO, [three_boxes()])
        with pytest.raises(traitlets.TraitError, match="no such row"):
            canvas.selected = pick

    def test_ignores_a_pick_of_the_browser_that_came_too_late(self):
        canvas = Canvas(PHOTO, [three_boxes()])
        canvas.set_state({"selected": ["boxes", 7], "hidden": ["boxes/neutral"]})
        assert canvas.selected is None
        assert canvas.hidden == ["boxes/neutral"]
        canvas.set_state({"selected": ["boxes", 1], "clicked": [3.5, 4]})
        assert canvas.selected == ("boxes", 1)
        assert canvas.clicked == (3.5, 4)

    @pytest.mark.parametrize("name", ["selected", "hovered"])
    @pytest.mark.parametrize("pick", [(5,), "", -1, ("boxes", "x"), {"a": 1}, ("boxes", True)])
    def test_refuses_what_is_no_pick(self, name, pick):
        canvas = Canvas(PHOTO, [three_boxes()])
        with pytest.raises(traitlets.TraitError):
            setattr(canvas, name, pick)
        with pytest.raises(traitlets.TraitError):
            canvas.update(**{name: pick})
        with pytest.raises(traitlets.TraitError):
            Canvas(PHOTO, [three_boxes()], **{name: pick})

    def test_a_grid_has_no_row_to_select(self):
        with pytest.raises(traitlets.TraitError, match="no such row"):
            Canvas(PHOTO, [GridLayer("cells", (8, 8), (15, 20))], selected=("cells", 0))

    @pytest.mark.parametrize("thresholds", BAD_THRESHOLDS)
    def test_refuses_what_are_no_thresholds(self, thresholds):
        canvas = Canvas(PHOTO, [three_boxes()])
        with pytest.raises(traitlets.TraitError):
            canvas.thresholds = thresholds

    @pytest.mark.parametrize(
        "message",
        [
            *({name: pick} for name in ("selected", "hovered") for pick in BAD_PICKS),
            *({"thresholds": thresholds} for thresholds in BAD_THRESHOLDS),
            *({"hidden": keys} for keys in ("boxes", [1], None, {"a": 1}, [["boxes"]])),
            *({"clicked": place} for place in (3, [1], ["a", "b"], [1, 10**400], {"x": 1}, "ab")),
            {"_scene": {}},
            {"title": "from a page"},
            {"_layer_0": b"junk"},
        ],
    )
    def test_leaves_out_what_a_page_must_not_say(self, message):
        canvas = Canvas(PHOTO, [three_boxes()], title="A", selected=("boxes", 1))
        before = canvas.get_state(), canvas.to_png()
        canvas.set_state({**message, "view": "nonsense"})
        assert (canvas.get_state(), canvas.to_png()) == before
        canvas.set_state({**message, "hidden": ["boxes/positive"]})
        assert canvas.hidden == ["boxes/positive"], "what is right beside it is heard"

    def test_what_starts_hidden_is_hidden_once(self):
        canvas = Canvas(PHOTO, [three_boxes(visible=False)])
        assert canvas.hidden == ["boxes"]
        canvas.hidden = []
        canvas.put(three_boxes(visible=False))
        assert canvas.hidden == []
        canvas.put(BoxLayer("new", [], groups=[Group("a", visible=False), Group("b")]))
        assert canvas.hidden == ["new/a"]

    def test_shown_counts_what_is_on_screen(self):
        canvas = Canvas(PHOTO, [three_boxes()], hidden=["boxes/neutral"])
        canvas.thresholds = {"boxes": {"score": [None, 0.6]}}
        assert canvas.shown("boxes").tolist() == [False, True, False]

    def test_repr_says_what_it_is(self):
        assert repr(Canvas(PHOTO, [three_boxes()])) == "Canvas(160×120; boxes 3)"


class TestPicture:
    def test_shows_photo_and_boxes_at_their_place(self):
        photo = PHOTO.copy()
        photo[60:, 80:] = (200, 120, 40)
        image = decode_png(Canvas(photo, [three_boxes()]).to_png(width=640))
        assert image.shape[1] == 640
        assert np.abs(image[400, 400] - (200, 120, 40)).max() < 12
        assert np.abs(image[200, 300] - (0x56, 0xB4, 0xE9)).max() < 12

    def test_honors_hidden_thresholds_and_selection(self):
        canvas = Canvas(PHOTO, [three_boxes()])
        everything = decode_png(canvas.to_png())
        canvas.thresholds = {"boxes": {"score": [None, 0.5]}}
        assert np.abs(decode_png(canvas.to_png())[200, 300] - 90).max() < 12
        canvas.thresholds = {}
        canvas.hidden = ["boxes/positive"]
        assert np.abs(decode_png(canvas.to_png())[200, 300] - 90).max() < 12
        canvas.hidden = []
        canvas.selected = ("boxes", 2)
        assert (decode_png(canvas.to_png()) != everything).any()

    def test_density_agrees_with_counting(self):
        boxes = scattered_boxes()
        layer = BoxLayer("many", boxes, groups=[Group("many", "#FFFFFF")])
        image = np.asarray(picture(np.zeros((100, 100, 3), np.uint8), [layer], width=100))
        check_shades(image[:100, :, 0], boxes)

    def test_every_kind_of_layer_leaves_ink(self):
        mask = np.zeros((1, 120, 160), bool)
        mask[0, 30:60, 30:60] = True
        layers = [
            MaskLayer("mask", mask, labels=["<b>"]),
            MaskLayer("soft", [np.linspace(0, 1, 784).reshape(28, 28)], [[20, 20, 90, 90]]),
            ArrowLayer("refined", [[10, 10, 50, 50]], [[20, 20, 90, 90]]),
            PointLayer("points", [[80, 60]]),
            GridLayer("cells", (16, 16), (7, 10), cells=[(2, 3)]),
        ]
        for layer in layers:
            image = np.asarray(picture(PHOTO, [layer], width=320))[:240]
            assert (image != 90).any(axis=2).sum() > 20, layer.name

    @pytest.mark.parametrize("far", [1e4, 1e12, 3e38])
    def test_what_lies_far_outside_costs_nothing(self, far):
        full = np.ones((4, 4), bool)
        box = [[-far, -far, far, far], [far / 2, far / 2, far, far]]
        layers = [
            BoxLayer("boxes", box, labels=["a", "b"]),
            PointLayer("points", [[far, -far], [-far, 0]], labels=["a", "b"]),
            ArrowLayer("arrows", [[0, 0, 1, 1]], [[far / 2, 0, far, 9]]),
            MaskLayer("masks", [full, full], box),
            GridLayer("cells", (8, 8), (1, 1), origin=(far, -far), cells=[(0, 0)]),
            GridLayer("fine", (1 / far, 1 / far), (10**12, 10**12)),
            GridLayer("many", (1, 1), (10**12, 10**12)),
        ]
        for layer in layers:
            selected = None if isinstance(layer, GridLayer) else (layer.name, len(layer) - 1)
            start = time.process_time()
            assert picture(PHOTO, [layer], selected=selected, width=160).width == 160
            assert time.process_time() - start < 1, layer.name

    def test_a_mask_that_leaves_the_photo_is_drawn_as_far_as_it_is_seen(self):
        """The cells keep their place, and the photo's edge is no outline."""
        cells = np.indices((6, 6)).sum(axis=0) % 2 == 0
        whole = MaskLayer("mask", [cells], [[-40, -30, 200, 150]])
        inside = MaskLayer("mask", [np.ones((3, 3), bool)], [[-40, -30, 200, 150]])
        large = np.asarray(picture(PHOTO, [whole], width=160))[:120]
        ground = np.full((180, 240, 3), 90, np.uint8)
        moved = MaskLayer("mask", [cells], [[0, 0, 240, 180]])
        expected = np.asarray(picture(ground, [moved], width=240))[30:150, 40:200]
        assert (large == expected).all()
        flat = np.asarray(picture(PHOTO, [inside], width=160))[:120]
        assert (flat == flat[0, 0]).all()

    def test_a_photo_that_is_a_mere_line_is_no_tower(self):
        for size in ((5000, 1), (1, 5000)):
            image = picture(np.zeros((*size, 3), np.uint8), [three_boxes()])
            assert image.width * image.height < 640 * 640 * 9

    def test_a_name_of_any_length_is_one_line_cut_once(self):
        for name in ("a\nb\r\n\tc", "x" * 20_000, "\ud800 lone", "\x00\x1b[31m"):
            layer = three_boxes(
                labels=[name] * 3,
                groups=[Group(name), NEGATIVE, POSITIVE],
                fields={"class": Category([0, 0, 0], [name])},
            )
            assert picture(PHOTO, [layer]).width == 640
            about, _ = encode(layer)
            texts = [about["groups"][0]["text"], about["labels"][0], about["fields"][0]["names"][0]]
            assert texts == [one_line(name)] * 3
            assert len(texts[0].splitlines()) == 1
            assert len(texts[0]) <= MAX_TEXT
            json.dumps(texts, ensure_ascii=False).encode()
        assert one_line("a\nb\r\n\tc") == "a b c"
        assert one_line("x" * 81) == "x" * 79 + "…"
        assert one_line("x" * 80) == "x" * 80

    def test_an_empty_label_leaves_no_tag(self):
        empty, none, some = (
            picture(PHOTO, [BoxLayer("box", [[40, 40, 60, 60]], labels=labels)])
            for labels in ([""], None, ["a"])
        )
        assert empty == none != some

    def test_no_label_lies_on_another(self):
        """Above the box, inside it, below it: the fourth label of a place is left out."""
        colors = ["#FF0001", "#00FF01", "#0101FF", "#FF01FF"]
        layers = [
            BoxLayer(color, [[40, 40, 150, 60]], labels=["cup 0.67"], colors=[color], width=1)
            for color in colors
        ]
        image = np.asarray(picture(PHOTO, layers, width=PHOTO.shape[1]))[: PHOTO.shape[0]]
        for color, place in zip(colors, (26, 40, 60, None), strict=True):
            ink = tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))
            # The outline of the last box lies on those of the others.
            wide = (image == ink).all(axis=2).sum(axis=1) > 20
            lines = set(wide.nonzero()[0]) - {40, 59}
            assert lines <= set(range(place, place + 15)) if place else not lines
            assert len(lines) >= (12 if place else 0)

    def test_white_is_seen_in_the_legend(self):
        layer = BoxLayer("white", [[0, 0, 9, 9]], groups=[Group("", "#FFFFFF")])
        image = np.asarray(picture(PHOTO, [layer], width=320))
        swatch = image[240:, :26]
        assert (swatch < 200).any(axis=2).sum() > 20

    @pytest.mark.parametrize("size", [(30, 40), (2000, 3000), (5, 1000), (1000, 5)])
    def test_sizes(self, size):
        photo = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
        data = Canvas(photo, [BoxLayer("boxes", np.zeros((0, 4)))]).to_png()
        assert len(data) <= 200_000
        Image.open(io.BytesIO(data)).verify()

    def test_all_anchors_take_little_time_and_room(self):
        canvas = Canvas(PHOTO.repeat(8, 0).repeat(8, 1), [anchors()])
        canvas.to_png()
        start = time.process_time()  # of this process alone: other work does not count
        data = canvas.to_png()
        assert time.process_time() - start < 1
        assert len(data) <= 200_000

    def test_ink_reads_on_every_color(self):
        assert ink_on("#FFFFFF") == ink_on("#F0E442") == "#000000"
        assert ink_on("#000000") == ink_on("#0072B2") == "#FFFFFF"

    def test_lies_beside_the_widget_in_a_notebook(self):
        data, _ = Canvas(PHOTO, [three_boxes()])._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in data
        assert data["text/plain"] == "Canvas(160×120; boxes 3)"
        assert decode_png(base64.b64decode(data["image/png"])).shape[1] == 640

    def test_explorers_leave_one_as_well(self):
        class Explorer(StaticView, VBox):
            def __init__(self):
                self.canvas = Canvas(PHOTO, [three_boxes()])
                super().__init__([Button(), self.canvas])

        data, _ = Explorer()._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in data
        assert decode_png(base64.b64decode(data["image/png"])).shape[1] == 640
