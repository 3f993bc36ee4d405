"""How the tutor answers: whatever a learner writes, in words, in time, and without harm."""

import _thread
import contextlib
import re
import signal
import threading
import time

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from mrcnn_steps.exercises import Answer, check, exercises, hint, solution
from mrcnn_steps.exercises.answer import show
from mrcnn_steps.exercises.attempt import attempt
from mrcnn_steps.exercises.shrinking import shrink

# The limit is one second; a busy machine may be late.
LATE = 6.0


def test_right_is_answered_with_what_to_take_home():
    answer = check(box_iou, "iou")

    assert answer.right
    assert repr(answer).startswith("✓ iou is right")
    assert "on the photo" in answer.message


def test_the_exercise_is_found_by_the_name_of_the_function():
    def iou(boxes1, boxes2):
        return box_iou(boxes1, boxes2)

    assert check(iou).right


@pytest.mark.parametrize("ask", [check, hint, solution])
def test_an_unknown_name_is_answered_with_similar_ones(ask):
    def label_anchor(iou):
        return iou

    assert "label_anchors" in str(ask(label_anchor))
    assert "There is no exercise 'label_anchor'" in str(ask(label_anchor))


def test_a_name_like_no_other_is_answered_with_all_names():
    answer = check(lambda: None, "xyzzy")

    assert not answer.right
    assert all(exercise.name in answer.message for exercise in exercises())


def test_calling_the_function_oneself_is_answered():
    answer = check(box_iou(torch.rand(0, 4), torch.rand(0, 4)))

    assert not answer.right
    assert "without calling it" in answer.message


def test_other_parameters_are_answered_with_both_signatures():
    def iou(boxes):
        return boxes

    answer = check(iou)

    assert not answer.right
    assert "iou(boxes1, boxes2)" in answer.message
    assert "yours takes (boxes)" in answer.message


def test_an_unknown_mistake_gets_the_smallest_input_both_values_and_a_way_on():
    def iou(boxes1, boxes2):
        result = box_iou(boxes1, boxes2)
        return torch.where(result > 0.9, result / 2, result)

    answer = check(iou)

    assert not answer.right
    assert answer.mistake is None
    assert answer.failing_input["boxes1"].tolist() == [[0, 0, 1, 1]]
    assert answer.failing_input["boxes2"].tolist() == [[0, 0, 1, 1]]
    assert answer.expected.tolist() == [[1]]
    assert answer.given.tolist() == [[0.5]]
    assert 'hint("iou")' in answer.message


def test_a_mistake_that_shows_on_empty_input_only_is_found():
    def nms(boxes, scores, threshold):
        return torch.ops.torchvision.nms(boxes, scores, threshold) + 0 * scores.argmax()

    answer = check(nms)

    assert not answer.right
    assert answer.failing_input["boxes"].shape == (0, 4)
    assert "raised" in answer.message


def test_numbers_lists_and_arrays_count_as_tensors():
    def box_from_mask(mask):
        y, x = np.nonzero(mask.numpy())
        return (
            [float(x.min()), y.min() * 1.0, x.max() + 1.0, y.max() + 1.0] if len(x) else [0.0] * 4
        )

    def clip(boxes, image_size):
        height, width = image_size
        return np.clip(boxes.numpy(), 0, [width, height, width, height])

    def mask_iou(mask1, mask2):
        union = int((mask1 | mask2).sum())
        return int((mask1 & mask2).sum()) / union if union else 1.0

    assert check(box_from_mask).right
    assert check(clip).right
    assert check(mask_iou).right


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("text", "a str"),
        ({"iou": 1}, "a dict"),
        ([[1], [2, 3]], "a list"),
        ((i for i in range(3)), "a generator"),
    ],
)
def test_what_is_no_tensor_is_named(value, said):
    answer = check(lambda boxes1, boxes2: value, "iou")

    assert not answer.right
    assert f"returned {said}, which is not a tensor" in answer.message


def test_nan_is_named():
    answer = check(lambda boxes1, boxes2: box_iou(boxes1, boxes2) * torch.nan, "iou")

    assert "NaN" in answer.message


def endless(boxes1, boxes2):
    while True:
        pass


def endless_and_stubborn(boxes1, boxes2):
    while True:
        try:
            boxes1 = boxes1 + 1
        except:  # noqa: E722
            boxes1 = boxes1 * 0


def endless_and_talking(boxes1, boxes2):
    while True:
        print("still here")


@pytest.mark.parametrize("function", [endless, endless_and_stubborn, endless_and_talking])
def test_an_endless_loop_is_stopped(function):
    start = time.perf_counter()
    answer = check(function, "iou")

    assert time.perf_counter() - start < LATE
    assert not answer.right
    assert "never ends" in answer.message
    assert len(answer.printed) <= 2000


