"""The classification explorer: its numbers are the trace's, and the points are RoIAlign's own."""

from dataclasses import replace

import pytest
import torch
import traitlets
from torchvision.ops import clip_boxes_to_image, roi_align

from mrcnn_steps.boxes import decode
from mrcnn_steps.classification import sample_points
from mrcnn_steps.debug.lineage import lineage
from mrcnn_steps.detection import detect
from mrcnn_steps.settings import detection_settings, roi_pooling
from mrcnn_widgets.classes import class_groups, distinct_names
from mrcnn_widgets.classification import Bars, ClassificationExplorer
from mrcnn_widgets.views.classification import Bar, map_names, refined_box, roi_samples


@pytest.fixture
def explorer(tiny_trace):
    made = ClassificationExplorer(tiny_trace)
    yield made
    made.close()


def test_it_starts_with_the_proposal_that_is_surest_not_to_be_background(explorer, tiny_trace):
    probs = tiny_trace.classification.probs
    assert probs[explorer.proposal, explorer.label] == probs[:, 1:].max()


@pytest.mark.parametrize("proposal", [0, 17, 500])
def test_what_it_says_of_a_proposal_is_what_the_trace_says(explorer, tiny_trace, proposal):
    explorer.proposal = proposal
    found, picked = tiny_trace.classification, explorer.picked
    assert torch.equal(picked.probs, found.probs[proposal])
    assert torch.equal(picked.box, tiny_trace.proposals.boxes[proposal])
    assert picked.level == found.roi_level[proposal]
    assert explorer.label == found.probs[proposal, 1:].argmax() + 1


def test_the_refined_box_is_the_candidate_that_detection_starts_from(explorer, tiny_trace):
    explorer.proposal, explorer.label = 3, 5
    by_hand = decode(
        tiny_trace.classification.deltas[3, 5][None],
        tiny_trace.proposals.boxes[3][None],
        (10.0, 10.0, 5.0, 5.0),
    )
    by_hand = clip_boxes_to_image(by_hand, (1024, 1024))[0]
    refined = explorer.picked.refined_box
    torch.testing.assert_close(refined, by_hand)
    candidate = 3 * len(tiny_trace.class_names) + 5
    assert torch.equal(refined, tiny_trace.detections.clipped[candidate])
    layer = explorer.canvas["refined box"]
    assert torch.equal(torch.from_numpy(layer.boxes[0]), refined)


def test_where_only_the_best_class_competes_other_classes_have_refined_boxes_too(tiny_trace):
    found = tiny_trace.classification
    rows = (tiny_trace.proposals, found.probs, found.deltas, tiny_trace.image_size)
    settings = detection_settings(tiny_trace.model)
    best_only = replace(tiny_trace, detections=detect(*rows, **settings, best_class_only=True))
    assert len(best_only.detections.clipped) == len(tiny_trace.proposals)
    for label in (1, 5):
        box = refined_box(best_only, 3, label)
        torch.testing.assert_close(box, refined_box(tiny_trace, 3, label))


def test_the_samples_lie_where_the_stage_says(explorer, tiny_trace):
    explorer.proposal = 17
    # The bundled network pools from maps of stride 8, 16, 32 and 64, with 2×2 points a bin.
    scale = 1 / (8 * 2**explorer.picked.level)
    by_hand = sample_points(tiny_trace.proposals.boxes[17], scale, (7, 7), 2)
    assert len(by_hand) == 14 * 14
    torch.testing.assert_close(explorer.picked.points, by_hand)
    drawn = torch.from_numpy(explorer.canvas["RoIAlign samples"].points)
    torch.testing.assert_close(drawn, by_hand)


