"""The mask explorer: its pasted masks are the model's own, and its IoU is counted in pixels."""

from dataclasses import replace

import pytest
import torch
import traitlets
from torchvision.ops import box_iou

from mrcnn_steps.debug.lineage import lineage
from mrcnn_steps.masks import mask_targets, paste
from mrcnn_widgets.masks import MaskExplorer


@pytest.fixture
def explorer(tiny_trace):
    made = MaskExplorer(tiny_trace)
    yield made
    made.close()


def test_the_pasted_mask_is_the_models_own_result(explorer, tiny_trace):
    for row in range(0, len(tiny_trace.detections), 7):
        explorer.detection = row
        assert torch.equal(explorer.mask, tiny_trace.result["masks"][row, 0] >= 0.5)
        assert explorer.label == tiny_trace.result["labels"][row]


def test_the_soft_mask_is_the_one_of_the_chosen_class(explorer, tiny_trace):
    explorer.detection = 2
    assert torch.equal(explorer.soft, tiny_trace.mask_probs[2])
    explorer.label = 17
    assert torch.equal(explorer.soft, tiny_trace.mask_logits.sigmoid()[2, 17])
    pixels = torch.from_numpy(explorer.soft_view.photo[:, :, 0])
    assert torch.equal(pixels, (explorer.soft * 255).round().to(torch.uint8))


@pytest.mark.parametrize(("threshold", "exact"), [(0.3, False), (0.5, True), (0.9, True)])
def test_threshold_and_paste_are_those_of_the_stage(explorer, tiny_trace, threshold, exact):
    explorer.detection = 1
    explorer.threshold, explorer.exact = threshold, exact
    expected = paste(
        tiny_trace.mask_probs[1:2], tiny_trace.result["boxes"][1:2], (375, 500), threshold, exact
    )
    assert torch.equal(explorer.mask, expected[0])
    x1, y1, x2, y2 = explorer.canvas["pasted mask"].boxes[0].astype(int)
    assert torch.equal(
        torch.from_numpy(explorer.canvas["pasted mask"].masks[0]), expected[0, y1:y2, x1:x2]
    )


def test_a_higher_threshold_never_adds_pixels(explorer):
    sizes = []
    for threshold in (0.1, 0.3, 0.5, 0.7, 0.9):
        explorer.threshold = threshold
        sizes.append(int(explorer.mask.sum()))
    assert sizes == sorted(sizes, reverse=True)


@pytest.fixture(scope="session")
def on_objects(tiny_trace):
    """The same photo, with the candidate that fits each of five objects as detections."""
    found, objects = tiny_trace.detections, tiny_trace.ground_truth
    same_class = found.candidate_label[:, None] == objects.labels
    iou, candidates = (box_iou(found.clipped, objects.boxes) * same_class).max(dim=0)
    best = iou.argsort(descending=True)[:5]
    return tiny_trace.with_detections(replace(found, rows=candidates[best]))


def test_the_object_is_the_one_that_the_detection_found_and_its_iou_is_counted(on_objects):
    explorer = MaskExplorer(on_objects, threshold=0.4)
    found, objects = on_objects.detections, on_objects.ground_truth
    overlap = box_iou(found.boxes[:1], objects.boxes)[0] * (objects.labels == found.labels[0])
    truth = explorer.truth
    assert truth.object == overlap.argmax()
    assert overlap.max() >= 0.5
    assert ("IoU of the boxes", f"{overlap.max():.3f}") in explorer.numbers.rows
    annotated = on_objects.sample.masks[on_objects.ground_truth.objects[truth.object]]
    assert torch.equal(truth.mask, annotated)
    mask = set(explorer.mask.flatten().nonzero().flatten().tolist())
    other = set(annotated.flatten().nonzero().flatten().tolist())
    iou = len(mask & other) / len(mask | other)
    assert iou > 0
    assert ("IoU of the masks", f"{iou:.3f}") in explorer.numbers.rows
    explorer.close()


def test_a_detection_that_found_none_names_the_object_that_it_overlaps_most(on_objects):
    found, objects = on_objects.detections, on_objects.ground_truth
    twice = on_objects.with_detections(replace(found, rows=found.rows[[0, 0]]))
    explorer = MaskExplorer(twice, detection=1)
    assert explorer.truth is None, "the first of the two has taken the object"
    iou, row = box_iou(found.boxes[:1], objects.boxes)[0].max(dim=0)
    name = twice.class_names[objects.labels[row]]
    assert ("object found", "none") in explorer.numbers.rows
    assert ("most overlapped", f"{row} · {name}") in explorer.numbers.rows
    assert ("IoU of the boxes", f"{iou:.3f}") in explorer.numbers.rows
    assert len(explorer.canvas["mask of the object"]) == 0
    explorer.close()


def test_it_turns_to_the_detection_of_what_is_followed_and_lets_go_where_there_is_none(
    explorer, tiny_trace
):
    followed = lineage(tiny_trace, 4)
    explorer.focus(followed)
    assert explorer.detection == 4
    explorer.focus(replace(followed, detection=None, links=followed.links[:3]))
    assert explorer.detection is explorer.mask is explorer.soft is None
    assert explorer.numbers.rows == [("click a box on the photo", "")]
    assert not explorer.soft_view.photo.any()


def test_a_picked_row_stands_for_its_detection(explorer):
    assert explorer.subject(("detections", 3)) == explorer.subject(("soft masks", 3))
    assert explorer.subject(("soft masks", 3)) == ("detection", 3)
    assert explorer.subject(("objects", 1)) == ("object", 1)
    assert explorer.subject(None) is None


def test_the_target_is_the_stages_for_this_box(on_objects):
    explorer = MaskExplorer(on_objects, detection=3)
    gt, roi = on_objects.ground_truth, on_objects.detections.boxes[3:4]
    expected = mask_targets(gt.masks, gt.boxes, roi, torch.tensor([explorer.truth.object]), 28)[0]
    assert torch.equal(explorer.truth.target, expected)
    assert expected.max() > 0
    outlined = explorer.target_view.layers[0].masks[0]
    assert torch.equal(torch.from_numpy(outlined), expected >= 0.5)
    explorer.close()


def test_a_click_on_a_box_or_a_mask_picks_its_detection(explorer):
    explorer.canvas.selected = ("detections", 5)
    assert explorer.detection == 5
    explorer.canvas.selected = ("soft masks", 6)
    assert explorer.detection == 6
    assert explorer.canvas.selected == ("detections", 6)
    explorer.canvas.selected = None
    assert explorer.detection is None
    assert explorer.mask is None
    assert explorer.numbers.rows == [("click a box on the photo", "")]


def test_only_what_changes_travels_while_the_threshold_moves(explorer):
    before = {layer.name: layer for layer in explorer.canvas.layers}
    explorer.threshold = 0.41
    after = {layer.name: layer for layer in explorer.canvas.layers}
    assert {name for name in after if after[name] is not before[name]} == {"pasted mask"}


def test_what_does_not_exist_is_refused(explorer):
    with pytest.raises(traitlets.TraitError, match="detection: expected 0 to"):
        explorer.detection = len(explorer.trace.detections)
    with pytest.raises(traitlets.TraitError, match="label: expected 0 to 80"):
        explorer.label = 81
    with pytest.raises(traitlets.TraitError):
        explorer.threshold = 0.0


def test_a_saved_notebook_keeps_a_picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")
