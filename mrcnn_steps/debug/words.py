"""Fates in plain sentences."""

from mrcnn_steps.debug.candidates import GATES, MOST_LANDED
from mrcnn_steps.debug.evidence import ANOTHER_OBJECT, SAME_OBJECT, Evidence, Suppressor
from mrcnn_steps.debug.fates import CAUSES, CONFUSED, SAYS_BACKGROUND, UNKNOWN_CLASS, Fate
from mrcnn_steps.matching import overlaps
from mrcnn_steps.rpn_targets import POSITIVE
from mrcnn_steps.settings import rpn_training_settings
from mrcnn_steps.tracing import Trace


def verdict(fate: Fate) -> str:
    """Say a fate in a few words, such as "lost at RPN NMS (another object)"."""
    if fate.found:
        return f"found, {fate.evidence.probability:.2f}"
    if fate.cause == UNKNOWN_CLASS:
        return UNKNOWN_CLASS
    kind = "" if fate.kind is None else f" ({fate.kind})"
    return f"lost at {CAUSES[fate.cause].title}{kind}"


def sentences(trace: Trace, fate: Fate) -> list[str]:
    """Say a fate and its evidence in plain sentences.

    Args:
        trace: that it belongs to.
        fate: made by `fates`.

    Returns:
        Up to six lines.
    """
    rival = fate.evidence.suppressor
    said = (
        f"Object {fate.object} ({fate.name}): {verdict(fate)}.",
        _happened(trace, fate),
        "" if rival is None else _bound(rival),
        *_counted(fate),
        _perfect(trace, fate),
    )
    return [line for line in said if line]


def to_learn(trace: Trace, fate: Fate, iou: float, score_threshold: float) -> str:
    """Say what training would have to see of an object that the weights do not find.

    That is: how many anchors the RPN is taught it by, and how well they fit; and whether the RPN
    or the box head has to learn, as the object's own box would be found or not.

    Args:
        trace: that the fate belongs to.
        fate: of an object of a class that the model knows.
        iou: from which IoU on a box is the object's.
        score_threshold: that a detection has to exceed.

    Returns:
        Two sentences.
    """
    return f"{_taught(trace, fate.object)} {_who_learns(fate, iou, score_threshold)}"


def _taught(trace: Trace, object: int) -> str:
    truth = trace.ground_truth
    assert truth is not None
    matched = truth.rpn_targets.match
    own = (matched.labels == POSITIVE) & (matched.gt_index == object)
    best = overlaps(trace.anchors.boxes, truth.boxes[object, None])[:, 0].max(dim=0)
    fit = f"IoU {float(best.values):.2f}, {_level(trace, int(best.indices))}"
    count = int(own.sum())
    if not count:
        other = "overlaps another object more" if best.values > 0 else "does not touch it"
        return f"In training no anchor is taught it: even the best ({fit}) {other}."
    anchors = "1 anchor is" if count == 1 else f"{count} anchors are"
    if not matched.forced[own].all():
        return f"In training {anchors} taught it, the best of {fit}."
    least = rpn_training_settings(trace.model)["positive_iou"]
    return (
        f"In training {anchors} taught it, only because none fits better ({fit}; {least:g} is "
        "asked for): other sizes or ratios would help, see coverage."
    )


def _who_learns(fate: Fate, iou: float, score_threshold: float) -> str:
    oracle = fate.evidence.perfect
    assert oracle is not None
    assert oracle.probability is not None
    assert oracle.iou is not None
    if oracle.probability > score_threshold and oracle.iou >= iou:
        return "A perfect box would be found, so it is the RPN that has to learn it."
    return "Not even a perfect box would be found: the box head has to learn it."


def _happened(trace: Trace, fate: Fate) -> str:
    """Tell what became of the decisive candidate."""
    seen = fate.evidence
    match fate.cause:
        case "found" | "mask":
            return _was_found(trace, fate)
        case "unknown class":
            return f"The model has no class {fate.name!r}, so that it cannot find it."
        case "anchors":
            return (
                f"No anchor covers it: {_anchor(trace, seen)} comes nearest with an IoU of "
                f"{_short_of(seen)}, below which the RPN is trained to say background."
            )
        case "rpn_box":
            return (
                f"Anchors cover it by an IoU of up to {seen.best_anchor_iou:.2f}, but the RPN "
                f"moves none of them onto it: {_anchor(trace, seen)} comes nearest, refined to "
                f"{_short_of(seen)}."
            )
        case "class":
            return f"{_refined(trace, seen)}, but {_said_instead(trace, fate)}."
        case "box":
            return (
                f"{_refined(trace, seen)} and is called {fate.name} {seen.probability:.2f}, but "
                f"the box head moves it away, to an IoU of {_short_of(seen)}."
            )
    would = f"would have become {fate.name} {seen.probability:.2f}"
    return f"{_refined(trace, seen)} and {would}, but {_turned_away(trace, fate)}."


def _was_found(trace: Trace, fate: Fate) -> str:
    seen = fate.evidence
    said = (
        f"{_refined(trace, seen)}, became proposal {seen.proposal} and detection "
        f"{seen.detection}, {fate.name} {seen.probability:.2f}, whose box has an IoU of "
        f"{seen.moved_iou:.2f}"
    )
    if seen.mask_iou is None:
        return f"{said}."
    if fate.cause == "mask":
        return f"{said}, but its mask one of only {_short_of(seen)}."
    return f"{said} and whose mask one of {seen.mask_iou:.2f}."


