"""The numbers of the figures: what titles say and panels show is what the trace holds."""

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection

from mrcnn_steps import draw, trace
from mrcnn_steps.data import Sample, sample
from mrcnn_steps.palette import LEAVES
from tests.draw.scenes import blobs, images, labels_of, lively, outlines, small_faster_rcnn, written


class TestNumbers:
    """What titles say and panels show is what the trace holds."""

    def test_sample(self, traced):
        figure = draw.figure_sample(traced)
        assert figure.heading.startswith("voc_people: 19 objects. chair × 8, person × 7, ")
        assert outlines(figure.axes[0]) == 19

    def test_a_sample_needs_no_trace(self):
        assert draw.figure_sample(sample("voc_people")).heading.startswith("voc_people: 19 objects")

    def test_crowds_say_so(self):
        photo = blobs(1, 60, 80)
        crowd = Sample(**vars(photo) | {"crowd": torch.tensor([True])})
        [label] = labels_of(draw.figure_sample(crowd).axes[0])
        assert label.get_text() == "person (crowd)"

    def test_letterbox(self, traced):
        figure = draw.figure_letterbox(traced)
        assert figure.heading.startswith("Letterbox: 500 × 375 pixels become 256 × 256.")
        assert "the window is (0, 32) – (256, 224)" in figure.heading
        [window] = [g for g in figure.axes[1].collections if g.get_edgecolor()[0][3] == 1]
        assert window.get_paths()[0].get_extents().extents.tolist() == [0, 32, 256, 224]

    def test_mini_masks(self, traced):
        figure = draw.figure_mini_masks(traced, limit=7)
        mini = traced.ground_truth.mini_masks
        shown = [image for image in images(figure) if image.get_gid() == "mask"]
        assert figure.heading.startswith("19 mini-masks of 56 × 56, 7 shown.")
        assert len(shown) == 7
        assert np.array_equal(shown[3].get_array(), mini.mini_masks[3].numpy())
        assert any(f"IoU {mini.iou[3]:.3f}" in text.get_text() for text in written(figure))

    def test_mini_mask_round_trip(self, traced):
        truth = traced.ground_truth
        mini = truth.mini_masks
        heading = draw.figure_mini_mask_round_trip(traced).heading
        lost = (truth.masks & ~mini.expanded).any(dim=0).sum()
        gained = (mini.expanded & ~truth.masks).any(dim=0).sum()
        assert f"mean IoU {mini.iou.mean():.3f}, 1.2 MB in 59.6 kB" in heading
        assert f"{lost:,} pixels lost, {gained:,} gained" in heading

    def test_anchor_cell(self, traced):
        figure = draw.figure_anchor_cell(traced)
        assert figure.heading.startswith("15 of 4,092 anchors")
        assert outlines(figure.axes[0]) == 15
        for level, ax in enumerate(figure.axes[1:]):
            rows = sorted(int(label.get_text().replace(",", "")) for label in labels_of(ax))
            places = [traced.anchors.locate(row) for row in rows]
            grid = traced.anchors.grids[level]
            assert [place.ratio for place in places] == [0, 1, 2]
            assert {(place.level, place.row, place.column) for place in places} == {
                (level, grid.rows // 2, grid.columns // 2)
            }

    def test_anchor_levels(self, traced):
        figure = draw.figure_anchor_levels(traced)
        assert figure.heading.startswith("4,092 anchors on 5 pyramid levels")
        texts = [text.get_text() for text in written(figure)]
        titles = [text.partition(":")[0] for text in texts if " px, every " in text]
        assert titles == ["P2", "P3", "P4", "P5", "P6"]
        cells = [line for ax in figure.axes for line in ax.lines if line.get_gid() == "cells"]
        assert [len(line.get_xdata()) for line in cells] == [
            grid.rows * grid.columns for grid in traced.anchors.grids
        ]

    def test_a_level_may_have_many_sizes(self):
        found = trace(lively(small_faster_rcnn()), blobs(1, 90, 120))
        texts = {text.get_text() for text in written(draw.figure_anchor_levels(found))}
        assert "level 0: 32–512 px, every 32 px" in texts

    def test_of_very_many_classes_the_first_are_named(self):
        heading = draw.figure_sample(blobs(30, 60, 80)).heading
        assert heading.count(" × 1") == 8
        assert "truck × 1 and 22 more classes. 80 × 60 pixels." in heading

    def test_positive_and_negative_anchors(self, traced):
        labels = traced.ground_truth.rpn_targets.labels
        for draw_figure, label, look in (
            (draw.figure_positive_anchors, 1, draw.POSITIVE),
            (draw.figure_negative_anchors, -1, draw.NEGATIVE),
        ):
            figure = draw_figure(traced)
            count = int((labels == label).sum())
            assert figure.heading.startswith(f"{count} {look.name} anchors")
            dashed = look.dash != "solid"
            assert outlines(figure.axes[0], look.color, dashed) == count

    def test_neutral_anchors(self, traced):
        figure = draw.figure_neutral_anchors(traced, limit=30)
        targets = traced.ground_truth.rpn_targets
        count, between = int((targets.labels == 0).sum()), int((targets.match.labels == 0).sum())
        assert figure.heading.startswith(f"{count:,} neutral anchors, 30 shown. {between:,} are ")
        assert outlines(figure.axes[0], draw.NEUTRAL.color, dashed=True) == 30

    def test_refined_positives_land_on_objects(self, traced):
        figure = draw.figure_refined_positives(traced)
        truth = traced.ground_truth
        count = len(truth.rpn_targets.positive_index)
        ax = figure.axes[0]
        assert figure.heading.startswith(f"{count} positive anchors before and after refinement")
        assert outlines(ax, dashed=True) == outlines(ax, dashed=False) == count
        [lines] = ax.findobj(LineCollection)
        ends = np.array([segment[1] for segment in lines.get_segments()]).reshape(count, 4, 2)
        objects = truth.boxes[truth.rpn_targets.match.gt_index[truth.rpn_targets.positive_index]]
        assert np.allclose(ends[:, [0, 2]].reshape(count, 4), objects.numpy(), atol=1e-2)

    def test_top_anchors(self, traced):
        figure = draw.figure_top_anchors(traced, limit=40)
        best = traced.proposals.top_scores.sort(descending=True).values
        assert f"Top 40 of 4,092 anchors, objectness {best[0]:.3f} … {best[39]:.3f}" in (
            figure.heading
        )
        assert outlines(figure.axes[0]) == 40

    def test_refined_anchors_are_clipped_to_the_image(self, traced):
        figure = draw.figure_refined_anchors(traced, limit=50)
        for ax in figure.axes:
            sure = outlines(ax, draw.POSITIVE.color) + outlines(ax, draw.NEGATIVE.color)
            assert sure == 50
        paths = [path for group in figure.axes[1].collections for path in group.get_paths()]
        corners = np.concatenate([path.vertices for path in paths])
        assert corners.min() >= 0
        assert corners.max() <= 256

    def test_proposals_are_normalized(self, traced):
        figure = draw.figure_proposals(traced, limit=25)
        count = len(traced.proposals)
        assert figure.heading.startswith(f"{count:,} proposals, the best 25 shown.")
        assert outlines(figure.axes[0]) == 25
        paths = [path for group in figure.axes[0].collections for path in group.get_paths()]
        corners = np.concatenate([path.vertices for path in paths])
        assert corners.min() >= 0
        assert 0.5 < corners.max() <= 1
        expected = float(traced.proposals.padded()[:25, 0].min())
        assert corners[:, 0].min() == pytest.approx(expected, abs=1e-6)

    def test_classified_proposals(self, traced):
        figure = draw.figure_classified_proposals(traced, limit=12)
        labels = traced.classification.labels
        foreground = int((labels > 0).sum())
        assert f"{len(labels):,} classified proposals: {foreground:,} foreground" in figure.heading
        assert f"{len(labels) - foreground:,} are background" in figure.heading
        assert outlines(figure.axes[0]) == min(12, foreground)

    def test_detection_steps(self, traced):
        found = traced.detections
        figure = draw.figure_detection_steps(traced, limit=20)
        captions = [ax.texts[0].get_text() for ax in figure.axes]
        assert captions == [
            f"{len(traced.proposals):,} proposals",
            f"foreground: {len(found.foreground_rows):,}",
            f"score: {len(found.confident_rows):,}",
            f"size: {len(found.large_rows):,}",
            f"NMS per class: {len(found.nms_rows):,}",
            f"limit: {len(found):,}",
        ]
        assert outlines(figure.axes[-1], dashed=False) == min(20, len(found))
        for ax, before, after in zip(figure.axes[2:], found.steps, found.steps[1:], strict=False):
            gone = len(before) - len(after)
            assert outlines(ax, LEAVES.color, dashed=True) == min(20, gone)

    def test_mask_targets_begin_with_the_best_of_each_object(self, traced):
        truth = traced.ground_truth
        figure = draw.figure_mask_targets(traced, limit=8)
        shown = [image for image in images(figure) if image.get_gid() == "mask"]
        assert figure.heading.startswith(
            f"{len(truth.mask_targets)} mask targets of 28 × 28, 8 shown."
        )
        assert len(shown) == 8
        objects = [text.get_text() for text in written(figure) if "box IoU" in text.get_text()]
        reached = len(truth.positive_objects.unique())
        assert len({text.split(",")[0] for text in objects}) == min(8, reached)

    def test_predicted_masks_are_those_of_the_detected_class(self, traced):
        figure = draw.figure_predicted_masks(traced, limit=5)
        shown = [image for image in images(figure) if image.get_gid() == "mask"]
        label = traced.detections.labels[4]
        expected = traced.mask_logits[4, label].sigmoid().numpy()
        assert np.allclose(shown[4].get_array(), expected)
        assert len(shown) == 5

    def test_result(self, traced):
        scores = traced.result["scores"]
        bar = float(scores[4])
        figure = draw.figure_result(traced, min_score=bar)
        count = int((scores >= bar).sum())
        assert figure.heading.startswith(f"{count} of {len(scores)} detections with a score of ")
        assert outlines(figure.axes[0]) == count

    def test_a_result_without_sure_detections_says_what_the_best_one_has(self, traced):
        figure = draw.figure_result(traced, min_score=1.1)
        best = traced.result["scores"][0]
        assert figure.heading.endswith(f"None. The best one has {best:.2f}.")

    def test_pipeline(self, traced):
        texts = [ax.texts[0].get_text() for ax in draw.figure_pipeline(traced, 0.0).axes]
        count = len(traced.detections)
        assert texts[1:] == [
            "4,092 anchors",
            f"{len(traced.proposals):,} proposals",
            f"{count} detections",
            f"{count} objects",
        ]

    def test_network_shows_the_shapes_of_the_photo(self, traced):
        texts = {text.get_text() for text in written(draw.figure_network(traced))}
        count = len(traced.detections)
        assert {"3 × 375 × 500", "3 × 256 × 256", f"{count} × 81 × 28 × 28", "loss_mask"} <= texts
