"""The exercises: the right solution passes, typical mistakes are told apart."""

import inspect
import time
from functools import cache

import pytest
import torch
from torch import Tensor

from mrcnn_steps import mini_masks
from mrcnn_steps.data import sample
from mrcnn_steps.exercises import check, exercises, hint, solution, trials, tutor
from mrcnn_steps.exercises.attempt import copy

LESSONS = {
    "01_mini_masks",
    "02_anchors",
    "03_rpn_targets",
    "04_proposals",
    "05_classification",
    "06_detection",
    "07_masks",
    "08_why_missed",
}

# A check takes less than two seconds; a busy machine may need more.
LATE = 6.0

each_exercise = pytest.mark.parametrize("exercise", exercises(), ids=lambda e: e.name)


@pytest.fixture
def unhurried(monkeypatch):
    """Without limits of time, so that a busy machine finds the same input as an idle one."""
    for limit in ("CALL_LIMIT", "RANDOM_UNTIL"):
        monkeypatch.setattr(trials, limit, 60.0)
    monkeypatch.setattr(tutor, "SHRINK_FOR", 60.0)


@cache
def answers(exercise) -> dict:
    return {m.name: check(m.wrong, exercise.name) for m in exercise.mistakes}


def elements(inputs: dict) -> int:
    return sum(value.numel() for value in inputs.values() if isinstance(value, Tensor))


def tensors(arguments: tuple) -> list[Tensor]:
    return [value for value in arguments if isinstance(value, Tensor) and value.numel()]


def test_every_lesson_has_at_least_two_exercises_and_all_have_twenty():
    by_lesson = [exercise.lesson for exercise in exercises()]

    assert set(by_lesson) == LESSONS
    assert all(by_lesson.count(lesson) >= 2 for lesson in LESSONS)
    assert len(by_lesson) >= 20


def test_names_are_unique():
    names = [exercise.name for exercise in exercises()]

    assert len(set(names)) == len(names)


@each_exercise
def test_the_solution_is_right_when_pasted_where_only_torch_is_imported(exercise, unhurried):
    namespace = {"torch": torch}

    exec(str(solution(exercise.name)), namespace)
    answer = check(namespace[exercise.name])

    assert answer.right, answer
    assert exercise.why in answer.message
    assert answer.failing_input is None
    assert answer.mistake is None
    assert answer.figure() is None


@each_exercise
def test_the_same_question_gets_the_same_answer(exercise, unhurried):
    mistake = exercise.mistakes[0]

    assert repr(check(mistake.wrong, exercise.name)) == repr(answers(exercise)[mistake.name])


@each_exercise
def test_at_least_three_typical_mistakes_are_told_apart(exercise, unhurried):
    names = [mistake.name for mistake in exercise.mistakes]

    assert len(names) >= 3
    assert [answers(exercise)[name].mistake for name in names] == names
    for mistake in exercise.mistakes:
        answer = answers(exercise)[mistake.name]
        assert not answer.right
        assert mistake.name in answer.message
        assert mistake.hint in answer.message
        assert answer.expected is not None
        assert answer.given is not None


@each_exercise
def test_the_failing_input_is_small_and_does_fail(exercise, unhurried):
    for mistake in exercise.mistakes:
        answer = answers(exercise)[mistake.name]
        assert elements(answer.failing_input) <= 30, answer
        for value in answer.failing_input.values():
            if isinstance(value, Tensor) and value.numel():
                assert value.double().abs().max() < 300, answer
        if exercise.verify is not None:
            left = copy(answer.failing_input)
            mistake.wrong(*left.values())
            assert exercise.verify(answer.failing_input, answer.given, left) == mistake.name
            continue
        right = exercise.reference(*answer.failing_input.values())
        if isinstance(answer.expected, tuple):
            for part, other in zip(answer.expected, right, strict=True):
                torch.testing.assert_close(part, torch.as_tensor(other))
        else:
            torch.testing.assert_close(answer.expected, torch.as_tensor(right))
        assert repr(answer.given) != repr(answer.expected)


@each_exercise
def test_none_is_answered(exercise):
    answer = check(lambda *arguments: None, exercise.name)

    assert not answer.right
    assert "None" in answer.message
    assert "return" in answer.message


