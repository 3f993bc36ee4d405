"""Exercise of lesson 03: a balanced sample of anchors to train on."""

import torch
from torch import tensor

from mrcnn_steps import rpn_targets as stage
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.rpn_targets import photo_match

LESSON = "03_rpn_targets"


def sample_labels(labels, count, generator):
    sampled = labels.clone()
    kept = 0
    for label, most in ((1, count // 2), (-1, count)):
        rows = (labels == label).nonzero().flatten()
        keep = min(len(rows), most - kept)
        order = torch.randperm(len(rows), generator=generator)
        sampled[rows[order[keep:]]] = 0
        kept += keep
    return sampled


def _random_labels(dice: Dice, rows: int):
    values = torch.tensor([1, 1, -1, -1, -1, 0])[dice.integers((4 * rows,), 0, 5)]
    return values, 2 * dice.integer(1, rows + 1), dice.generator


FEW_POSITIVES = "negatives should fill the sample up"


TOO_MANY_POSITIVES = "more than half of the sample is positive"


TOO_MANY_NEGATIVES = "there are more anchors than asked for"


TURNED = "a label was turned into another one"


NOT_RANDOM = "the choice is not random"


OTHER_DICE = "the choice does not come from the generator"


def _broken_rule(inputs, sampled, left):
    labels, count = inputs["labels"], inputs["count"]
    positives, negatives = int((labels == 1).sum()), int((labels == -1).sum())
    kept = int((sampled == 1).sum())
    if bool(((sampled != labels) & (sampled != 0)).any()):
        return TURNED
    if kept > count // 2:
        return TOO_MANY_POSITIVES
    if int((sampled != 0).sum()) > count:
        return TOO_MANY_NEGATIVES
    wanted = min(positives, count // 2)
    if kept < wanted or int((sampled == -1).sum()) < min(negatives, count - wanted):
        return FEW_POSITIVES
    if _keeps_one_end(labels, sampled):
        return NOT_RANDOM
    untouched = torch.equal(left["generator"].get_state(), inputs["generator"].get_state())
    return OTHER_DICE if untouched and _was_chosen(labels, sampled) else None


def _was_chosen(labels, sampled):
    """Whether some of a label stayed and others of it did not."""
    return any(
        0 < int((sampled == label).sum()) < int((labels == label).sum()) for label in (1, -1)
    )


def _keeps_one_end(labels, sampled):
    """Whether just the first (or last) of a label stayed where chance would hardly do that."""
    for label in (1, -1):
        stayed = (sampled == label)[labels == label].tolist()
        few = min(sum(stayed), len(stayed) - sum(stayed))
        if few >= 8 and stayed in (sorted(stayed), sorted(stayed, reverse=True)):
            return True
    return False


def _sample_wrong(labels, count, generator, most=None, fill=True, turned=False, shuffle=True):
    sampled = labels.clone()
    kept = 0
    for label, limit in ((1, count // 2 if most is None else most), (-1, count)):
        rows = (labels == label).nonzero().flatten()
        keep = max(limit - kept, 0) if fill else count // 2
        order = torch.randperm(len(rows), generator=generator)
        order = order if shuffle else torch.arange(len(rows))
        sampled[rows[order[keep:]]] = -1 if label == 1 and turned else 0
        kept += min(keep, len(rows))
    return sampled


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="A balanced sample (Faster R-CNN §3.1.3). labels: int [A], 1, −1 or 0; count: even "
        "int; generator: torch.Generator for torch.randperm. Return int [A]: at random at most "
        "count / 2 of the ones stay, and as many of the −1 that there are count in all (or as many "
        "as there are); the rest becomes 0.",
        solution=sample_labels,
        rating=Rating(difficulty=3, importance=4, minutes=20),
        reference=lambda labels, count, generator: stage.sample_anchors(
            labels.to(torch.int8), count, 0.5, generator
        ).to(torch.int64),
        shapes={"labels": "A"},
        returns={"labels": "A"},
        fair=lambda labels, count, generator: count > 0 and count % 2 == 0,
        verify=_broken_rule,
        why="A photo has some 20 positives among 65,000 anchors: unsampled, the RPN would learn to "
        "say no to all.",
        hints=(
            "Begin with labels.clone(); only surplus ones change, and they become 0.",
            "(labels == 1).nonzero().flatten() are the rows; torch.randperm(len(rows), "
            "generator=generator) mixes them.",
            "With few positives more negatives fit: count − the positives that stayed.",
        ),
        mistakes=(
            Mistake(
                FEW_POSITIVES,
                "With 3 positives and a count of 10 there are 7 negatives, not 5; and as many "
                "positives as the half allows.",
                lambda labels, count, generator: _sample_wrong(
                    labels, count, generator, fill=False
                ),
            ),
            Mistake(
                TOO_MANY_POSITIVES,
                "At most count / 2 of them may stay.",
                lambda labels, count, generator: _sample_wrong(
                    labels, count, generator, most=count
                ),
            ),
            Mistake(
                TURNED,
                "A surplus positive is not background: it becomes 0, never −1.",
                lambda labels, count, generator: _sample_wrong(
                    labels, count, generator, turned=True
                ),
            ),
            Mistake(
                TOO_MANY_NEGATIVES,
                "Negatives are drawn too, down to count in all.",
                lambda labels, count, generator: torch.where(
                    labels == -1, labels, _sample_wrong(labels, count, generator)
                ),
            ),
            Mistake(
                NOT_RANDOM,
                "The first rows are the top left of the photo on the finest level: without chance "
                "the network never sees the rest.",
                lambda labels, count, generator: _sample_wrong(
                    labels, count, generator, shuffle=False
                ),
            ),
            Mistake(
                OTHER_DICE,
                "Draw with torch.randperm(n, generator=generator). Without it the source is shared "
                "by everybody, and the same run never comes again; the first rows are no sample.",
                lambda labels, count, generator: _sample_wrong(
                    labels, count, torch.Generator().manual_seed(1)
                ),
            ),
        ),
        edge_cases=(
            (tensor([1, -1, 0]), 2, torch.Generator().manual_seed(0)),
            (tensor([1, -1, -1, -1]), 4, torch.Generator().manual_seed(0)),
            (tensor([1, 1, 1, -1]), 2, torch.Generator().manual_seed(0)),
            (tensor([-1, 0, 0]), 4, torch.Generator().manual_seed(0)),
            (tensor([1, -1]).repeat(30), 20, torch.Generator().manual_seed(0)),
            (torch.zeros(0, dtype=torch.int64), 4, torch.Generator().manual_seed(0)),
        ),
        random=_random_labels,
        photo=lambda sample: (
            photo_match(sample).labels.long(),
            256,
            torch.Generator().manual_seed(0),
        ),
    ),
)
