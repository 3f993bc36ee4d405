"""Stage 3, RPN targets: what the region proposal network is trained to say about each anchor."""

from dataclasses import dataclass
from numbers import Real

import torch
from jaxtyping import Bool, Float, Int, Int8
from torch import Tensor

from mrcnn_steps.boxes import BoxesLike, as_boxes, check_boxes, decode, encode
from mrcnn_steps.checks import INDEX, MAX_PIXELS, check_indices, check_tensor, check_whole

POSITIVE, NEGATIVE, NEUTRAL = 1, -1, 0

# The notes' implementation lets a negative touch a crowd by less than this IoU.
CROWD_IOU = 0.001

# Anchors are compared with all ground truth in pieces whose IoU matrix has this many cells, so that
# it stays in the processor's cache: five times as fast as one large matrix for 65,472 × 50.
PIECE_CELLS = 400_000


@dataclass(frozen=True, eq=False)
class Match:
    """Every anchor's label, before sampling.

    Attributes:
        labels: [A] 1 positive, -1 negative, 0 neutral.
        gt_index: [A] the ground-truth box that overlaps the anchor most; -1 without ground truth.
        iou: [A] IoU with that box, 0…1.
        forced: [A] whether the anchor is positive below the threshold, only because no anchor
            overlaps some ground-truth box more.
    """

    labels: Int8[Tensor, "A"]
    gt_index: Int[Tensor, "A"]
    iou: Float[Tensor, "A"]
    forced: Bool[Tensor, "A"]


@dataclass(frozen=True, eq=False)
class AnchorOverlaps:
    """All anchors compared with the ground truth, once; then labels at any thresholds.

    Attributes:
        gt_index: [A] the ground-truth box that overlaps the anchor most; -1 without ground truth.
        iou: [A] IoU with that box, 0…1.
        best: [A] whether no anchor overlaps some ground-truth box more.
        near_crowd: [A] whether the anchor touches a crowd.
    """

    gt_index: Int[Tensor, "A"]
    iou: Float[Tensor, "A"]
    best: Bool[Tensor, "A"]
    near_crowd: Bool[Tensor, "A"]

    def match(self, positive_iou: float = 0.7, negative_iou: float = 0.3) -> Match:
        """Label every anchor; see the function `match`.

        Args:
            positive_iou: threshold for positives, reached or exceeded.
            negative_iou: threshold for negatives, not reached.

        Returns:
            Label, ground-truth index and IoU of every anchor.

        Raises:
            ValueError: the thresholds are not 0 ≤ negative ≤ positive ≤ 1.
        """
        for name, value in (("positive_iou", positive_iou), ("negative_iou", negative_iou)):
            if not isinstance(value, Real):
                raise ValueError(f"{name}: expected a number, found {value!r}")
        if not 0 <= negative_iou <= positive_iou <= 1:
            raise ValueError(
                f"thresholds: expected 0 <= negative_iou <= positive_iou <= 1, "
                f"found negative_iou={negative_iou}, positive_iou={positive_iou}"
            )
        labels = torch.full_like(self.gt_index, NEUTRAL, dtype=torch.int8)
        labels[(self.iou < negative_iou) & ~self.near_crowd] = NEGATIVE
        above = (self.iou >= positive_iou) & (self.gt_index >= 0)
        labels[above | self.best] = POSITIVE
        return Match(labels, self.gt_index, self.iou, self.best & ~above)