def test_the_bins_hold_the_samples_evenly(explorer):
    grid, points = explorer.canvas["RoI bins"], explorer.picked.points.numpy()
    column = ((points[:, 0] - grid.origin[0]) // grid.stride[0]).astype(int)
    row = ((points[:, 1] - grid.origin[1]) // grid.stride[1]).astype(int)
    bins = torch.bincount(torch.from_numpy(row * 7 + column))
    assert bins.tolist() == [4] * 49


@pytest.mark.parametrize("ratio", [0, 2, 3])
def test_the_samples_average_to_what_roi_align_reads(tiny_trace, ratio, monkeypatch):
    monkeypatch.setattr(tiny_trace.model.roi_heads.box_roi_pool, "sampling_ratio", ratio)
    explorer = ClassificationExplorer(tiny_trace)
    inside = (tiny_trace.proposals.boxes > 40) & (tiny_trace.proposals.boxes < 980)
    explorer.proposal = int(inside.all(dim=1).nonzero()[0])
    picked = explorer.picked
    # On a map whose value is its own column, reading is linear: the mean says where it read.
    size = round(1024 * picked.scale)
    ramp = torch.arange(size, dtype=torch.float32).expand(1, 1, size, size)
    roi = torch.cat((torch.zeros(1), picked.box))[None]
    read = roi_align(ramp, roi, (7, 7), picked.scale, ratio)
    where = picked.points[:, 0].mean() * picked.scale - 0.5
    torch.testing.assert_close(read.mean(), where, atol=1e-3, rtol=0)
    pooling = roi_pooling(tiny_trace.model, tiny_trace.features, tiny_trace.image_size)
    assert picked.samples == roi_samples(pooling, picked.box, picked.scale)
    explorer.close()


def test_the_bars_are_the_best_eight_and_the_chosen_class(explorer):
    explorer.proposal = 8
    probs = explorer.picked.probs
    best = probs.sort(descending=True).values[:8].tolist()
    assert [bar.value for bar in explorer.bars.rows] == pytest.approx(best)
    worst = int(probs.argmin())
    explorer.label = worst
    last = explorer.bars.rows[-1]
    assert last.label == explorer.bars.marked == worst
    assert last.name == explorer.trace.class_names[worst]
    assert last.value == pytest.approx(float(probs[worst]))


def test_the_maps_are_called_as_the_levels_of_the_anchors(explorer, tiny_trace):
    assert map_names(tiny_trace) == [
        "P2, stride 8",
        "P3, stride 16",
        "P4, stride 32",
        "P5, stride 64",
    ]
    layer = explorer.canvas["proposals"]
    assert layer.fields["feature map"].names == tuple(map_names(tiny_trace))


def test_it_turns_to_the_proposal_of_what_is_followed_and_lets_go_where_there_is_none(
    explorer, tiny_trace
):
    followed = lineage(tiny_trace, 4)
    explorer.focus(followed)
    assert explorer.proposal == followed.proposal
    assert "followed" in [layer.name for layer in explorer.canvas.layers]
    explorer.focus(replace(followed, proposal=None, detection=None, links=followed.links[:1]))
    assert explorer.proposal is None
    assert explorer.numbers.rows == [("click a box on the photo", "")]
    explorer.focus(None)
    assert "followed" not in [layer.name for layer in explorer.canvas.layers]


def test_a_click_picks_and_another_class_moves_the_arrow(explorer):
    explorer.canvas.selected = ("proposals", 42)
    assert explorer.proposal == 42
    assert explorer.numbers.rows[0] == ("proposal", "42")
    before = explorer.canvas["refinement"].end
    explorer.label = explorer.label % 80 + 1
    assert (explorer.canvas["refinement"].end != before).any()


def test_letting_go_empties_the_panel_and_keeps_its_height(explorer):
    explorer.canvas.selected = None
    assert explorer.proposal is None
    assert explorer.picked is None
    assert len(explorer.canvas["RoIAlign samples"]) == len(explorer.canvas["refinement"]) == 0
    assert explorer.bars.rows == []
    assert "height: 160px" in explorer.bars.value


def test_proposals_are_grouped_by_their_class_and_background_starts_hidden(explorer, tiny_trace):
    layer = explorer.canvas["proposals"]
    labels = tiny_trace.classification.probs.argmax(dim=1)
    assert layer.group_index.tolist() == labels.tolist()
    assert [group.name for group in layer.groups] == list(tiny_trace.class_names)
    assert "proposals/background" in explorer.canvas.hidden
    shown = explorer.canvas.shown("proposals")
    assert shown.sum() == (labels > 0).sum()
    counts = {name: int(count.replace(",", "")) for name, count in explorer.counts.rows}
    assert sum(counts.values()) == len(tiny_trace.proposals)


def test_rows_and_classes_that_do_not_exist_are_refused(explorer):
    with pytest.raises(traitlets.TraitError, match="proposal: expected 0 to"):
        explorer.proposal = len(explorer.trace.proposals)
    with pytest.raises(traitlets.TraitError, match="label: expected 0 to 80"):
        explorer.label = 81


def test_every_control_explains_itself_and_drives_the_trait(explorer):
    control = explorer.children[0].children[0]
    assert control.tooltip.endswith(".")
    control.value = 7
    assert explorer.label == 7
    explorer.label = 9
    assert control.value == 9


def test_another_trace_is_shown_in_the_same_explorer(explorer, tiny_trace):
    other = tiny_trace.with_proposals(_fewer(tiny_trace.proposals, 20))
    explorer.proposal = 900
    explorer.show(other)
    assert len(explorer.canvas["proposals"]) == 20
    assert explorer.proposal < 20


def _fewer(proposals, count):
    return replace(proposals, rows=proposals.rows[:count])


def test_a_saved_notebook_keeps_a_picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")


def test_names_in_bars_are_text():
    bars = Bars()
    bars.show([Bar(1, "<img src=x onerror=alert(1)>", 0.5, "#000000")], marked=1)
    assert "<img" not in bars.value
    assert "&lt;img src=x onerror=alert(1)&gt;" in bars.value
    bars.close()


def test_names_that_occur_twice_are_told_apart():
    assert distinct_names(("background", "N/A", "cat", "N/A")) == [
        "background",
        "N/A (1)",
        "cat",
        "N/A (3)",
    ]
    assert len(class_groups([f"class {i}" for i in range(1204)])) == 255
