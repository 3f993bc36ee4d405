"""The trace: everything a model computed, under the names and in the shapes of the notes."""

from dataclasses import replace

import pytest
import torch
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import box_iou

from mrcnn_steps import Sample, Trace, sample, trace, tracing
from mrcnn_steps.boxes import decode
from mrcnn_steps.detection import detect
from mrcnn_steps.model.network import tiny
from mrcnn_steps.proposals import propose
from tests.memory import peak


@pytest.fixture(scope="module")
def photo() -> Sample:
    return sample("voc_people")


@pytest.fixture(scope="module")
def model():
    """The bundled network with fresh weights; a threshold that even these pass."""
    torch.manual_seed(0)
    return tiny(box_score_thresh=0.01).eval()


@pytest.fixture(scope="module")
def traced(model, photo) -> Trace:
    return trace(model, photo)


# --- the table of the notes -----------------------------------------------------------------

NETWORK = {
    "rpn_class": (1, 65_472, 2),
    "pre_nms_anchors": (1, 10_000, 4),
    "refined_anchors": (1, 10_000, 4),
    "refined_anchors_clipped": (1, 10_000, 4),
    "post_nms_anchor_ix": (1000,),
    "proposals": (1, 1000, 4),
    "probs": (1, 1000, 81),
    "deltas": (1, 1000, 81, 4),
    "masks": (1, 100, 28, 28, 81),
    "detections": (1, 100, 6),
}
TARGETS = {"target_rpn_match": (65_472,), "target_rpn_bbox": (256, 4)}


def shapes(traced):
    return {name: tuple(tensor.shape) for name, tensor in traced.tensors().items()}


def test_the_notes_tensors_have_their_names_shapes_and_order(traced):
    found = shapes(traced)
    assert {name: found[name] for name in TARGETS | NETWORK} == TARGETS | NETWORK
    order = [name for name in found if name in TARGETS | NETWORK]
    assert order == list(TARGETS | NETWORK)
    anchors = [found[f"{kind}_anchors"] for kind in ("positive", "negative", "neutral")]
    assert sum(rows for rows, _ in anchors) == 65_472
    assert anchors[0][0] + anchors[1][0] == 256


def test_a_photo_without_annotations_has_no_targets_and_everything_else(traced, model, photo):
    plain = trace(model, photo.image)
    assert plain.ground_truth is None
    found = shapes(plain)
    assert {name: found[name] for name in NETWORK} == NETWORK
    assert not any("target" in name or name.startswith("gt_") for name in found)
    assert found.items() <= shapes(traced).items()


def test_a_sample_without_objects_has_no_targets(model, photo):
    bare = Sample.from_masks(
        photo.image,
        photo.masks[:0],
        photo.labels[:0],
        photo.crowd[:0],
        photo.class_names,
        "nobody",
    )
    assert trace(model, bare).ground_truth is None


def test_values_lie_where_the_notes_say(traced):
    tensors = traced.tensors()
    for name in ("rpn_class", "proposals", "probs", "masks"):
        assert tensors[name].min() >= 0, name
        assert tensors[name].max() <= 1, name
    torch.testing.assert_close(tensors["rpn_class"].sum(-1), torch.ones(1, 65_472))
    torch.testing.assert_close(tensors["probs"].sum(-1), torch.ones(1, 1000))
    clipped = tensors["refined_anchors_clipped"]
    assert clipped.min() >= 0
    assert clipped.max() <= 1024
    assert tensors["target_rpn_match"].unique().tolist() == [-1, 0, 1]
    assert tensors["post_nms_anchor_ix"].max() < 10_000


def test_what_is_missing_is_padded_with_zeros(traced):
    fewer = propose(
        traced.objectness,
        traced.rpn_deltas,
        traced.anchors,
        traced.image_size,
        score_threshold=float(traced.proposals.scores[20]),
    )
    few = traced.with_proposals(fewer)
    classified = few.classification
    few = few.with_detections(
        detect(
            fewer,
            classified.probs,
            classified.deltas,
            few.image_size,
            score_threshold=0.01,
            best_class_only=True,
        )
    )
    tensors = few.tensors()
    for name, count, total in (
        ("proposals", len(few.proposals), 1000),
        ("detections", len(few.detections), 100),
        ("masks", len(few.detections), 100),
    ):
        assert 0 < count < total == tensors[name].shape[1]
        assert tensors[name][0, :count].flatten(1).any(dim=1).all()
        assert not tensors[name][0, count:].any()


