"""The check-up names a planted mistake, says nothing of a healthy model, and leaves it as it is.

Its photos show what an untrained, quick model sees in them, so that this model is healthy. The
bundled model's faults are planted in `tests/benchmarks/checkup_faults.py`.
"""

import copy
from dataclasses import replace

import pytest
import torch
from torchvision.transforms.functional import normalize

from mrcnn_steps.data import sample, samples
from mrcnn_steps.debug import Finding, check_up
from tests.debug.scenes import imagined, set_to

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def model(kind):
    return kind("boxes_only")


@pytest.fixture(scope="module")
def photos(model):
    """Five photos, a third of the size, with some detections as objects."""
    small = [replace(each, image=each.image[:, ::3, ::3]) for each in map(_bare, samples()[:5])]
    return [imagined(model, each, found_only=True) for each in small]


def _bare(name):
    photo = sample(name)
    none = slice(0, 0)
    return replace(
        photo,
        boxes=photo.boxes[none],
        labels=photo.labels[none],
        masks=None,
        crowd=photo.crowd[none],
    )


def look(model, photos) -> tuple[Finding, ...]:
    return check_up(model, photos, progress=False)


def codes(findings):
    return [each.code for each in findings]


def test_a_healthy_model_has_no_findings(model, photos):
    assert look(model, photos) == ()


def test_a_score_threshold_that_is_too_high(model, photos):
    scores = torch.cat([imagined_scores(model, photo) for photo in photos])
    with set_to(model, {"roi_heads.score_thresh": float(scores.quantile(0.7))}):
        before = model.roi_heads.score_thresh
        first, *_ = look(model, photos)
        assert model.roi_heads.score_thresh == before
    assert first.code == "score_threshold"
    assert first.remedy == "model.roi_heads.score_thresh = 0.05"
    assert first.gain > 0.05
    assert first.p_value < 0.01
    assert first.level == "warning"
    assert set(first.image_ids) <= set(range(len(photos)))


def imagined_scores(model, photo):
    with torch.no_grad():
        return model([photo.image / 255])[0]["scores"]


def test_two_mistakes_at_once_are_both_found(model, photos):
    """The data's labels are one too high, and a photo may have fifty detections."""
    last = len(model.class_names) - 1
    shifted = [replace(photo, labels=photo.labels % last + 1) for photo in photos]
    with set_to(model, {"roi_heads.detections_per_img": 50}):
        found = look(model, shifted)
        assert model.roi_heads.detections_per_img == 50
    assert {"labels_off_by_one", "detection_limit"} <= set(codes(found)[:3])
    assert [each.gain for each in found] == sorted((each.gain for each in found), reverse=True)


def test_delta_weights_of_the_rpn_with_which_no_model_was_trained(model, photos):
    ill = copy.deepcopy(model)
    ill.rpn.box_coder.weights = (10.0, 10.0, 5.0, 5.0)
    first, *_ = look(ill, photos)
    assert first.code == "rpn_delta_weights"
    assert first.treatment == "the RPN's delta weights (10, 10, 5, 5) → (1, 1, 1, 1)"


def test_pairs_of_torchvision_will_do(model, photos):
    pairs = [
        (photo.image, {"boxes": photo.boxes, "labels": photo.labels, "image_id": 70 + place})
        for place, photo in enumerate(photos)
    ]
    with set_to(model, {"roi_heads.detections_per_img": 2}):
        first, *_ = look(model, pairs)
    assert first.code == "detection_limit"
    assert set(first.image_ids) <= set(range(70, 75))


@pytest.mark.parametrize(
    ("code", "as_given"),
    [
        ("input_range", lambda image: image * 255),
        ("normalization_twice", lambda image: normalize(image, MEAN, DEVIATION)),
    ],
)
def test_pairs_whose_photos_leave_the_range_of_a_model(model, photos, code, as_given):
    pairs = [
        (as_given(photo.image / 255), {"boxes": photo.boxes, "labels": photo.labels})
        for photo in photos
    ]
    first, *_ = look(model, pairs)
    assert first.code == code


def test_too_few_photos_are_said_to_be_too_few(model, photos):
    [note] = look(model, photos[:2])
    assert (note.code, note.level, note.gain) == ("check_up_too_small", "note", None)


def test_bad_arguments_are_named(model, photos):
    with pytest.raises(ValueError, match="dataset: expected photos, found none"):
        look(model, [])
    with pytest.raises(ValueError, match="iou: expected above 0"):
        check_up(model, photos, iou=0.0)
    with pytest.raises(ValueError, match="mask_threshold: expected above 0"):
        check_up(model, photos, mask_threshold=1.5)


def test_a_model_in_training_mode_stays_in_it_also_after_an_error(model, photos):
    model.train()
    try:
        with pytest.raises(TypeError, match=r"dataset\[3\]"):
            look(model, [*photos[:3], "no photo"])
        assert model.training
        assert model.rpn.training
    finally:
        model.eval()
