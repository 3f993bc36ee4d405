"""False positives: TIDE's kinds by the first rule that holds, labels suspected first."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from mrcnn_steps.data import sample
from mrcnn_steps.debug import describe_error, false_positives, lineage
from mrcnn_steps.debug.errors import MISSING_LABEL, WRONG_LABEL
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import trace

CAT, DOG = 16, 17


@pytest.fixture(scope="module")
def people():
    return trace(load_model("tiny"), sample("voc_people"))


@pytest.fixture(scope="module")
def crafted(people):
    """Make a trace of given detections and objects: rows `(x1, y1, x2, y2, label[, score])`."""

    def rows(given, columns):
        return torch.tensor(given, dtype=torch.float32).reshape(-1, columns)

    def make(found, objects, crowds=(), proposals=None):
        found, objects, crowds = rows(found, 6), rows(objects, 5), rows(crowds, 5)
        order = found[:, 5].argsort(descending=True, stable=True)
        found, every = found[order], torch.arange(len(found))
        origin = every if proposals is None else torch.tensor(proposals)[order]
        masks = torch.zeros((len(objects), 1, 1), dtype=torch.bool)
        return replace(
            people,
            # As if the photo filled the square: no box is cut at its edge.
            letterbox=replace(people.letterbox, window=(0, 0, *people.image_size)),
            detections=replace(
                people.detections,
                candidate_proposal=origin,
                candidate_label=found[:, 4].long(),
                candidate_score=found[:, 5],
                refined=found[:, :4],
                clipped=found[:, :4],
                foreground_rows=every,
                confident_rows=every,
                large_rows=every,
                nms_rows=every,
                rows=every,
            ),
            ground_truth=replace(
                people.ground_truth,
                objects=torch.arange(len(objects)),
                boxes=objects[:, :4],
                labels=objects[:, 4].long(),
                masks=masks,
                crowd_boxes=crowds[:, :4],
                crowd_labels=crowds[:, 4].long(),
            ),
        )

    return make


def only(errors):
    [error] = errors
    return error


# --- each kind, by hand ---------------------------------------------------------------------


def test_localization_is_the_right_class_not_near_enough(crafted):
    error = only(false_positives(crafted([(0, 0, 10, 10, CAT, 0.9)], [(0, 0, 10, 40, CAT)])))
    assert error.kind == "localization"
    assert error.evidence.object == 0
    assert error.evidence.iou == 0.25
    assert error.evidence.found_by is None
    assert error.suspected is None


def test_class_is_a_box_on_an_object_of_another_class(crafted):
    traced = crafted([(0, 0, 10, 10, DOG, 0.9), (0, 0, 10, 9, CAT, 0.8)], [(0, 0, 10, 10, CAT)])
    error = only(false_positives(traced))
    assert (error.detection, error.kind) == (0, "class")
    assert error.evidence.found_by == 1
    assert error.suspected is None, "the object was found as what it is"


def test_duplicate_is_a_box_on_an_object_that_a_better_one_found(crafted):
    traced = crafted([(0, 0, 10, 10, CAT, 0.9), (0, 0, 10, 9, CAT, 0.8)], [(0, 0, 10, 10, CAT)])
    error = only(false_positives(traced))
    assert (error.detection, error.kind) == (1, "duplicate")
    assert error.evidence.found_by == 0


def test_background_is_a_box_on_nothing(crafted):
    traced = crafted([(0, 0, 10, 10, CAT, 0.4)], [(9, 0, 19, 10, CAT)])
    error = only(false_positives(traced))
    assert error.kind == "background"
    assert error.evidence.object == 0
    assert error.evidence.iou == pytest.approx(10 / 190)


def test_both_is_another_class_and_not_near_enough(crafted):
    traced = crafted([(0, 0, 10, 10, DOG, 0.4)], [(0, 0, 10, 40, CAT)])
    error = only(false_positives(traced))
    assert error.kind == "both"
    assert error.evidence.object == 0


def test_the_first_rule_that_holds_decides(crafted):
    """A tenth of its own class and all of another one: localization comes before class."""
    traced = crafted([(0, 0, 10, 10, CAT, 0.9)], [(0, 0, 10, 40, CAT), (0, 0, 10, 10, DOG)])
    assert only(false_positives(traced)).kind == "localization"


def test_without_any_object_all_is_background(crafted):
    error = only(false_positives(crafted([(0, 0, 10, 10, CAT, 0.9)], [])))
    assert error.kind == "background"
    assert error.evidence.object is None


# --- who is judged --------------------------------------------------------------------------


def test_what_found_an_object_or_a_crowd_is_no_error(crafted):
    traced = crafted(
        [(0, 0, 10, 10, CAT, 0.9), (50, 0, 60, 10, DOG, 0.8), (60, 0, 70, 10, DOG, 0.7)],
        [(0, 0, 10, 10, CAT)],
        [(50, 0, 100, 50, DOG)],
    )
    assert false_positives(traced) == ()


def test_only_detections_over_the_threshold_are_judged(crafted):
    traced = crafted([(0, 0, 10, 10, CAT, 0.9), (50, 0, 60, 10, CAT, 0.5)], [])
    assert [error.detection for error in false_positives(traced)] == [0, 1]
    assert [error.detection for error in false_positives(traced, score_threshold=0.5)] == [0]


def test_the_iou_threshold_is_that_of_matching(crafted):
    traced = crafted([(0, 0, 10, 10, CAT, 0.9)], [(0, 0, 10, 40, CAT)])
    assert false_positives(traced, iou=0.25) == ()


def test_without_annotations_nothing_is_known_to_be_wrong():
    bare = trace(load_model("tiny"), sample("voc_people").image)
    assert len(bare.detections) > 0
    assert false_positives(bare) == ()


# --- suspected labels, and what the trace knows besides ---------------------------------------


def test_a_sure_detection_far_from_everything_suspects_a_missing_label(crafted):
    far = (200, 200, 210, 210, CAT)
    assert only(false_positives(crafted([(*far, 0.5)], []))).suspected == MISSING_LABEL
    assert only(false_positives(crafted([(*far, 0.49)], []))).suspected is None
    near = crafted([(*far, 0.9)], [(200, 200, 210, 250, DOG)])
    assert only(false_positives(near)).suspected is None
    crowd = crafted([(*far, 0.9)], [], [(100, 100, 300, 300, DOG)])
    assert only(false_positives(crowd)).suspected is None, "a crowd of others is annotated there"
    bare = crafted([(*far, 0.9)], [])
    boxes, rows = torch.tensor([far[:4]], dtype=torch.float32), torch.zeros(1, dtype=torch.int64)
    unknown = replace(bare.ground_truth, unknown_boxes=boxes, unknown_objects=rows)
    assert only(false_positives(replace(bare, ground_truth=unknown))).suspected is None


def test_a_detection_on_an_unfound_object_of_another_class_suspects_that_label(crafted):
    error = only(false_positives(crafted([(0, 0, 10, 10, DOG, 0.2)], [(0, 0, 10, 10, CAT)])))
    assert (error.kind, error.suspected) == ("class", WRONG_LABEL)


def test_suspected_labels_come_first(crafted):
    traced = crafted(
        [(0, 0, 10, 10, CAT, 0.9), (50, 0, 60, 10, CAT, 0.8), (90, 0, 99, 9, DOG, 0.1)],
        [(0, 0, 10, 40, CAT), (90, 0, 99, 9, CAT)],
    )
    errors = false_positives(traced)
    assert [error.detection for error in errors] == [1, 2, 0]
    assert [error.suspected for error in errors] == [MISSING_LABEL, WRONG_LABEL, None]


def test_a_proposal_that_became_two_classes_is_told(crafted):
    traced = crafted(
        [(0, 0, 10, 10, CAT, 0.9), (0, 0, 10, 10, DOG, 0.8), (50, 0, 60, 10, DOG, 0.7)],
        [(0, 0, 10, 10, CAT)],
        proposals=[3, 3, 4],
    )
    twin, other = sorted(false_positives(traced), key=lambda error: error.detection)
    assert twin.evidence.siblings == (0,)
    assert other.evidence.siblings == ()
    assert "its proposal also became detection 0" in describe_error(traced, twin)


def test_its_lineage_is_that_of_the_detection(people):
    errors = false_positives(people)
    assert len(errors) > 20
    for error in errors[::7]:
        assert error.evidence.lineage == lineage(people, error.detection)
        assert error.evidence.lineage.object is None


def test_every_kind_is_said_in_one_sentence(crafted):
    objects = [(0, 0, 10, 10, CAT), (100, 0, 110, 10, DOG)]
    found = [
        (0, 0, 10, 10, CAT, 0.9),
        (0, 0, 10, 9, CAT, 0.8),
        (0, 0, 10, 30, CAT, 0.7),
        (0, 0, 10, 10, DOG, 0.6),
        (0, 0, 10, 30, DOG, 0.45),
        (200, 0, 210, 10, DOG, 0.35),
    ]
    traced = crafted(found, objects)
    said = {error.detection: describe_error(traced, error) for error in false_positives(traced)}
    assert said == {
        1: "cat 0.80 (duplicate): object 0 (cat) was found by detection 0",
        2: "cat 0.70 (localization): not near enough to object 0 (cat), IoU 0.33",
        3: "dog 0.60 (class): lies on object 0 (cat), IoU 1.00",
        4: "dog 0.45 (both): another class and not near enough: object 0 (cat), IoU 0.33",
        5: "dog 0.35 (background): no object there",
    }


# --- an independent loop, and a property -----------------------------------------------------


def brute_force(found, objects, iou, least):
    """TIDE's rules pair by pair, in plain Python: kind by row, in falling score."""

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        return shared / (areas[0] + areas[1] - shared)

    found = sorted(found, key=lambda row: -row[5])
    taken, right = set(), set()
    for number, row in enumerate(found):
        if row[5] <= least:
            continue
        free = [
            (overlap(row, g), index)
            for index, g in enumerate(objects)
            if g[4] == row[4] and index not in taken and overlap(row, g) >= iou
        ]
        if free:
            taken.add(max(free)[1])
            right.add(number)
    kinds = {}
    for number, row in enumerate(found):
        if number in right or row[5] <= least:
            continue
        same = max((overlap(row, g) for g in objects if g[4] == row[4]), default=0)
        other = max((overlap(row, g) for g in objects if g[4] != row[4]), default=0)
        used = max((overlap(row, objects[i]) for i in taken if objects[i][4] == row[4]), default=0)
        if 0.1 <= same <= iou:
            kinds[number] = "localization"
        elif other >= iou:
            kinds[number] = "class"
        elif used >= iou:
            kinds[number] = "duplicate"
        elif max(same, other) <= 0.1:
            kinds[number] = "background"
        else:
            kinds[number] = "both"
    return kinds


SIDE = st.sampled_from([1, 2, 3, 4, 10])
BOX = st.tuples(st.integers(0, 8), st.integers(0, 3), SIDE, SIDE).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
OBJECT = st.tuples(BOX, st.sampled_from([CAT, DOG])).map(lambda each: (*each[0], each[1]))
FOUND = st.tuples(OBJECT, st.sampled_from([0.25, 0.5, 0.75])).map(lambda each: (*each[0], each[1]))


@settings(max_examples=200)
@given(
    st.lists(FOUND, max_size=6),
    st.lists(OBJECT, max_size=5),
    st.sampled_from([0.3, 0.5]),
    st.sampled_from([0.0, 0.25]),
)
def test_kinds_are_those_of_a_loop_over_all_pairs(crafted, found, objects, iou, least):
    errors = false_positives(crafted(found, objects), iou, least)
    assert {error.detection: error.kind for error in errors} == brute_force(
        found, objects, iou, least
    )


@given(st.lists(OBJECT, max_size=6), st.sampled_from([0.5, 0.75, 1.0]))
def test_annotations_given_as_detections_have_no_errors(crafted, objects, iou):
    assert false_positives(crafted([(*each, 0.9) for each in objects], objects), iou) == ()