def test_an_endless_loop_is_stopped_in_any_thread_and_leaves_no_exception_behind():
    answers = []

    def run():
        answers.append(check(endless, "iou"))
        answers.append(check(box_iou, "iou"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert "never ends" in answers[0].message
    assert answers[1].right


@contextlib.contextmanager
def no_thread_left_behind():
    """Whatever starts in here has ended: a loop left running slows down all that comes after."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=2)
        assert not thread.is_alive()


@pytest.mark.parametrize("function", [endless, endless_and_stubborn, endless_and_talking])
def test_an_endless_loop_leaves_no_thread_behind(function):
    with no_thread_left_behind():
        check(function, "iou")


def test_a_long_call_into_c_is_not_waited_for():
    start = time.perf_counter()
    answer = check(lambda boxes1, boxes2: time.sleep(20), "iou")

    assert time.perf_counter() - start < LATE
    assert "stopped" in answer.message


def test_what_is_right_but_too_slow_for_the_photo_is_told_so():
    def clip(boxes, image_size):
        start = time.perf_counter()
        while len(boxes) > 100 and time.perf_counter() - start < 60:
            pass
        height, width = image_size
        return torch.stack([boxes[:, i].clamp(0, (width, height)[i % 2]) for i in range(4)], dim=1)

    answer = check(clip)

    assert not answer.right
    assert "right on small inputs" in answer.message


class WordlessError(Exception):
    def __str__(self):
        return None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WordlessError("x"), "WordlessError: its __str__ raised TypeError"),
        (ValueError([1, 2]), r"ValueError: \[1, 2\]"),
        (ValueError(torch.zeros(2).numpy()), r"ValueError: \[0. 0.\]"),
        (ValueError(), "ValueError$"),
    ],
)
def test_whatever_is_raised_is_told(error, said):
    def function():
        raise error

    ended = attempt(function, {}, 5.0)
    assert ended.ending == "raised"
    assert re.search(said, ended.error)


def test_leaving_the_program_is_answered():
    answer = check(lambda boxes1, boxes2: exit(), "iou")

    assert "ends the program" in answer.message


def test_interrupting_the_kernel_interrupts():
    # A process that was started in the background ignores interruptions; a kernel does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def iou(boxes1, boxes2):
        _thread.interrupt_main()
        while True:
            pass

    with no_thread_left_behind(), pytest.raises(KeyboardInterrupt):
        check(iou)
    signal.signal(signal.SIGINT, before)


def test_what_the_learner_prints_is_shown_with_the_failing_input_and_nowhere_else(capsys):
    def iou(boxes1, boxes2):
        print("rows:", len(boxes1))
        return box_iou(boxes1, boxes2) + 1

    answer = check(iou)

    assert answer.printed == "rows: 1\n"
    assert "rows: 1" in repr(answer)
    assert capsys.readouterr().out == ""


def test_a_learners_text_is_escaped_in_a_notebook():
    def iou(boxes1, boxes2):
        print("<img src=x>")
        raise ValueError("<script>alert(1)</script>")

    html = check(iou)._repr_html_()

    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<img src=x>" not in html


def test_a_notebook_shows_the_picture():
    answer = check(lambda boxes, image_size: boxes, "clip")

    assert answer.figure() is not None
    assert "data:image/png;base64," in answer._repr_html_()


def test_a_wrong_value_without_picture_has_no_figure():
    answer = check(lambda boxes1, boxes2: box_iou(boxes1, boxes2) + 1, "iou")

    assert answer.figure() is None
    assert "<img" not in answer._repr_html_()


def test_the_failing_input_can_be_pasted():
    answer = check(lambda boxes1, boxes2: box_iou(boxes2, boxes1), "iou")

    for value in (*answer.failing_input.values(), answer.expected):
        assert torch.equal(eval(show(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        torch.empty(0, 4),
        torch.tensor([[True], [False]]),
        torch.tensor(2.5),
        torch.tensor([1, -1], dtype=torch.int8),
        torch.tensor([[[1e-9, 1e9]]]),
        torch.tensor([torch.inf, -torch.inf]),
    ],
)
def test_shown_values_are_python(value):
    shown = eval(show(value))

    assert shown.dtype == value.dtype
    assert torch.equal(shown, value)


def test_large_tensors_are_described():
    assert show(torch.arange(200.0)) == "float32 tensor of shape [200], from 0 to 199"


def test_an_answer_is_plain_data():
    answer = check(lambda boxes1, boxes2: box_iou(boxes1, boxes2) + 1, "iou")

    assert isinstance(answer, Answer)
    with pytest.raises(AttributeError):
        answer.right = True


def test_shrinking_finds_the_smallest_rows_and_numbers():
    inputs = {"boxes": torch.arange(24.0).reshape(6, 4), "labels": torch.arange(6), "k": 9}

    def fails(candidate):
        return bool((candidate["boxes"] > 6).any()) and candidate["k"] > 2

    smallest = shrink(inputs, {"boxes": "N 4", "labels": "N"}, fails)

    assert fails(smallest)
    assert smallest["boxes"].shape == (1, 4)
    assert smallest["labels"].tolist() == [0]
    assert sorted(smallest["boxes"][0].tolist()) == [0, 0, 0, 7]
    assert smallest["k"] == 3


def test_shrinking_keeps_equal_what_only_fails_when_equal():
    box = torch.tensor([[3.0, 4, 9, 12]])

    def fails(candidate):
        first, second = candidate["a"], candidate["b"]
        return torch.equal(first, second) and bool((first[:, 2:] > first[:, :2]).all())

    smallest = shrink({"a": box, "b": box.clone()}, {"a": "N 4", "b": "M 4"}, fails)

    assert fails(smallest)
    assert max(smallest["a"][0].tolist()) <= 2
