"""What all explorers have in common: sources, settings, readouts, the picture they leave."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import traitlets as t
from ipywidgets.widgets.widget import _instances
from PIL import Image

from mrcnn_steps.data import Sample, letterbox, sample
from mrcnn_steps.debug.lineage import lineage_of_object
from mrcnn_steps.tracing import Trace, trace
from mrcnn_widgets.anchors import AnchorExplorer
from mrcnn_widgets.explorer import Explorer
from mrcnn_widgets.mini_masks import MiniMaskExplorer
from mrcnn_widgets.proposals import ProposalExplorer
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.rpn_targets import RPNTargetExplorer
from mrcnn_widgets.scene import as_trace, scene
from mrcnn_widgets.traits import Real, Whole
from mrcnn_widgets.viewer.canvas import BoxLayer, Canvas
from mrcnn_widgets.views.objects import as_boxes

HOSTILE = "<img src=x onerror=alert(1)>"
WITHOUT_NETWORK = (MiniMaskExplorer, AnchorExplorer, RPNTargetExplorer)
ALL = (*WITHOUT_NETWORK, ProposalExplorer)


def sample_of(height: int, width: int, boxes: list[tuple[int, int, int, int]]) -> Sample:
    """A grey photo with rectangular objects of a class with a hostile name."""
    masks = torch.zeros((len(boxes), height, width), dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return Sample.from_masks(
        image=torch.full((3, height, width), 127, dtype=torch.uint8),
        masks=masks,
        labels=torch.ones(len(boxes), dtype=torch.int64),
        crowd=torch.zeros(len(boxes), dtype=torch.bool),
        class_names=("background", HOSTILE),
        name="made up",
    )


class Doubler(Explorer):
    """The smallest explorer there is."""

    number = t.Int(3, min=0, max=9, help="What is doubled.")

    def __init__(self, **settings):
        super().__init__(Canvas(np.zeros((8, 8, 3), np.uint8), title="Doubles"), **settings)
        self.result = Readout("Result")
        self.slider = self.control("number", "number")
        self.arrange([self.slider], [self.result])
        self.observe(self._recompute, ["number"])
        self._recompute()

    def _recompute(self, change=None):
        self.doubled = 2 * self.number
        self.draw(BoxLayer("box", [[0, 0, self.number, self.number]]))
        self.result.show([("doubled", str(self.doubled))])


def test_a_setting_and_its_control_are_one():
    explorer = Doubler()
    explorer.number = 5
    assert explorer.slider.value == 5
    assert explorer.doubled == 10
    explorer.slider.value = 7
    assert explorer.number == 7
    assert explorer.doubled == 14
    assert explorer.settings == {"number": 7}
    assert Doubler(**explorer.settings).doubled == 14
    assert repr(explorer) == "Doubler(number=7)"


def test_the_control_has_the_bounds_and_the_help_of_the_setting():
    slider = Doubler().slider
    assert (slider.min, slider.max, slider.tooltip) == (0, 9, "What is doubled.")


def test_a_setting_out_of_bounds_is_refused():
    explorer = Doubler()
    with pytest.raises(t.TraitError):
        explorer.number = 10
    assert explorer.number == 3


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="nmber"):
        Doubler(nmber=3)


def test_pinned_layers_stay_on_top_of_what_is_drawn():
    explorer = Doubler()
    explorer.pin(BoxLayer("followed", [[0, 0, 2, 2]]))
    explorer.number = 4
    assert [layer.name for layer in explorer.canvas.layers] == ["box", "followed"]
    assert explorer.canvas["box"].boxes[0, 2] == 4
    explorer.pin()
    assert [layer.name for layer in explorer.canvas.layers] == ["box"]


def test_closing_frees_every_widget():
    before = set(_instances)
    explorer = Doubler()
    assert len(_instances) > len(before) + 10
    explorer.close()
    assert set(_instances) == before


def test_a_readout_shows_text_as_text():
    readout = Readout(HOSTILE)
    readout.show([(HOSTILE, "1")], header=(HOSTILE, "n"))
    assert "<img" not in readout.value
    assert readout.value.count("&lt;img") == 3


def test_a_long_name_breaks_and_the_numbers_beside_it_do_not():
    readout = Readout("Objects")
    readout.show([(HOSTILE, "0.75", HOSTILE)])
    wraps = [cell.split('">')[0] for cell in readout.value.split("<td ")[1:]]
    assert ["nowrap" in style for style in wraps] == [False, True, False]


def test_only_a_word_that_no_line_holds_is_torn_apart():
    readout = Readout("Objects")
    readout.show(
        [("width / height of the anchor 0.50", "0.123 of 1,234 and 5,678"), ("x" * 99, "")]
    )
    torn = ["anywhere" in cell.split('">')[0] for cell in readout.value.split("<td ")[1:]]
    assert torn == [False, False, True, False]


def test_a_readout_keeps_its_height():
    readout = Readout("Counts", lines=4)
    empty = readout.value.split("overflow-y")[0]
    readout.show([(str(i), "1") for i in range(100)])
    assert readout.value.split("overflow-y")[0] == empty


def test_a_source_is_a_trace_a_sample_or_a_name(tiny_trace):
    assert as_trace(tiny_trace) is tiny_trace
    assert scene(tiny_trace).trace is tiny_trace
    assert torch.equal(scene("voc_people").photo, scene(sample("voc_people")).photo)
    with pytest.raises(TypeError, match="expected a Trace, a Sample, the name"):
        scene(3)


def test_a_scene_is_the_same_with_and_without_a_network(tiny_trace):
    ours, theirs = scene("voc_people"), scene(tiny_trace)
    assert torch.equal(ours.boxes, theirs.boxes)
    assert ours.names == theirs.names
    assert (ours.photo.int() - theirs.photo.int()).abs().max() <= 1
    assert all(torch.equal(ours.mask(i), theirs.mask(i)) for i in (0, 5, len(ours.names) - 1))


def test_a_scene_leaves_out_crowds_and_empty_masks():
    photo = sample_of(40, 30, [(1, 1, 9, 9), (5, 5, 5, 5), (10, 10, 30, 40)])
    photo.crowd[2] = True
    seen = scene(photo)
    box = letterbox(photo.image)
    assert torch.equal(seen.boxes, box.boxes(photo.boxes[:1]))
    assert torch.equal(seen.crowd_boxes, box.boxes(photo.boxes[2:]))
    assert torch.equal(seen.mask(0), box.masks(photo.masks[:1])[0])


def test_boxes_of_an_untrained_network_are_made_drawable():
    boxes = torch.tensor([[float("-inf"), 0, float("inf"), 5], [4, 4, 2, 2]])
    assert as_boxes(boxes).tolist() == [[-1e6, 0, 1e6, 5], [4, 4, 4, 4]]


@pytest.mark.parametrize("kind", ALL)
def test_every_explorer_leaves_a_picture(kind, tiny_trace):
    data, _ = kind(tiny_trace)._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.width > 700
    assert np.asarray(picture.convert("RGB")).std() > 20
    assert len(base64.b64decode(data["image/png"])) < 200_000
    assert "application/vnd.jupyter.widget-view+json" in data


@pytest.mark.parametrize("kind", ALL)
def test_every_control_explains_itself(kind, tiny_trace):
    explorer = kind(tiny_trace)
    helps = [explorer.traits()[name].help for name in explorer.settings]
    assert all(text.endswith(".") and 20 < len(text) < 110 for text in helps), helps


@pytest.mark.parametrize("kind", ALL)
def test_the_title_says_whose_pixels_they_are(kind, tiny_trace):
    assert kind(tiny_trace).canvas.title.endswith("pixels of the network's input, 1024 × 1024")


@pytest.mark.parametrize("kind", WITHOUT_NETWORK)
@pytest.mark.parametrize(
    "photo",
    [
        pytest.param(lambda: sample_of(30, 40, []), id="no objects"),
        pytest.param(lambda: sample_of(30, 40, [(3, 4, 21, 25)]), id="40×30, one object"),
        pytest.param(
            lambda: sample_of(
                400,
                600,
                [
                    (8 * i % 560, 5 * (i // 20), 8 * i % 560 + 30, 5 * (i // 20) + 40)
                    for i in range(300)
                ],
            ),
            id="300 objects",
        ),
        pytest.param(
            lambda: sample_of(4000, 6000, [(9, 9, 12, 10), (99, 99, 5999, 3999)]), id="6000×4000"
        ),
    ],
)
def test_every_photo_is_shown(kind, photo):
    explorer = kind(photo())
    assert explorer.canvas.photo.shape == (1024, 1024, 3)
    data, _ = explorer._repr_mimebundle_()
    assert data["image/png"]
    readouts = [
        part for part in explorer.children[1].children[1].children if isinstance(part, Readout)
    ]
    assert not any("<img" in readout.value for readout in readouts)
    explorer.close()


@pytest.mark.parametrize("kind", ALL)
def test_a_photo_without_annotations(kind, lively_model, bare_sample):
    explorer = kind(trace(lively_model, bare_sample))
    assert explorer.to_png()


def test_a_changed_setting_is_marked_and_reset_puts_the_models_own_back(tiny_trace):
    explorer = ProposalExplorer(tiny_trace)
    slider, _ = explorer._registered["nms_threshold"]
    button = explorer._reset
    assert button.disabled
    explorer.nms_threshold, explorer.step = 0.2, "score"
    assert explorer.changed == ["nms_threshold"]
    assert slider.description == "NMS threshold •"
    assert not button.disabled
    button.click()
    assert explorer.nms_threshold == 0.7
    assert explorer.step == "score", "what is looked at stays"
    assert slider.description.strip() == "NMS threshold"
    assert button.disabled


@pytest.mark.parametrize("kind", ALL)
def test_what_is_followed_is_marked(kind, tiny_trace):
    explorer = kind(tiny_trace)
    lineage = lineage_of_object(tiny_trace, 4)
    explorer.focus(lineage)
    truth = tiny_trace.ground_truth
    expected = {
        "its anchor": tiny_trace.anchors.boxes[lineage.anchor],
        "its proposal": tiny_trace.proposals.boxes[lineage.proposal],
        "followed object": truth.boxes[lineage.object],
    }
    layer = explorer.canvas["followed"]
    marked = {layer.groups[kind].name: row for row, kind in enumerate(layer.group_index)}
    assert marked
    for name, row in marked.items():
        assert layer.boxes[row].tolist() == expected[name].tolist()
    explorer.focus(None)
    assert "followed" not in [layer.name for layer in explorer.canvas.layers]


def test_a_picked_object_is_a_subject_and_an_anchor_is_none(tiny_trace):
    explorer = AnchorExplorer(tiny_trace)
    assert explorer.subject(("objects", 3)) == ("object", 3)
    assert explorer.subject(("anchors here", 3)) is None
    assert explorer.subject(None) is None


@pytest.mark.parametrize(
    ("trait", "good", "bad"),
    [
        (
            Whole(min=0, max=9),
            [(3, 3), (3.0, 3), (np.int64(4), 4)],
            (True, 2.5, -1, 10, "3", np.nan),
        ),
        (Real(min=0.0), [(3, 3.0), (np.float32(0.5), 0.5)], (True, -1, np.inf, np.nan, "1", [1.0])),
    ],
)
def test_numbers_are_numbers(trait, good, bad):
    class Holder(t.HasTraits):
        value = trait

    holder = Holder()
    for given, kept in good:
        holder.value = given
        assert holder.value == kept
        assert type(holder.value) is type(kept)
    for given in bad:
        with pytest.raises(t.TraitError, match=r"value: expected a (whole )?number .*, found"):
            holder.value = given


@pytest.fixture(scope="module")
def other_trace(lively_model) -> Trace:
    """Another photo, with fewer objects."""
    return trace(lively_model, sample("dogs"))


@pytest.mark.parametrize("kind", ALL)
def test_another_trace_is_shown_as_a_new_explorer_shows_it(kind, tiny_trace, other_trace):
    shown, made = kind(tiny_trace), kind(other_trace)
    shown.show(other_trace)
    for name, value in made.settings.items():
        if name not in ("index", "point"):  # where the user last looked at
            setattr(shown, name, value)
    if kind is AnchorExplorer:
        shown.point, shown.index = made.point, made.index
    assert (shown.canvas.photo == made.canvas.photo).all()
    assert [about(layer) for layer in shown.canvas.layers] == [
        about(layer) for layer in made.canvas.layers
    ]
    assert shown.canvas.hidden == made.canvas.hidden
    assert shown.trace is other_trace
    assert shown.to_png() == made.to_png()


def about(layer) -> tuple:
    """What a layer shows, as plain data."""
    boxes = getattr(layer, "boxes", None)
    groups = [(group.name, group.color) for group in layer.groups]
    return layer.name, len(layer), groups, None if boxes is None else boxes.tolist()


@pytest.mark.parametrize("kind", ALL)
def test_what_is_no_setting_is_refused_in_words(kind, tiny_trace):
    explorer = kind(tiny_trace if kind is ProposalExplorer else "voc_people")
    names = [name for name in explorer.settings if name not in ("view", "labels")]
    names += ["point"] * (kind is AnchorExplorer)
    for name in names:
        for bad in (True, np.nan, np.inf, -5, 10**9, "much", [], [1, "2"], None, np.ones((3, 2))):
            before = getattr(explorer, name)
            with pytest.raises(t.TraitError, match=name):
                setattr(explorer, name, bad)
            assert getattr(explorer, name) == before, (name, bad)


def test_the_followed_anchor_is_the_current_one(tiny_trace):
    explorer = AnchorExplorer(tiny_trace)
    lineage = lineage_of_object(tiny_trace, 4)
    explorer.focus(lineage)
    assert (explorer.object, explorer.index) == (4, lineage.anchor)
    assert lineage.anchor in explorer.canvas["anchors here"].fields["anchor"]
    assert dict(explorer._one.rows)["anchor"] == f"{lineage.anchor:,}"


def test_the_followed_anchor_is_picked_among_the_targets(tiny_trace):
    explorer = RPNTargetExplorer(tiny_trace)
    lineage = lineage_of_object(tiny_trace, 4)
    explorer.focus(lineage)
    assert explorer.picked == lineage.anchor
    assert explorer.canvas.selected == ("anchors", lineage.anchor)


def test_the_boxes_around_the_followed_object_are_drawn(tiny_trace):
    explorer = ProposalExplorer(tiny_trace, step="score")
    lineage = lineage_of_object(tiny_trace, 4)
    explorer.focus(lineage)
    assert explorer.object == 4
    explorer.show_all()
    assert int(tiny_trace.proposals.top_index[explorer.picked]) == lineage.anchor


@pytest.mark.parametrize("kind", WITHOUT_NETWORK)
def test_a_photo_without_annotations_is_told_in_a_sentence(kind, bare_sample):
    explorer = kind(bare_sample)
    told = [text for part in explorer._side for row in getattr(part, "rows", []) for text in row]
    assert any(text.startswith("This photo has no annotated objects") for text in told)


@pytest.mark.parametrize("kind", ALL)
def test_a_long_name_is_cut_to_one_line(kind, lively_model):
    photo = sample("voc_people")
    names = ["background", *(f"{name}\n" + 2000 * "x" for name in photo.class_names[1:])]
    renamed = replace(photo, class_names=tuple(names))
    explorer = kind(trace(lively_model, renamed, class_names=names))
    fields = [layer.fields.get("object") for layer in explorer.canvas.layers]
    texts = [name for found in fields if found is not None for name in found.names]
    texts += [text for part in explorer._side for row in getattr(part, "rows", []) for text in row]
    assert max(map(len, texts)) < 80
    assert not any("\n" in text for text in texts)


class Thirds(Explorer):
    """A setting whose own value does not lie on a step of two digits."""

    share = Real(min=0.0, max=1.0, help="A share of something that has no name.")

    def __init__(self, own: float):
        super().__init__(Canvas(np.zeros((8, 8, 3), np.uint8)), own={"share": own})


@pytest.mark.parametrize(("own", "step"), [(0.7, 0.01), (0.125, 0.001), (0.3334, 0.0001)])
def test_a_slider_can_stand_on_the_models_own_value(own, step):
    slider = Thirds(own).control("share", "share")
    assert slider.step == pytest.approx(step)
    assert round(own / slider.step) * slider.step == pytest.approx(own)