@dataclass(frozen=True, eq=False)
class RPNTargets:
    """What the RPN's two outputs should be for one image.

    Attributes:
        match: every anchor's label and ground truth before sampling.
        labels: [A] 1 positive, -1 negative, 0 neutral, after sampling.
        deltas: [count, 4] deltas of the positives in anchor order, padded with zero rows.
        positive_index: [P] rows of the sampled positives among the anchors.
        refined: [P, 4] the positives moved by their deltas: their ground-truth boxes, in pixels.
    """

    match: Match
    labels: Int8[Tensor, "A"]
    deltas: Float[Tensor, "count 4"]
    positive_index: Int[Tensor, "P"]
    refined: Float[Tensor, "P 4"]


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _iou_pieces(anchors: Tensor, boxes: Tensor) -> list[Tensor]:
    """IoU of all boxes with consecutive pieces of the anchors, each [G, piece].

    The arithmetic is `torchvision.ops.box_iou`'s, in place.
    """
    x1, y1, x2, y2 = boxes.T[:, :, None]
    area = _area(boxes)[:, None]
    anchor_area = _area(anchors)
    count = max(1, PIECE_CELLS // max(1, len(boxes)))
    pieces = []
    for columns, areas in zip(
        anchors.T.contiguous().split(count, dim=1), anchor_area.split(count), strict=True
    ):
        width = torch.minimum(columns[2], x2).sub_(torch.maximum(columns[0], x1)).clamp_(min=0)
        height = torch.minimum(columns[3], y2).sub_(torch.maximum(columns[1], y1)).clamp_(min=0)
        intersection = width.mul_(height)
        union = (area + areas).sub_(intersection)
        pieces.append(intersection.div_(union))
    return pieces


def match(
    anchors: BoxesLike,
    gt_boxes: Float[Tensor, "G 4"],
    crowd_boxes: Float[Tensor, "K 4"] | None = None,
    positive_iou: float = 0.7,
    negative_iou: float = 0.3,
) -> Match:
    """Label every anchor by its overlap with the ground truth (Faster R-CNN §3.1.2).

    Positive: IoU of at least `positive_iou` with some ground-truth box, or no anchor overlaps some
    box more (all that tie for it). Negative: IoU below `negative_iou` with every box, and clear of
    crowds. Neutral: the rest. The target of an anchor is the box *it* overlaps most, even if
    another box forced it to be positive. A ground-truth box that overlaps no anchor forces none
    (in torchvision's `Matcher` and in the notes it would turn every anchor without overlap
    positive).

    Args:
        anchors: [A, 4] in pixels, or an `Anchors`.
        gt_boxes: [G, 4] in pixels, with area; crowds are not among them.
        crowd_boxes: [K, 4] boxes around groups, in pixels; an anchor that touches one (IoU of at
            least 0.001) is never negative.
        positive_iou: threshold for positives, reached or exceeded.
        negative_iou: threshold for negatives, not reached.

    Returns:
        Label, ground-truth index and IoU of every anchor.

    Raises:
        ValueError: boxes are not finite or have no area, or the thresholds are not
            0 ≤ negative ≤ positive ≤ 1.
    """
    return compare(anchors, gt_boxes, crowd_boxes).match(positive_iou, negative_iou)


def compare(
    anchors: BoxesLike,
    gt_boxes: Float[Tensor, "G 4"],
    crowd_boxes: Float[Tensor, "K 4"] | None = None,
) -> AnchorOverlaps:
    """Compare every anchor with the ground truth: the part of `match` that needs no threshold.

    Args:
        anchors: [A, 4] in pixels, or an `Anchors`.
        gt_boxes: [G, 4] in pixels, with area; crowds are not among them.
        crowd_boxes: [K, 4] boxes around groups, in pixels.

    Returns:
        What every anchor overlaps, and how much.

    Raises:
        ValueError: boxes are not finite or have no area.
    """
    boxes = as_boxes(anchors, "anchors", positive_area=True)
    check_boxes(gt_boxes, "gt_boxes", positive_area=True)
    iou, gt_index, best = _overlaps(boxes, gt_boxes)
    near_crowd = torch.zeros_like(best)
    if crowd_boxes is not None:
        check_boxes(crowd_boxes, "crowd_boxes", positive_area=True)
        crowd_iou, _, _ = _overlaps(boxes, crowd_boxes)
        near_crowd = crowd_iou >= CROWD_IOU
    return AnchorOverlaps(gt_index, iou, best, near_crowd)


def _overlaps(anchors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each anchor's best IoU and box, and whether no anchor overlaps some box more."""
    if not len(boxes) or not len(anchors):
        nothing = anchors.new_zeros(len(anchors))
        return nothing, torch.full_like(nothing, -1, dtype=torch.int64), nothing.bool()
    pieces = _iou_pieces(anchors, boxes)
    best = [piece.max(dim=0) for piece in pieces]
    best_anchor = torch.stack([piece.amax(dim=1) for piece in pieces]).amax(dim=0)
    # A box that touches no anchor must not tie with every anchor that touches no box.
    reachable = best_anchor.where(best_anchor > 0, torch.inf)[:, None]
    forced = [(piece == reachable).any(dim=0) for piece in pieces]
    return (
        torch.cat([piece.values for piece in best]),
        torch.cat([piece.indices for piece in best]),
        torch.cat(forced),
    )


def sample_anchors(
    labels: Int8[Tensor, "A"],
    count: int = 256,
    positive_fraction: float = 0.5,
    generator: torch.Generator | None = None,
) -> Int8[Tensor, "A"]:
    """Keep a balanced sample of positives and negatives (Faster R-CNN §3.1.3).

    At most `count × positive_fraction` positives stay, and negatives fill up to `count`; those over
    the limit become neutral and are left out of the loss.

    Args:
        labels: [A] 1 positive, -1 negative, 0 neutral.
        count: anchors to keep.
        positive_fraction: largest share of positives, 0…1.
        generator: source of the choice; without one the choice is that of seed 0.

    Returns:
        [A] labels, those over the limit turned to 0.

    Raises:
        ValueError: labels other than 1, -1, 0, a negative count or a fraction outside 0…1.
    """
    check_whole(count, "count", most=MAX_PIXELS)
    if not isinstance(positive_fraction, Real) or not 0 <= positive_fraction <= 1:
        raise ValueError(f"positive_fraction: expected 0 to 1, found {positive_fraction}")
    check_tensor(labels, "labels", (torch.int8, *INDEX))
    if labels.ndim != 1 or not torch.isin(labels, labels.new_tensor([-1, 0, 1])).all():
        raise ValueError(f"labels: expected shape [A] and values 1, -1, 0, found {labels.unique()}")
    if generator is None:
        generator = torch.Generator(labels.device).manual_seed(0)
    sampled = labels.clone()
    positives = (labels == POSITIVE).nonzero().flatten()
    kept = min(len(positives), int(count * positive_fraction))
    sampled[_over_limit(positives, kept, generator)] = NEUTRAL
    negatives = (labels == NEGATIVE).nonzero().flatten()
    sampled[_over_limit(negatives, count - kept, generator)] = NEUTRAL
    return sampled


def _over_limit(rows: Tensor, keep: int, generator: torch.Generator) -> Tensor:
    """Give the rows to drop so that `keep` random ones stay."""
    order = torch.randperm(len(rows), generator=generator, device=rows.device)
    return rows[order[keep:]]


def build(
    anchors: BoxesLike,
    gt_boxes: Float[Tensor, "G 4"],
    crowd_boxes: Float[Tensor, "K 4"] | None = None,
    positive_iou: float = 0.7,
    negative_iou: float = 0.3,
    count: int = 256,
    positive_fraction: float = 0.5,
    generator: torch.Generator | None = None,
) -> RPNTargets:
    """Build the RPN's training targets for one image: match, sample, encode.

    Args:
        anchors: [A, 4] in pixels, or an `Anchors`.
        gt_boxes: [G, 4] in pixels, with area; crowds are not among them.
        crowd_boxes: [K, 4] boxes around groups, in pixels.
        positive_iou: see `match`.
        negative_iou: see `match`.
        count: anchors that are trained on, and rows of the deltas.
        positive_fraction: see `sample_anchors`.
        generator: see `sample_anchors`.

    Returns:
        The match, the sampled labels, the positives' deltas (weights 1) and the positives after
        refinement, which land on their ground truth.

    Raises:
        ValueError: see `match` and `sample_anchors`.
    """
    matched = match(anchors, gt_boxes, crowd_boxes, positive_iou, negative_iou)
    return build_matched(matched, anchors, gt_boxes, count, positive_fraction, generator)


def build_matched(
    matched: Match,
    anchors: BoxesLike,
    gt_boxes: Float[Tensor, "G 4"],
    count: int = 256,
    positive_fraction: float = 0.5,
    generator: torch.Generator | None = None,
) -> RPNTargets:
    """Build the RPN's training targets of anchors that are matched: sample, encode.

    Args:
        matched: what `match` says about them.
        anchors: [A, 4] in pixels, or an `Anchors`.
        gt_boxes: [G, 4] in pixels, with area; crowds are not among them.
        count: anchors that are trained on, and rows of the deltas.
        positive_fraction: see `sample_anchors`.
        generator: see `sample_anchors`.

    Returns:
        See `build`.

    Raises:
        ValueError: see `sample_anchors`; or anchors or boxes that the match does not fit.
    """
    boxes = as_boxes(anchors, "anchors", positive_area=True)
    check_boxes(gt_boxes, "gt_boxes", positive_area=True)
    if len(matched.labels) != len(boxes):
        raise ValueError(
            f"matched: expected those of {len(boxes)} anchors, found {len(matched.labels)}"
        )
    labels = sample_anchors(matched.labels, count, positive_fraction, generator)
    positive_index = (labels == POSITIVE).nonzero().flatten()
    positives = boxes[positive_index]
    gt_index = matched.gt_index[positive_index]
    check_indices(gt_index, "matched.gt_index", "P", len(gt_boxes))
    positive_deltas = encode(gt_boxes[gt_index], positives)
    deltas = positive_deltas.new_zeros((count, 4))
    deltas[: len(positive_deltas)] = positive_deltas
    return RPNTargets(
        match=matched,
        labels=labels,
        deltas=deltas,
        positive_index=positive_index,
        refined=decode(positive_deltas, positives),
    )