def test_the_table_prints_name_shape_and_extremes_of_every_tensor(traced, capsys):
    table = traced.table()
    printed = capsys.readouterr().out
    assert printed == f"{table}\n"
    lines = dict(zip(traced.tensors(), printed.splitlines(), strict=True))
    for (name, tensor), (row, shape, low, high) in zip(
        traced.tensors().items(), table.rows, strict=True
    ):
        assert (row, shape) == (name, tuple(tensor.shape))
        assert lines[name].startswith(name)
        assert str(tuple(tensor.shape)) in lines[name]
        if tensor.numel():
            assert f"min: {float(tensor.min()):>11.5f}" in lines[name]
            assert f"max: {float(tensor.max()):>11.5f}" in lines[name]
            assert (low, high) == (float(tensor.min()), float(tensor.max()))
        else:
            assert (low, high) == (None, None)
            assert "min" not in lines[name]


# --- every row knows where it came from -----------------------------------------------------


def test_from_a_detection_back_to_its_anchor(traced):
    found, proposals = traced.detections, traced.proposals
    assert len(found) > 0
    for row in range(0, len(found), 7):
        proposal, label = int(found.proposal_index[row]), int(found.labels[row])
        assert found.scores[row] == traced.classification.probs[proposal, label]
        anchor = int(proposals.anchor_index[proposal])
        torch.testing.assert_close(proposals.scores[proposal], traced.objectness[anchor].sigmoid())
        box = decode(traced.rpn_deltas[anchor][None], traced.anchors.boxes[anchor][None])
        torch.testing.assert_close(box.clamp(0, 1024)[0], proposals.boxes[proposal])
        place = traced.anchors.locate(anchor)
        step_y, step_x = traced.anchors.grids[place.level].stride
        center = traced.anchors.boxes[anchor].reshape(2, 2).mean(dim=0)
        assert center.tolist() == [place.column * step_x, place.row * step_y]
        logits = traced.mask_logits[row, label]
        torch.testing.assert_close(traced.mask_probs[row], logits.sigmoid())


def test_result_and_detections_are_the_same_boxes_in_two_frames(traced, photo):
    in_photo = traced.letterbox.undo_boxes(traced.detections.boxes)
    height, width = photo.image.shape[1:]
    limits = in_photo.new_tensor([width, height, width, height])
    torch.testing.assert_close(traced.result["boxes"], in_photo.clamp(min=0).minimum(limits))
    assert traced.result["masks"].shape == (len(traced.detections), 1, height, width)


def test_the_networks_input_can_be_looked_at(traced, photo):
    x1, y1, x2, y2 = traced.letterbox.window
    assert traced.letterbox.image.shape == (3, 1024, 1024)
    assert traced.letterbox.image.dtype == torch.uint8
    assert not traced.letterbox.image[:, :y1].any()
    assert not traced.letterbox.image[:, y2:].any()
    inside = traced.letterbox.image[:, y1:y2, x1:x2].float()
    resized = torch.nn.functional.interpolate(
        photo.image[None].float(), inside.shape[1:], mode="bilinear"
    )[0]
    assert (inside - resized).abs().mean() < 2


# --- the targets ----------------------------------------------------------------------------


def test_the_targets_are_those_of_the_objects_in_the_networks_frame(traced, photo):
    truth = traced.ground_truth
    assert truth.objects.tolist() == list(range(len(photo.labels)))
    assert torch.equal(truth.labels, photo.labels), "COCO's 81 classes on both sides"
    torch.testing.assert_close(truth.boxes, traced.letterbox.boxes(photo.boxes))
    iou = box_iou(truth.boxes, truth.mini_masks.boxes).diagonal()
    assert iou.min() > 0.9, "masks and boxes were moved alike"
    own = truth.boxes[truth.rpn_targets.match.gt_index[truth.rpn_targets.positive_index]]
    torch.testing.assert_close(truth.rpn_targets.refined, own, rtol=0, atol=2e-3)


@pytest.fixture(scope="module")
def found(traced, photo) -> Sample:
    """A photo whose objects lie where the network proposes some: rectangles it cannot miss."""
    height, width = photo.image.shape[1:]
    limits = torch.tensor([width, height, width, height])
    boxes = traced.letterbox.undo_boxes(traced.proposals.boxes).clamp(min=0).minimum(limits).round()
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).amin(dim=1) > 8][:5].int().tolist()
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    ones = torch.ones(len(boxes), dtype=torch.int64)
    return Sample.from_masks(photo.image, masks, ones, ones == 0, photo.class_names, "found")