@each_exercise
def test_a_wrong_shape_is_answered(exercise):
    answer = check(lambda *arguments: torch.zeros(2, 1, 1, 3, 1), exercise.name)

    assert not answer.right
    expected = "values; it returned" if len(exercise.returns) > 1 else "yours is [2, 1, 1, 3, 1]"
    assert expected in answer.message


@each_exercise
def test_a_wrong_dtype_is_answered(exercise):
    def other_kind(tensor):
        tensor = torch.as_tensor(tensor)
        return tensor.long() if tensor.is_floating_point() else tensor.float()

    def wrong(*arguments):
        found = exercise.solution(*arguments)
        # Four numbers may come as a tuple; several results always do.
        if len(exercise.returns) > 1:
            return tuple(other_kind(part) for part in found)
        return other_kind(found)

    answer = check(wrong, exercise.name)

    assert not answer.right
    assert "The values should be" in answer.message
    assert "yours are" in answer.message


@each_exercise
def test_an_exception_is_answered_with_the_learners_own_line(exercise):
    def broken(*arguments):
        torch.zeros(2) + torch.zeros(3)  # the learner's line

    answer = check(broken, exercise.name)

    assert not answer.right
    assert "torch.zeros(2) + torch.zeros(3)" in answer.message
    assert str(inspect.getsourcelines(broken)[1] + 1) in answer.message
    assert "RuntimeError" in answer.message
    assert "Traceback" not in answer.message
    assert elements(answer.failing_input) <= 30


@pytest.mark.parametrize(
    "exercise",
    [e for e in exercises() if e.shapes],
    ids=lambda e: e.name,
)
def test_changing_the_input_is_answered(exercise, unhurried):
    def careless(*arguments):
        found = exercise.solution(*arguments)
        found = found.clone() if isinstance(found, Tensor) else found
        for tensor in tensors(arguments):
            tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)
        return found

    answer = check(careless, exercise.name)

    assert not answer.right
    assert "in place" in answer.message
    assert next(iter(exercise.shapes)) in answer.message


@each_exercise
def test_a_check_is_quick(exercise):
    check(exercise.solution)  # makes the cases

    start = time.perf_counter()
    check(exercise.solution)
    check(exercise.mistakes[0].wrong, exercise.name)

    assert time.perf_counter() - start < 2 * LATE


@each_exercise
def test_hints_go_from_first_to_last_and_stay_there(exercise):
    given = [str(hint(exercise.name)) for _ in range(len(exercise.hints) + 1)]

    assert len(exercise.hints) >= 3
    for number, text in enumerate(exercise.hints, 1):
        assert given[number - 1].startswith(f"Hint {number} of {len(exercise.hints)}: {text}")
    assert given[-1] == given[-2]
    assert f'solution("{exercise.name}")' in given[-1]


@each_exercise
def test_a_task_names_every_argument(exercise):
    for argument in inspect.signature(exercise.solution).parameters:
        assert argument in exercise.task


@each_exercise
def test_pictures_show_where_the_values_differ(exercise, unhurried):
    drawn = [answer.figure() for answer in answers(exercise).values()]

    assert any(figure is not None for figure in drawn) == (exercise.picture is not None)
    for figure in drawn:
        if figure is not None:
            figure.canvas.draw()


def test_the_list_can_be_narrowed_to_a_lesson_and_shows_the_tasks():
    listed = exercises("03")

    assert {exercise.lesson for exercise in listed} == {"03_rpn_targets"}
    for exercise in listed:
        assert exercise.signature in repr(listed)
        assert exercise.task in repr(listed)


def test_the_mini_mask_exercise_is_the_stage_but_for_the_corners():
    """The stage takes zeros beyond the box, interpolate repeats the edge."""
    photo = sample("voc_people")
    shrink = next(exercise.solution for exercise in exercises("01") if exercise.name == "shrink")

    ours = torch.stack(
        [shrink(m, b, 56) > 0.5 for m, b in zip(photo.masks, photo.boxes, strict=True)]
    )
    stage = mini_masks.shrink(photo.masks, photo.boxes)

    assert (ours == stage).float().mean() > 0.995
