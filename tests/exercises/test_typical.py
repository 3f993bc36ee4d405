"""Typical answers of learners, each told for what it is; and correct ones that only are slow."""

import math

import pytest
import torch
from torchvision.ops import box_iou, clip_boxes_to_image, nms

from mrcnn_steps.boxes import decode
from mrcnn_steps.exercises import check, exercises, hint, trials, tutor
from mrcnn_steps.exercises.answer import Answer


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch):
    """A busy machine tries as many inputs as an idle one."""
    for limit in ("CALL_LIMIT", "RANDOM_UNTIL"):
        monkeypatch.setattr(trials, limit, 30.0)
    monkeypatch.setattr(tutor, "SHRINK_FOR", 30.0)


def _drawn(labels, count, generator):
    sampled, kept = labels.clone(), 0
    for label, most in ((1, count // 2), (-1, count)):
        rows = (labels == label).nonzero().flatten()
        keep = min(len(rows), most - kept)
        sampled[rows[torch.randperm(len(rows), generator=generator)[keep:]]] = 0
        kept += keep
    return sampled


def _decoded(deltas, anchors, low=-math.inf, by_new=False):
    size, limit = anchors[:, 2:] - anchors[:, :2], math.log(1000 / 16)
    wanted = size * deltas[:, 2:].clamp(low, limit).exp()
    center = anchors[:, :2] + size / 2 + deltas[:, :2] * (wanted if by_new else size)
    return torch.cat((center - wanted / 2, center + wanted / 2), dim=1)


def _encoded(boxes, anchors, log):
    size, own = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    shift = (boxes[:, :2] + size / 2 - anchors[:, :2] - own / 2) / own
    return torch.cat((shift, log(size, own)), dim=1)


def _boxed(mask):
    y, x = mask.nonzero(as_tuple=True)
    return torch.stack((x.min(), y.min(), x.max() + 1, y.max() + 1)).float()


def _size(boxes):
    return boxes[:, 2:] - boxes[:, :2]


def _iou_over_the_smaller(boxes1, boxes2):
    low = torch.max(boxes1[:, None, :2], boxes2[:, :2])
    shared = (torch.min(boxes1[:, None, 2:], boxes2[:, 2:]) - low).clamp(min=0).prod(2)
    return shared / torch.min(_size(boxes1).prod(1)[:, None], _size(boxes2).prod(1))


def _decoded_to(deltas, anchors, grow=torch.exp, plus=0):
    size = _size(anchors) + plus
    center = anchors[:, :2] + size / 2 + deltas[:, :2] * size
    new = size * grow(deltas[:, 2:].clamp(max=math.log(1000 / 16)))
    return torch.cat((center - new / 2, center + new / 2), dim=1)


def _encoded_by(boxes, anchors, log=torch.log, plus=0, sign=1):
    size, own = _size(boxes) + plus, _size(anchors) + plus
    shift = sign * (boxes[:, :2] + size / 2 - anchors[:, :2] - own / 2) / own
    return torch.cat((shift, log(size / own)), dim=1)


def _first_ones(labels, count, generator):
    sampled, kept = labels.clone(), 0
    for label, most in ((1, count // 2), (-1, count)):
        rows = (labels == label).nonzero().flatten()
        sampled[rows[max(most - kept, 0) :]] = 0
        kept += min(len(rows), most - kept)
    return sampled


def _softmax(logits, base=math.e, least=torch.amax):
    powers = base ** (logits - least(logits, dim=1, keepdim=True))
    return powers / powers.sum(dim=1, keepdim=True)


def _level(boxes, side, change=torch.floor):
    return change(4 + torch.log2(side(boxes) / 224)).clamp(2, 5).long()


def _shrunk(mask, box, size):
    x1, y1, x2, y2 = box.long().tolist()
    part = mask[y1:y2, x1:x2][None, None].float()
    small = torch.nn.functional.interpolate(part, (size, size), mode="bilinear")
    return (small[0, 0] >= 0.5).float()


def _over_the_smaller_mask(a, b):
    least = min(a.sum(), b.sum())
    return (a & b).sum() / least if least else torch.tensor(1.0)


WIDTHS = "you computed widths as x2 − x1 + 1"
MORE = [
    ("iou", _iou_over_the_smaller, "you divided by the smaller area"),
    ("decode", lambda d, a: _decoded_to(d, a, lambda dw: 1 + dw), "you forgot exp"),
    ("decode", lambda d, a: _decoded_to(d, a, plus=1), WIDTHS),
    ("decode", lambda d, a: _decoded_to(d[:, [0, 1, 3, 2]], a), "you swapped width and height"),
    ("encode", lambda b, a: _encoded_by(b, a, plus=1), WIDTHS),
    ("encode", lambda b, a: _encoded_by(b, a, lambda r: r - 1), "you forgot the logarithm"),
    (
        "encode",
        lambda b, a: _encoded_by(b, a, sign=-1),
        "you shifted from the box to the anchor",
    ),
    ("clip", lambda b, size: b.clamp(0, min(size)), "you used one limit for both directions"),
    ("softmax", lambda logits: _softmax(logits, 2), "you took powers of 2"),
    ("softmax", lambda z: _softmax(z, least=torch.amin), "you subtracted the minimum"),
    ("mask_iou", _over_the_smaller_mask, "you divided by the area of the smaller mask"),
    ("shrink", _shrunk, "you cut the values off at one half"),
    ("sample_labels", _first_ones, "the choice does not come from the generator"),
    ("fpn_level", lambda b: _level(b, lambda b: _size(b).amax(1)), "you took the longer side"),
    (
        "fpn_level",
        lambda b: _level(b, lambda b: _size(b).prod(1).sqrt(), torch.ceil),
        "you rounded up",
    ),
]

TYPICAL = [
    (
        "sample_labels",
        lambda labels, count, generator: _drawn(labels, count, None),
        "the choice does not come from the generator",
    ),
    (
        "sample_labels",
        lambda labels, count, generator: _drawn(labels, count, torch.Generator().manual_seed(7)),
        "the choice does not come from the generator",
    ),
    (
        "decode",
        lambda deltas, anchors: _decoded(deltas, anchors, low=-math.log(1000 / 16)),
        "you limited dw and dh on both sides",
    ),
    (
        "decode",
        lambda deltas, anchors: _decoded(deltas, anchors, by_new=True),
        "you shifted by the new width",
    ),
    (
        "encode",
        lambda boxes, anchors: _encoded(boxes, anchors, lambda s, a: torch.log(a / s)),
        "you took the logarithm of anchor / box",
    ),
    (
        "encode",
        lambda boxes, anchors: _encoded(boxes, anchors, lambda s, a: torch.log10(s / a)),
        "you took the logarithm to base 10",
    ),
    (
        "nms",
        lambda boxes, scores, threshold: nms(boxes, scores, 1 - threshold),
        "you compared with 1 − threshold",
    ),
    (
        "clip",
        lambda boxes, size: boxes.clamp(0, max(size)),
        "you used one limit for both directions",
    ),
    (
        "clip",
        lambda boxes, size: (c := clip_boxes_to_image(boxes, size))[
            ((c[:, 2:] - c[:, :2]) > 0).all(1)
        ],
        "you dropped the boxes that became flat",
    ),
    (
        "softmax",
        lambda logits: (
            (e := (logits - (logits.max() if len(logits) else 0)).exp()) / e.sum(1, keepdim=True)
        ),
        "you subtracted the maximum of all rows",
    ),
    ("bilinear", lambda feature, x, y: feature[round(y), round(x)], "you took a single pixel"),
    ("bilinear", lambda feature, x, y: feature[int(y), int(x)], "you took a single pixel"),
    (
        "shrink",
        lambda mask, box, size: torch.nn.functional.interpolate(
            mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])][None, None].float(),
            (size, size),
            mode="nearest-exact",
        )[0, 0],
        "you took the nearest pixel",
    ),
    # Whatever comes out for an empty mask, and only there, it is the empty mask that was forgotten.
    ("box_from_mask", _boxed, "an empty mask should give four zeros"),
    (
        "box_from_mask",
        lambda mask: _boxed(mask) if mask.any() else torch.tensor([0.0, 0, 1, 1]),
        "an empty mask should give four zeros",
    ),
    (
        "mask_iou",
        lambda a, b: (a & b).sum() / (a | b).sum().clamp(min=1),
        "two empty masks should give 1",
    ),
]


@pytest.mark.parametrize(("exercise", "function", "mistake"), TYPICAL + MORE)
def test_a_typical_answer_is_told_for_what_it_is(exercise, function, mistake):
    answer = check(function, exercise)
    assert not answer.right
    assert answer.mistake == mistake, answer
    assert sum(v.numel() for v in answer.failing_input.values() if torch.is_tensor(v)) <= 30


def test_the_references_pass_what_these_fail():
    assert check(decode, "decode").right
    assert check(_drawn, "sample_labels").right
    assert check(nms, "nms").right


def test_an_oddity_of_the_input_is_blamed_only_where_other_inputs_pass():
    """Integers are the wrong kind on every mask, not for the mask that happens to be shown."""
    answer = check(lambda mask: torch.zeros(4, dtype=torch.int64), "box_from_mask")
    assert "wrong kind" in answer.message
    assert "no True" not in answer.message


def test_what_fails_on_the_photo_first_is_made_small_too():
    def only_many(boxes, scores, threshold):
        kept = nms(boxes, scores, threshold)
        return kept.flip(0) if len(boxes) > 20 else kept

    answer = check(only_many, "nms")
    assert not answer.right
    assert len(answer.failing_input["boxes"]) == 21


# -- Slow is not wrong ----------------------------------------------------------------------------


def _pairwise(boxes1, boxes2):
    out = torch.zeros(len(boxes1), len(boxes2))
    for row, first in enumerate(boxes1.tolist()):
        for column, second in enumerate(boxes2.tolist()):
            w = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
            h = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
            out[row, column] = w * h / (sum(areas) - w * h)
    return out


def test_a_correct_double_loop_is_right_on_a_slow_machine(monkeypatch):
    monkeypatch.setattr(trials, "CALL_LIMIT", 0.05)
    monkeypatch.setattr(trials, "RANDOM_UNTIL", 0.5)
    whole = tutor.EXERCISES["iou"]
    assert trials.try_case(whole, _pairwise, trials._photo_case(whole), 0.05).failure
    answer = check(_pairwise, "iou")
    assert answer.right, answer
    assert "a part of the photo's" in answer.message
    assert "operations on whole tensors" in answer.message


def test_a_wrong_double_loop_is_wrong_on_a_slow_machine_too(monkeypatch):
    monkeypatch.setattr(trials, "CALL_LIMIT", 0.05)
    assert not check(
        lambda a, b: _pairwise(a, b) if len(a) < 9 else _pairwise(a, b) / 2, "iou"
    ).right


# -- Values that cannot be compared ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.to_sparse(), "not dense"),
        (lambda t: t.to("meta"), "no values"),
        (lambda t: t.to(torch.complex64), "complex64"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.quint8), "quint8"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*[qQ]uant.*")
def test_a_strange_tensor_is_told_not_raised(spoil, said):
    answer = check(lambda a, b: spoil(box_iou(a, b)), "iou")
    assert isinstance(answer, Answer)
    assert not answer.right
    assert said in answer.message


# -- Words ----------------------------------------------------------------------------------------


def test_a_hint_says_where_it_is_and_can_be_read_again():
    count = len(tutor.EXERCISES["encode"].hints)
    first = hint("encode", 1)
    assert first.startswith(f"Hint 1 of {count}: ")
    hint("encode", 3)
    assert hint("encode", 1) == first
    with pytest.raises(ValueError, match=f"expected 1 to {count}, .*found 0"):
        hint("encode", 0)


def test_code_in_an_answer_is_shown_as_code():
    def iou(boxes1, boxes2):
        return boxes1 @ boxes2 < "x"

    shown = check(iou)._repr_html_()
    assert "`" not in shown
    assert "<code>return boxes1 @ boxes2 &lt; &quot;x&quot;</code>" in shown


def test_every_exercise_says_how_hard_how_important_and_how_long_it_is():
    for exercise in exercises():
        difficulty, importance, minutes = exercise.rating
        assert 1 <= difficulty <= 5
        assert 1 <= importance <= 5
        assert 5 <= minutes <= 60
        assert str(exercise.rating) in repr(exercises(exercise.lesson))
    assert str(tutor.EXERCISES["iou"].rating) == (
        "difficulty ●●○○○, importance ●●●●●, about 15 minutes"
    )