def test_mask_targets_belong_to_the_proposals_that_overlap_an_object(model, found):
    traced = trace(model, found)
    truth = traced.ground_truth
    iou = box_iou(traced.proposals.boxes, truth.boxes)
    positive = (iou.amax(dim=1) >= 0.5).nonzero().flatten()
    assert len(positive) >= len(found.labels) == 5
    assert torch.equal(truth.positive_proposals, positive)
    assert torch.equal(truth.positive_objects, iou[positive].argmax(dim=1))
    rois = traced.proposals.boxes[positive]
    peer = project_masks_on_boxes(truth.masks.float(), rois, truth.positive_objects, 28)
    assert torch.equal(truth.mask_targets, peer)
    assert truth.mask_targets.mean() > 0.5


def test_the_generator_chooses_the_sampled_anchors(model, photo, traced):
    def labels(seed):
        generator = torch.Generator().manual_seed(seed)
        return trace(model, photo, generator=generator).ground_truth.rpn_targets.labels

    assert torch.equal(labels(0), traced.ground_truth.rpn_targets.labels), "seed 0 without one"
    assert not torch.equal(labels(1), labels(0))


def test_crowds_and_empty_masks_are_no_objects(model, photo):
    crowd = photo.crowd.clone()
    crowd[2] = True
    masks = photo.masks.clone()
    masks[5] = False
    changed = Sample.from_masks(
        photo.image, masks, photo.labels, crowd, photo.class_names, "crowded"
    )
    truth = trace(model, changed).ground_truth
    assert truth.objects.tolist() == [i for i in range(len(photo.labels)) if i not in (2, 5)]
    assert len(truth.crowd_boxes) == 1
    match = truth.rpn_targets.match
    assert match.gt_index.max() < len(truth.boxes)


# --- other proposals, other detections ------------------------------------------------------


def test_the_second_stage_runs_again_on_other_proposals(traced):
    fewer = propose(
        traced.objectness,
        traced.rpn_deltas,
        traced.anchors,
        traced.image_size,
        post_nms_top_n=50,
        nms_threshold=0.4,
    )
    changed = traced.with_proposals(fewer)
    assert changed.proposals is fewer
    assert len(changed.classification.probs) == len(fewer) == 50
    assert changed.features is traced.features
    assert changed.detections.proposal_index.max() < 50
    same = traced.with_proposals(traced.proposals)
    for name, value in traced.result.items():
        assert torch.equal(same.result[name], value)


def test_the_mask_targets_of_other_proposals_are_their_own(model, found):
    traced = trace(model, found)
    far = traced.proposals.boxes[:, 0].argsort(descending=True)
    others = replace(traced.proposals, rows=traced.proposals.rows[far[:400]])
    truth = traced.with_proposals(others).ground_truth
    iou = box_iou(others.boxes, traced.ground_truth.boxes)
    positive = (iou.amax(dim=1) >= 0.5).nonzero().flatten()
    assert len(positive) > 0
    assert torch.equal(truth.positive_proposals, positive)
    assert not torch.equal(truth.positive_proposals, traced.ground_truth.positive_proposals)
    assert torch.equal(truth.positive_objects, iou[positive].argmax(dim=1))
    rois = others.boxes[positive]
    peer = project_masks_on_boxes(truth.masks.float(), rois, truth.positive_objects, 28)
    assert torch.equal(truth.mask_targets, peer)
    assert truth.rpn_targets is traced.ground_truth.rpn_targets


def test_no_proposals_have_no_mask_targets(model, found):
    traced = trace(model, found)
    none = traced.with_proposals(replace(traced.proposals, rows=traced.proposals.rows[:0]))
    truth = none.ground_truth
    assert len(truth.positive_proposals) == len(truth.positive_objects) == 0
    assert truth.mask_targets.shape == (0, 28, 28)


def test_the_mask_head_runs_again_on_other_detections(traced):
    few = detect(
        traced.proposals,
        traced.classification.probs,
        traced.classification.deltas,
        traced.image_size,
        score_threshold=0.01,
        max_detections=3,
    )
    changed = traced.with_detections(few)
    assert len(changed.mask_logits) == len(changed.result["masks"]) == 3
    assert torch.equal(changed.result["boxes"], traced.result["boxes"][:3])
    torch.testing.assert_close(changed.result["masks"], traced.result["masks"][:3])
    assert changed.proposals is traced.proposals


# --- names ----------------------------------------------------------------------------------


