"""Evaluation: COCO's numbers for detectors of which one knows by hand what they must get."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mrcnn_steps.data import CocoFolder, Sample
from mrcnn_steps.model.evaluate import category_ids, evaluate
from tests.model.runs import HEIGHT, MODEL_CLASSES, WIDTH, write


class Oracle(nn.Module):
    """A source of predictions: photo number n gets the n-th of them, whatever it shows.

    Its network input is half the photo, so that proposals have to be mapped back.
    """

    def __init__(self, predictions: list[dict[str, Tensor]], proposals: list[Tensor]):
        super().__init__()
        self.predictions, self.proposals, self.photo = predictions, proposals, -1
        self.class_names = MODEL_CLASSES
        self.rpn = Answer()
        self.roi_heads = SimpleNamespace(has_mask=lambda: "masks" in predictions[0])
        self.transform = SimpleNamespace(postprocess=self.double)

    def double(self, result: Any, image_sizes: Any, photo_sizes: Any) -> Any:
        assert image_sizes == [(HEIGHT // 2, WIDTH // 2)]
        assert photo_sizes == [(HEIGHT, WIDTH)]
        return [{"boxes": each["boxes"] * 2} for each in result]

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.photo += 1
        inputs = SimpleNamespace(image_sizes=[(HEIGHT // 2, WIDTH // 2)])
        self.rpn(inputs, [self.proposals[self.photo] / 2])
        return [self.predictions[self.photo]]


class Answer(nn.Module):
    """An RPN that proposes what it is told."""

    def forward(self, inputs: Any, boxes: list[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        return boxes, {}


def truth(sample: Sample) -> dict[str, Tensor]:
    """The ground truth of a photo as a prediction, crowds left out; masks are soft."""
    keep = ~sample.crowd
    names = [sample.class_names[label] for label in sample.labels[keep].tolist()]
    return {
        "boxes": sample.boxes[keep],
        "labels": torch.tensor([MODEL_CLASSES.index(name) for name in names], dtype=torch.int64),
        "scores": torch.linspace(0.9, 0.6, int(keep.sum())),
        "masks": sample.masks[keep][:, None].float() * 0.9,
    }


def measured(
    folder: CocoFolder,
    predictions: list[dict[str, Tensor]] | None = None,
    proposals: list[Tensor] | None = None,
) -> dict[str, Any]:
    """Evaluate an oracle; by default one that is always right."""
    samples = [folder[i] for i in range(len(folder))]
    oracle = Oracle(
        predictions or [truth(sample) for sample in samples],
        proposals or [sample.boxes for sample in samples],
    )
    metrics = evaluate(oracle, folder, torch.device("cpu"), progress=False)
    assert metrics is not None
    return metrics


# --- average precision ----------------------------------------------------------------------------


def test_predictions_equal_to_the_ground_truth_score_100(
    content: dict[str, Any], tmp_path: Path
) -> None:
    metrics = measured(write(content, tmp_path))
    for kind in ("box", "mask"):
        assert [metrics[kind][name] for name in ("AP", "AP50", "AP75")] == [100, 100, 100]
        assert metrics[kind]["classes"] == {
            "zebra": {"AP": None, "AP50": None, "objects": 0},
            "dog": {"AP": 100, "AP50": 100, "objects": 2},
            "lamp": {"AP": None, "AP50": None, "objects": 0},
            "person": {"AP": 100, "AP50": 100, "objects": 4},
        }
    assert metrics["photos"] == 4
    assert metrics["objects"] == 6, "the crowd is none"


def test_sizes_are_told_apart(content: dict[str, Any], tmp_path: Path) -> None:
    """Small is below 32² pixels, large above 96²; of the six, 20 × 20 and 30 × 30 are small."""
    metrics = measured(write(content, tmp_path))
    sizes = ("small", "medium", "large")
    assert [metrics["box"][name] for name in sizes] == [100, 100, None]


def test_a_detector_that_misses_half_scores_half(content: dict[str, Any], tmp_path: Path) -> None:
    """By hand: precision is 1 up to recall 1/2, at 51 of the 101 recalls that COCO looks at."""
    folder = write(content, tmp_path)
    predictions = [truth(folder[i]) for i in range(4)]
    # Photo 0 keeps one of two people and the dog; photo 1 loses its dog; photo 2 its person.
    kept = [[0, 2], [1], [], []]
    predictions = [
        {name: value[rows] for name, value in prediction.items()}
        for prediction, rows in zip(predictions, kept, strict=True)
    ]
    metrics = measured(folder, predictions)
    for kind in ("box", "mask"):
        for name in ("person", "dog"):
            assert metrics[kind]["classes"][name]["AP"] == pytest.approx(100 * 51 / 101, abs=0.01)
        assert metrics[kind]["AP50"] == pytest.approx(100 * 51 / 101, abs=0.01)


def test_loose_boxes_pass_only_the_lower_thresholds(
    content: dict[str, Any], tmp_path: Path
) -> None:
    """Every box a quarter wider: IoU 1 / 1.25 = 0.8, enough for 0.50 … 0.80, 7 of 10.

    The masks stay right.
    """
    folder = write(content, tmp_path)
    predictions = [truth(folder[i]) for i in range(4)]
    for prediction in predictions:
        boxes = prediction["boxes"].clone()
        boxes[:, 2] += 0.2499 * (boxes[:, 2] - boxes[:, 0])
        prediction["boxes"] = boxes
    metrics = measured(folder, predictions)
    assert [metrics["box"][name] for name in ("AP", "AP50", "AP75")] == [70, 100, 100]
    assert metrics["mask"]["AP"] == 100


def test_wrong_masks_cost_mask_ap_only(content: dict[str, Any], tmp_path: Path) -> None:
    """Soft masks are cut at 0.5: of values 0.4 nothing is left."""
    folder = write(content, tmp_path)
    predictions = [truth(folder[i]) for i in range(4)]
    for prediction in predictions:
        prediction["masks"] = prediction["masks"] * (0.4 / 0.9)
    metrics = measured(folder, predictions)
    assert metrics["box"]["AP"] == 100
    assert metrics["mask"]["AP"] == 0


def test_a_detection_in_a_crowd_is_no_mistake(content: dict[str, Any], tmp_path: Path) -> None:
    """The most confident detection of all: inside the crowd it costs nothing, elsewhere much."""

    def person_with(box: list[float]) -> float:
        predictions = [truth(folder[i]) for i in range(4)]
        mask = torch.zeros(1, 1, HEIGHT, WIDTH)
        x1, y1, x2, y2 = (int(v) for v in box)
        mask[..., y1:y2, x1:x2] = 1
        more = {
            "boxes": torch.tensor([box]),
            "labels": torch.tensor([1]),
            "scores": torch.tensor([0.99]),
            "masks": mask,
        }
        predictions[2] = {k: torch.cat((v, more[k])) for k, v in predictions[2].items()}
        metrics = measured(folder, predictions)
        boxes, masks = (metrics[kind]["classes"]["person"]["AP"] for kind in ("box", "mask"))
        assert boxes == masks
        return boxes

    folder = write(content, tmp_path)
    assert person_with([70.0, 20, 100, 60]) == 100
    # 4 found, with one mistake before them: precision 4/5 at every recall
    assert person_with([5.0, 60, 45, 95]) == pytest.approx(80)


def test_a_class_the_photo_is_not_labeled_for_does_not_count(
    content: dict[str, Any], tmp_path: Path
) -> None:
    """A dog where nobody looked for dogs: no mistake; where somebody did: one."""
    folder = write(content, tmp_path)
    predictions = [truth(folder[i]) for i in range(4)]
    dog = truth(folder[1])
    predictions[3] = {name: value[:1] for name, value in dog.items()}
    predictions[3]["scores"] = torch.tensor([0.99])
    assert predictions[3]["labels"].tolist() == [2]
    assert measured(folder, predictions)["box"]["classes"]["dog"]["AP"] < 70
    content["images"][3]["labelled_category_ids"] = [7]
    folder = write(content, tmp_path)
    assert measured(folder, predictions)["box"]["classes"]["dog"]["AP"] == 100


def test_an_annotated_object_counts_also_in_a_photo_not_labeled_for_its_class(
    content: dict[str, Any], tmp_path: Path
) -> None:
    folder = write(content, tmp_path)
    predictions = [truth(folder[i]) for i in range(4)]
    for image in content["images"]:
        image["labelled_category_ids"] = []
    folder = write(content, tmp_path)
    metrics = measured(folder, predictions)
    assert metrics["box"]["AP"] == metrics["mask"]["AP"] == 100
    nothing = [{name: value[:0] for name, value in each.items()} for each in predictions]
    assert measured(folder, nothing)["box"]["AP"] == 0


@pytest.mark.parametrize("names", [MODEL_CLASSES[1:], None, set(MODEL_CLASSES)])
def test_names_that_would_count_labels_otherwise_are_refused(
    content: dict[str, Any], tmp_path: Path, names: Any
) -> None:
    folder = write(content, tmp_path)
    model = Oracle([truth(folder[0])], [folder[0].boxes])
    model.class_names = names
    with pytest.raises(
        ValueError, match=r"model\.class_names: found .*expected .*background first"
    ):
        evaluate(model, folder, torch.device("cpu"), progress=False)


def test_no_detection_scores_0(content: dict[str, Any], tmp_path: Path) -> None:
    folder = write(content, tmp_path)
    nothing = [{name: v[:0] for name, v in truth(folder[i]).items()} for i in range(4)]
    metrics = measured(folder, nothing)
    for kind in ("box", "mask"):
        assert metrics[kind]["AP50"] == 0
        assert metrics[kind]["classes"]["person"] == {"AP": 0, "AP50": 0, "objects": 4}
        assert metrics[kind]["classes"]["lamp"] == {"AP": None, "AP50": None, "objects": 0}


def test_a_model_without_masks_gets_box_figures_only(
    content: dict[str, Any], tmp_path: Path
) -> None:
    folder = write(content, tmp_path)
    predictions = [truth(folder[i]) for i in range(4)]
    for prediction in predictions:
        del prediction["masks"]
    metrics = measured(folder, predictions)
    assert metrics["box"]["AP"] == 100
    assert "mask" not in metrics


def test_files_without_area_and_box(content: dict[str, Any], tmp_path: Path) -> None:
    """Many tools write neither; then both come from the masks."""
    expected = measured(write(content, tmp_path))
    for annotation in content["annotations"]:
        del annotation["area"], annotation["bbox"]
    assert measured(write(content, tmp_path)) == expected


# --- classes --------------------------------------------------------------------------------------


def test_labels_become_category_ids_by_name(content: dict[str, Any], tmp_path: Path) -> None:
    """By hand: person is 7, dog 18, zebra 3; the data set has no unicorn."""
    folder = write(content, tmp_path)
    assert category_ids(MODEL_CLASSES, folder) == {1: 7, 2: 18, 4: 3}


def test_no_class_in_common(content: dict[str, Any], tmp_path: Path) -> None:
    folder = write(content, tmp_path)
    with pytest.raises(ValueError, match=r"shares no class name.*zebra.*the model car, boat"):
        category_ids(("background", "car", "boat"), folder)


# --- recall of the RPN ----------------------------------------------------------------------------


def brute_force_recall(
    proposals: list[Tensor], samples: list[Sample], count: int, threshold: float
) -> float:
    """Share of the objects that some of the first proposals overlap enough, in plain Python."""
    found = objects = 0
    for boxes, sample in zip(proposals, samples, strict=True):
        for truth_box, crowd in zip(sample.boxes.tolist(), sample.crowd.tolist(), strict=True):
            if crowd:
                continue
            objects += 1
            ious = []
            for box in boxes[:count].tolist():
                width = min(box[2], truth_box[2]) - max(box[0], truth_box[0])
                height = min(box[3], truth_box[3]) - max(box[1], truth_box[1])
                shared = max(width, 0) * max(height, 0)
                sizes = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, truth_box)]
                ious.append(shared / (sum(sizes) - shared))
            found += max(ious, default=0) >= threshold
    return 100 * found / objects


def test_recall_of_proposals(content: dict[str, Any], tmp_path: Path) -> None:
    """Random boxes around the objects, in random order: more of them find more objects."""
    folder = write(content, tmp_path)
    samples = [folder[i] for i in range(4)]
    generator = torch.Generator().manual_seed(0)
    proposals = []
    for sample in samples:
        near = sample.boxes.repeat(3, 1)
        near = near + torch.randn(near.shape, generator=generator) * 6
        near[:, 2:] = near[:, 2:].maximum(near[:, :2] + 1)
        corner = torch.rand(250, 2, generator=generator) * 60
        far = torch.cat((corner, corner + 4 + torch.rand(250, 2, generator=generator) * 20), dim=1)
        boxes = torch.cat((far, near))
        proposals.append(boxes[torch.randperm(len(boxes), generator=generator)])
    rpn = measured(folder, proposals=proposals)["rpn"]
    thresholds = [0.5 + 0.05 * i for i in range(10)]
    for count in (100, 1000):
        recalls = [brute_force_recall(proposals, samples, count, each) for each in thresholds]
        assert rpn[f"recall50@{count}"] == pytest.approx(recalls[0], abs=0.01)
        assert rpn[f"recall@{count}"] == pytest.approx(sum(recalls) / 10, abs=0.01)
    assert 0 < rpn["recall50@100"] < rpn["recall50@1000"]


def test_only_the_first_proposals_count(content: dict[str, Any], tmp_path: Path) -> None:
    """100 useless boxes first, then the right ones; a photo without any proposal."""
    folder = write(content, tmp_path)
    useless = torch.tensor([[0.0, 0, 2, 2]]).expand(100, -1)
    proposals = [torch.cat((useless, folder[i].boxes)) for i in range(3)] + [torch.zeros(0, 4)]
    rpn = measured(folder, proposals=proposals)["rpn"]
    assert rpn == {"recall50@100": 0, "recall@100": 0, "recall50@1000": 100, "recall@1000": 100}