def _said_instead(trace: Trace, fate: Fate) -> str:
    """Tell what the second stage said instead of the object's class."""
    seen = fate.evidence
    own = f"{fate.name} {_short_of(seen)}"
    if fate.kind not in (SAYS_BACKGROUND, CONFUSED):
        return f"is called {own} only"
    assert seen.winner is not None
    return f"is called {trace.class_names[seen.winner]} {seen.winner_probability:.2f}, {own}"


def _turned_away(trace: Trace, fate: Fate) -> str:
    """Why an able candidate did not become a detection of its object."""
    seen, gate = fate.evidence, fate.cause
    value, threshold = _apart(seen.value, seen.threshold)
    match gate:
        case "top_k" | "proposal_limit" | "detection_limit":
            what = "by objectness" if gate == "top_k" else "after NMS"
            return f"it ranks {seen.value:,.0f} {what}, and {seen.threshold:,.0f} may stay"
        case "rpn_min_size" | "min_size":
            return f"its shorter side of {value} px is below {threshold}"
        case "rpn_score":
            return f"its objectness of {value} is below {threshold}"
        case "merged":
            assert seen.merged_with is not None
            other = _object(trace, seen.merged_with)
            return f"as detection {seen.detection} it found {other}, its IoU {threshold} to {value}"
    assert seen.suppressor is not None
    return f"{_suppressor(trace, fate, seen.suppressor)}, overlaps it by {value} > {threshold}"


def _suppressor(trace: Trace, fate: Fate, rival: Suppressor) -> str:
    """Who was kept instead, and what it covers."""
    if rival.detection is not None:
        name = f"detection {rival.detection} ({fate.name} {rival.score:.2f})"
    elif rival.proposal is not None and fate.cause == "rpn_nms":
        name = f"proposal {rival.proposal}"
    else:
        name = f"the candidate of anchor {rival.anchor:,}"
    if rival.kind == SAME_OBJECT:
        return f"{name}, a worse box of the same object (IoU {rival.object_iou:.2f})"
    if rival.object is not None:
        return f"{name}, which covers {_object(trace, rival.object)}"
    return f"{name}, which lies on the background"


def _bound(rival: Suppressor) -> str:
    if rival.kind != ANOTHER_OBJECT:
        return ""
    return (
        f"The two objects overlap by an IoU of {rival.bound:.2f}: at a threshold below, one of two "
        "perfect boxes would suppress the other."
    )


def _counted(fate: Fate) -> list[str]:
    """How far the candidates came, and what would have been the cause without the furthest."""
    seen = fate.evidence
    if seen.landed is None:
        return []
    most = f" (the {MOST_LANDED} most object-like)" if seen.landed == MOST_LANDED else ""
    said = [f"Refined anchors on it: {seen.landed}{most}"]
    able = seen.reached.get(GATES[0], 0)
    if able:
        ways = [f"{seen.reached[gate]} reached {CAUSES[gate].title}" for gate in _turns(seen)]
        said[0] += f"; able to find it: {able}, of which {', '.join(ways)}"
    said[0] += "."
    if seen.runner_up is not None:
        title = CAUSES[seen.runner_up].title
        said.append(f"Without what came furthest, it would have been lost at {title}.")
    return said


def _turns(seen: Evidence) -> list[str]:
    """Give the gates at which the number of able candidates falls, up to the last."""
    counts = [seen.reached[gate] for gate in GATES]
    return [
        gate
        for gate, count, later in zip(GATES, counts, [*counts[1:], 0], strict=True)
        if count > later
    ]


def _perfect(trace: Trace, fate: Fate) -> str:
    """Tell what the second stage says of the object's own box, and so which half is to blame."""
    oracle = fate.evidence.perfect
    if oracle is None:
        return ""
    called = f"{trace.class_names[oracle.winner]}, {oracle.winner_probability:.2f}"
    if oracle.iou is None:
        return f"Its own box is called {called}."
    if trace.class_names[oracle.winner] != fate.name:
        return f"Even a perfect box is called {called} ({fate.name} {oracle.probability:.2f})."
    return f"A perfect box is called {called}, and is moved to an IoU of {oracle.iou:.2f}."


def _refined(trace: Trace, seen: Evidence) -> str:
    return f"A{_anchor(trace, seen)[1:]} was refined to an IoU of {seen.iou:.2f}"


def _anchor(trace: Trace, seen: Evidence) -> str:
    assert seen.anchor is not None
    return f"anchor {seen.anchor:,} ({_level(trace, seen.anchor)})"


def _level(trace: Trace, anchor: int) -> str:
    return trace.anchors.level_names[trace.anchors.locate(anchor).level]


def _object(trace: Trace, object: int) -> str:
    assert trace.ground_truth is not None
    return f"the {trace.class_names[int(trace.ground_truth.labels[object])]} (object {object})"


def _short_of(seen: Evidence) -> str:
    value, threshold = _apart(seen.value, seen.threshold)
    return f"{value} < {threshold}"


def _apart(value: float | None, other: float | None) -> tuple[str, str]:
    """Two numbers with as many decimals as it takes to tell them apart, two at least."""
    assert value is not None
    assert other is not None
    for decimals in range(2, 6):
        pair = f"{value:.{decimals}f}", f"{other:.{decimals}f}"
        if pair[0] != pair[1]:
            return pair
    return f"{value:g}", f"{other:g}"