def test_classes_have_names(traced, model, photo):
    assert len(traced.class_names) == 81
    assert traced.class_names[0] == "background"
    assert traced.class_names[1] == "person"
    own = ("BG", *(f"thing {i}" for i in range(1, 81)))
    named = trace(model, photo.image, class_names=own)
    assert named.class_names == ("background", *own[1:])


# --- objects of classes that the model does not know ----------------------------------------


@pytest.fixture(scope="module")
def own_model():
    """A model of somebody's own classes, in an order of their own."""
    torch.manual_seed(0)
    return tiny(("background", "washer", "chair", "person"), 256, box_score_thresh=0.01).eval()


def test_unknown_objects_are_left_out_and_that_is_said(own_model, photo):
    with pytest.warns(UserWarning, match="left out") as said:
        truth = trace(own_model, photo).ground_truth
    names = [photo.class_names[label] for label in photo.labels.tolist()]
    known = [row for row, name in enumerate(names) if name in ("person", "chair")]
    unknown = [row for row, name in enumerate(names) if name not in ("person", "chair")]
    assert known
    assert unknown
    assert truth.objects.tolist() == known
    assert truth.labels.tolist() == [3 if names[row] == "person" else 2 for row in known]
    assert len(truth.masks) == len(truth.boxes) == len(known)
    assert truth.unknown_objects.tolist() == unknown
    scale = 256 / max(photo.image.shape[1:])
    sizes = photo.boxes[unknown][:, 2:] - photo.boxes[unknown][:, :2]
    found = truth.unknown_boxes[:, 2:] - truth.unknown_boxes[:, :2]
    torch.testing.assert_close(found, sizes * scale, rtol=0.01, atol=0.01)
    [warning] = said
    assert f"{len(unknown)} objects left out" in str(warning.message)
    assert all(names[row] in str(warning.message) for row in unknown)


def test_a_photo_of_nothing_that_the_model_knows(model, photo):
    strange = replace(photo, class_names=("background", *(f"x{i}" for i in range(80))))
    with pytest.warns(UserWarning, match="left out"):
        traced = trace(model, strange)
    truth = traced.ground_truth
    assert len(truth.objects) == len(truth.boxes) == len(truth.positive_proposals) == 0
    assert len(truth.unknown_objects) == len(photo.labels)
    assert (truth.rpn_targets.labels <= 0).all()
    traced.table()


def test_crowds_keep_their_class(own_model, photo):
    names = [photo.class_names[label] for label in photo.labels.tolist()]
    rows = [names.index("person"), names.index("bottle"), names.index("chair")]
    crowd = photo.crowd.clone()
    crowd[rows] = True
    crowded = replace(photo, crowd=crowd)
    with pytest.warns(UserWarning, match="left out"):
        truth = trace(own_model, crowded).ground_truth
    expected = {"person": 3, "bottle": -1, "chair": 2}
    assert truth.crowd_labels.tolist() == [expected[names[row]] for row in sorted(rows)]
    assert len(truth.crowd_boxes) == 3


# --- memory ---------------------------------------------------------------------------------


def test_masks_are_pasted_when_they_are_read(model, photo, monkeypatch):
    pasted = []
    original = tracing.paste_soft
    monkeypatch.setattr(tracing, "paste_soft", lambda *given: pasted.append(1) or original(*given))
    result = trace(model, photo.image).result
    assert list(result) == ["boxes", "labels", "scores", "masks"]
    assert len(result) == 4
    assert "masks" in result
    assert not pasted
    boxes = result["boxes"].clone()
    result["boxes"].zero_()
    masks = result["masks"]
    assert result["masks"] is masks
    assert pasted == [1]
    assert masks.any(), "the masks lie where the boxes were"
    result["boxes"].copy_(boxes)


TWELVE_MEGAPIXELS = """
import torch
import torch.nn.functional as F
from mrcnn_steps import Sample, load_model, sample, trace
torch.set_num_threads(1)
small = sample("voc_people")
enlarge = lambda pixels: F.interpolate(pixels[None], (3000, 4000))[0]
photo = Sample.from_masks(
    enlarge(small.image),
    enlarge(small.masks.byte()).bool(),
    small.labels,
    small.crowd,
    small.class_names,
    "phone",
)
traced = trace(load_model("tiny"), photo)
assert len(traced.detections) > 90, len(traced.detections)
assert traced.result["boxes"][:, 0].max() > 1024
"""


def test_a_photo_of_twelve_megapixels_takes_little_memory():
    assert peak(TWELVE_MEGAPIXELS) < 1.5, "GB at most"
