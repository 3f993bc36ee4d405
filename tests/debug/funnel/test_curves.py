"""Curves and reliability: a plain loop over the detections, and cases by hand."""

import pytest

from mrcnn_steps.debug.funnel.curves import calibration_error, curves, reliability
from mrcnn_steps.debug.funnel.precision import claims
from mrcnn_steps.debug.funnel.rows import IGNORED
from tests.debug.funnel.made import a_detection, a_photo, an_object, at_random


def plain_counts(photos, name: str, threshold: float) -> tuple[int, int, int]:
    """Right detections, all detections, and objects of a class at a threshold."""
    right = every = 0
    for photo in photos:
        for each in photo.detections:
            if each.name == name and each.score >= threshold and each.kind != IGNORED:
                every += 1
                right += each.kind == ""
    return right, every, sum(o.name == name for photo in photos for o in photo.objects)


def test_every_point_is_what_a_plain_loop_counts():
    photos = at_random(25)
    found = curves(claims(photos))
    assert [each.name for each in found] == ["person", "dog", "犬"]
    for curve in found:
        assert sorted(curve.threshold.tolist(), reverse=True) == curve.threshold.tolist()
        for row in range(len(curve.threshold)):
            threshold, precision, recall, f1 = curve.at(row)
            right, every, objects = plain_counts(photos, curve.name, threshold)
            assert (precision, recall) == pytest.approx((right / every, right / objects))
            harmonic = 2 * precision * recall / (precision + recall) if right else 0
            assert f1 == pytest.approx(harmonic)
        assert curve.best.f1 == max(curve.f1)


def test_detections_of_equal_score_count_together():
    detections = (a_detection(0, "background", score=0.5), a_detection(1, "", score=0.5, object=0))
    [curve] = curves(claims([a_photo(1, (an_object(),), detections)]))
    assert curve.threshold.tolist() == [0.5]
    assert curve.at(0) == (0.5, 0.5, 1.0, pytest.approx(2 / 3))


def test_the_best_threshold_is_the_highest_of_equal_ones():
    objects = (an_object(0), an_object(1))
    # F1 is 2/3 at 0.9 and again at 0.3 (2 of 4 right, both found).
    detections = (
        a_detection(0, score=0.9),
        a_detection(1, "background", score=0.7),
        a_detection(2, "background", score=0.5),
        a_detection(3, score=0.3, object=1),
    )
    [curve] = curves(claims([a_photo(1, objects, detections)]))
    assert curve.f1.tolist() == pytest.approx([2 / 3, 0.5, 0.4, 2 / 3])
    assert curve.best.threshold == 0.9


def test_nothing_right_has_no_best_threshold():
    [curve] = curves(claims([a_photo(1, (an_object(0, "nms"),), (a_detection(0, "both"),))]))
    assert curve.best is None
    [curve] = curves(claims([a_photo(1, (an_object(0, "nms"),))]))
    assert curve.best is None
    assert curve.thinned() == []


def test_a_thinned_curve_has_the_last_point_over_each_threshold():
    scores = (0.97, 0.96, 0.93, 0.5, 0.02)
    detections = [a_detection(row, "both", score=score) for row, score in enumerate(scores)]
    [curve] = curves(claims([a_photo(1, (an_object(0, "nms"),), tuple(detections))]))
    assert [point.threshold for point in curve.thinned()] == [0.96, 0.93, 0.5, 0.02]


class TestReliability:
    def test_bins_are_what_a_plain_loop_counts(self):
        photos = at_random(25)
        judged = [d for photo in photos for d in photo.detections if d.kind != IGNORED]
        bins = reliability(claims(photos))
        assert len(bins) == 10
        for low, high, count, score, precision in bins:
            own = [d for d in judged if low < d.score <= high]
            assert count == len(own)
            assert score == pytest.approx(sum(d.score for d in own) / len(own))
            assert precision == pytest.approx(sum(d.kind == "" for d in own) / len(own))
        assert sum(each.detections for each in bins) == len(judged)

    def test_ends_belong_to_the_first_and_last_bin(self):
        detections = (a_detection(0, score=0.0), a_detection(1, "both", score=1.0))
        bins = reliability(claims([a_photo(1, (an_object(),), detections)]))
        assert [each.detections for each in bins] == [1, *[0] * 8, 1]
        assert bins[4].precision is None

    @pytest.mark.parametrize("tenths", range(1, 11))
    def test_a_score_between_two_bins_belongs_to_the_lower_one(self, tenths):
        detections = (a_detection(0, score=tenths / 10),)
        bins = reliability(claims([a_photo(1, (an_object(),), detections)]))
        assert bins[tenths - 1].detections == 1
        assert bins[tenths - 1].high == tenths / 10

    def test_calibration_error_by_hand(self):
        detections = (
            a_detection(0, score=0.9),
            a_detection(1, "both", score=0.9),
            a_detection(2, score=0.5),
            a_detection(3, score=0.5),
        )
        bins = reliability(claims([a_photo(1, (an_object(),), detections)]))
        # |0.9 − 0.5| for one half of the detections, |0.5 − 1| for the other.
        assert calibration_error(bins) == pytest.approx(0.45)
        assert calibration_error(reliability(claims([]))) is None
