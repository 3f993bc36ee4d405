"""The viewer's layers and their way to the browser: what they refuse, show, and send."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mrcnn_widgets.viewer.canvas import (
    NEGATIVE,
    NEUTRAL,
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
from mrcnn_widgets.viewer.still import DASHES
from mrcnn_widgets.viewer.wire import encode
from tests.widgets.examples import NAN, PHOTO, anchors, three_boxes


def arrays_of(layer, **options):
    """What the browser reads: the arrays of an encoded layer, by name."""
    about, buffer = encode(layer, **options)
    about, raw = json.loads(json.dumps(about)), zlib.decompress(buffer)
    return about, {
        name: np.frombuffer(raw, dtype, count, offset)
        for name, (offset, count, dtype) in about["arrays"].items()
    }


class TestLayers:
    @pytest.mark.parametrize(
        ("make", "complaint"),
        [
            (lambda: BoxLayer("a", [[0, 0, 1, 1], [0, NAN, 1, 1]]), r"'a', boxes: .*finite.*row 1"),
            (lambda: BoxLayer("a", [[0, 0, np.inf, 1]]), "finite"),
            (lambda: BoxLayer("a", [[5, 0, 4, 1]]), "x1 <= x2"),
            (lambda: BoxLayer("a", [[0, 0, 1]]), r"\[N, 4\], found \(1, 3\)"),
            (lambda: BoxLayer("a/b", []), "without '/'"),
            (lambda: BoxLayer("", []), "layer name"),
            (lambda: three_boxes(group_index=[0, 1]), "expected 3 rows, found 2"),
            (lambda: three_boxes(group_index=[0, 1, 3]), "expected 0 to 2, found 0 to 3"),
            (lambda: three_boxes(group_index=[0, -1, 1]), "found -1 to 1"),
            (lambda: three_boxes(fields={"iou": [1.0]}), "'iou': expected 3 rows"),
            (lambda: three_boxes(fields={"iou": np.zeros((3, 2))}), "one number for each row"),
            (lambda: three_boxes(fields={"class": Category([0, 1, 2], ["a"])}), "below 1"),
            (lambda: three_boxes(threshold="iou"), "'iou'"),
            (lambda: three_boxes(labels=["a"]), "labels: expected 3 rows"),
            (lambda: three_boxes(groups=[POSITIVE, POSITIVE, NEUTRAL]), "different names"),
            (lambda: ArrowLayer("a", [[0, 0, 1, 1]], []), "end: expected 1 rows, found 0"),
            (lambda: PointLayer("a", [[0, NAN]]), "finite"),
            (lambda: MaskLayer("a", [np.zeros(4, bool)]), r"\[H, W\]"),
            (lambda: MaskLayer("a", [np.full((2, 2), 7)]), "bool, or float in 0 to 1"),
            (lambda: MaskLayer("a", [np.full((2, 2), 1.5)]), "bool, or float in 0 to 1"),
            (lambda: MaskLayer("a", [np.ones((2, 2), bool)], []), "boxes: expected 1 rows"),
            (lambda: GridLayer("a", (0, 8), (3, 3)), "positive stride"),
            (lambda: Group("a", "red"), "#rrggbb"),
            (lambda: three_boxes(colors=["red", "#000000", "#000000"]), "#rrggbb"),
        ],
    )
    def test_refuse_what_cannot_be_drawn(self, make, complaint):
        with pytest.raises(ValueError, match=complaint):
            make()

    def test_take_tensors_wherever_they_come_from(self):
        boxes = torch.tensor([[1.0, 2, 3, 4]], requires_grad=True) * 2
        layer = BoxLayer("boxes", boxes, fields={"score": torch.tensor([0.5])})
        assert layer.boxes.tolist() == [[2, 4, 6, 8]]

    @given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
    def test_masks_are_cut_to_their_box(self, x, y, width, height):
        mask = np.zeros((20, 20), bool)
        mask[y : y + height, x : x + width] = True
        layer = MaskLayer("masks", mask[None])
        box = [x, y, x + width, y + height] if mask.any() else [0, 0, 0, 0]
        assert layer.boxes.tolist() == [box]
        assert layer.masks[0].sum() == mask.sum()

    def test_shown_follows_hidden_groups_and_thresholds(self):
        layer = three_boxes()
        assert layer.shown([], {}).tolist() == [True, True, True]
        assert layer.shown(["boxes/negative"], {}).tolist() == [True, False, True]
        assert layer.shown(["boxes"], {}).tolist() == [False, False, False]
        between = {"boxes": {"score": [0.1, 0.5]}, "other": {"score": [9, 9]}}
        assert layer.shown([], between).tolist() == [True, True, False]
        assert layer.shown([], {"boxes": {"score": [0.5, None]}}).tolist() == [False, True, True]

    def test_a_bound_keeps_the_rows_that_lie_on_it(self):
        """Fields travel as float32: 0.7 as float64 would lose a row of exactly 0.7."""
        layer = BoxLayer("a", [[0, 0, 1, 1]], fields={"IoU": np.float32([0.7])})
        assert layer.shown([], {"a": {"IoU": [0.7, None]}}).all()
        assert layer.shown([], {"a": {"IoU": [None, 0.7]}}).all()

    def test_match_groups_differ_in_more_than_hue(self):
        assert len({group.dash for group in (POSITIVE, NEGATIVE, NEUTRAL)}) == 3
        assert {group.dash for group in (POSITIVE, NEGATIVE, NEUTRAL)} == set(DASHES)


class TestWire:
    def test_anchors_take_little_room(self):
        canvas = Canvas(PHOTO, [anchors()])
        assert len(canvas._layer_0) <= 1_200_000

    def test_boxes_arrive_bit_for_bit(self):
        layer = anchors(1000)
        _, arrays = arrays_of(layer)
        boxes = arrays["boxes"].reshape(4, -1).T
        assert boxes.dtype == np.float32
        assert (boxes == layer.boxes).all()
        assert (arrays["group"] == np.arange(1000) % 3).all()

    def test_fields_arrive_with_their_names(self):
        layer = three_boxes(fields={"level": [3, 4, 5], "class": Category([1, 0, 1], ["a", "b"])})
        about, arrays = arrays_of(layer)
        assert arrays["field level"].tolist() == [3, 4, 5]
        assert about["fields"][1] == {"name": "class", "names": ["a", "b"]}
        assert arrays["field class"].tolist() == [1, 0, 1]

    @given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=5))
    def test_masks_arrive_bit_for_bit(self, sizes):
        generator = np.random.default_rng(0)
        masks = [generator.random(size) < 0.5 for size in sizes]
        about, arrays = arrays_of(MaskLayer("m", masks, np.zeros((len(sizes), 4))))
        start = 0
        for (height, width, is_bool), mask in zip(about["grids"], masks, strict=True):
            count = -(-height * width // 8)
            bits = np.unpackbits(arrays["masks"][start : start + count])[: height * width]
            assert is_bool
            assert (bits.reshape(height, width) == mask).all()
            start += count

    def test_only_what_changed_travels_again(self):
        canvas = Canvas(PHOTO, [anchors(1000), three_boxes()])
        sent = watch(canvas)
        canvas.put(three_boxes(fields={"score": [0.2, 0.3, 0.4]}))
        assert {"_photo", "_layer_0"}.isdisjoint(sent)
        assert "_layer_1" in sent

    def test_who_listens_to_an_update_may_update_in_turn(self):
        """Explorers answer to picks; what was before must not overtake what they draw."""
        canvas = Canvas(PHOTO, [three_boxes()], selected=("boxes", 2))
        one = BoxLayer("boxes", [[0, 0, 5, 5]])
        heard = []

        def answer(change):
            heard.append((change.name, [len(layer) for layer in canvas.layers]))
            canvas.put(PointLayer("answer", [[1, 2]]))

        canvas.observe(answer, ["selected", "hidden"])
        messages = []
        canvas.send_state = messages.append
        canvas.update(layers=[one, three_boxes(name="more", visible=False)])
        assert heard[0] == ("selected", [1, 3]), "all was in place"
        assert len(messages) == 1
        assert [layer.name for layer in canvas.layers] == ["boxes", "more", "answer"]
        twin = Canvas(PHOTO, canvas.layers)
        assert canvas._scene == twin._scene
        buffers = [f"_layer_{i}" for i in range(4)]
        assert [getattr(canvas, name) for name in buffers] == [getattr(twin, b) for b in buffers]

    def test_an_update_that_is_refused_changes_nothing(self):
        canvas = Canvas(PHOTO, [three_boxes()])
        before = canvas.layers, canvas._scene
        with pytest.raises(traitlets.TraitError, match="selected: no such row"):
            canvas.update(layers=[BoxLayer("boxes", [[0, 0, 5, 5]])], selected=("boxes", 1))
        assert (canvas.layers, canvas._scene) == before

    def test_showing_and_hiding_sends_no_data(self):
        canvas = Canvas(PHOTO, [anchors(1000)])
        sent = watch(canvas)
        canvas.hidden = ["anchors/neutral"]
        canvas.thresholds = {}
        canvas.selected = ("anchors", 3)
        assert set(sent) == {"hidden", "selected"}

    def test_a_huge_photo_is_made_smaller_for_the_wire_only(self):
        photo = np.zeros((4000, 6000, 3), np.uint8)
        mask = np.zeros((1, 4000, 6000), bool)
        mask[0, 300:900, 600:1500] = True
        canvas = Canvas(photo, [MaskLayer("mask", mask)])
        assert Image.open(io.BytesIO(canvas._photo)).size == (2000, 1334)
        assert (canvas._scene["width"], canvas._scene["height"]) == (6000, 4000)
        assert canvas._scene["layers"][0]["grids"] == [[200, 300, True]]
        _, arrays = arrays_of(canvas["mask"], mask_step=3)
        assert arrays["boxes"].tolist() == [600, 300, 1500, 900]

    def test_a_mini_mask_keeps_its_cells_on_a_huge_photo(self):
        layer = MaskLayer("mini", np.ones((1, 56, 56), bool), [[0, 0, 3000, 2000]])
        assert arrays_of(layer, mask_step=3)[0]["grids"] == [[56, 56, True]]

    def test_export_is_json_that_holds_everything(self):
        canvas = Canvas(PHOTO, [three_boxes()], title="A", selected=("boxes", 1))
        state = json.loads(json.dumps(canvas.export()))
        assert base64.b64decode(state["_photo"]) == canvas._photo
        assert base64.b64decode(state["_layer_0"]) == canvas._layer_0
        assert (state["title"], state["selected"]) == ("A", ["boxes", 1])
        assert "_layer_1" not in state


def watch(widget):
    """Collects the names of the traits that are sent to the browser from now on."""
    sent = {}
    send = widget.send_state

    def record(key=None):
        sent.update(widget.get_state(key))
        send(key)

    widget.send_state = record
    return sent
