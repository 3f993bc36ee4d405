"""What to change first: everything that a diagnosis found, in the order in which it pays.

Errors in the data come first, since they make every other number wrong; then mistakes whose undoing
was measured; then labels that the detections speak against; then the gates that cost most.
"""

from collections import Counter
from collections.abc import Sequence

from mrcnn_steps.class_names import printable
from mrcnn_steps.debug.coverage import Coverage
from mrcnn_steps.debug.findings import Finding
from mrcnn_steps.debug.funnel.figures import Figures, Gate, Kind
from mrcnn_steps.debug.funnel.rows import UNEXPLAINED
from mrcnn_steps.debug.funnel.summary import Funnel
from mrcnn_steps.debug.remedies import SETTING_OF_GATE

# Gates with a price that are named, and classes of one.
GATES, CLASSES = 3, 3

# Of a thousand detections so many may speak against labels before somebody should look.
SUSPECTED = 10

# What else costs AP50 points of less than this is not worth a line.
WORTH = 0.1

TRAINING = {
    "unknown class": "rename the classes so that model and data agree, or train the model on them",
    "anchors": "give the RPN anchors that fit (see the coverage above), and train it",
    "rpn_box": "train the RPN longer on objects of this kind, or enlarge the input",
    "class": "train the classifier on more of them, or with stronger augmentation",
    "box": "train the box head on them: it moves a right box away",
    "merged": "it is one detection for two objects: look whether both are annotated rightly",
    "mask": "train the mask head on them, or check the outlines of the annotations",
    "min_size": "enlarge the input: their boxes are all but empty",
}

UNTOLD = "--model would tell at which gate, and what to do about it"

WRONG = {
    "localization": "train the box head longer, or on objects of this size",
    "class": "look at which classes are confused, and train on more of the rarer one",
    "duplicate": "try a lower `model.roi_heads.nms_thresh`",
    "background": "train on photos without objects too, or ask for a higher score",
    "both": "look at the surest of them first: often an object is not annotated",
}


def what_first(
    data: Sequence[Finding],
    mistakes: Sequence[Finding],
    cover: Coverage | None,
    found: Funnel,
) -> tuple[str, ...]:
    """Say what to change first.

    Args:
        data: what preflight found.
        mistakes: what the check-up found, the largest gain first.
        cover: the anchors against the data; None where they could not be compared.
        found: what became of the objects.

    Returns:
        A line for each change, the first thing first; one line if there is nothing.
    """
    figures = found.figures
    errors = Counter(each.code for each in data if each.level == "error")
    lines = []
    if errors:
        codes = ", ".join(errors)
        lines.append(f"Mend the data, before any number below is believed: {codes}.")
    lines += [f"{each.sentence} {each.remedy}" for each in mistakes if each.gain is not None]
    detections = sum(each.detections for each in figures.kinds)
    if figures.suspected * 1000 >= max(1, detections) * SUSPECTED:
        lines.append(
            f"Look at the {figures.suspected:,} detections that speak against a label, the surest "
            "first: every one that is right makes the model look worse than it is."
        )
    lines += [_of_gate(gate, figures, cover) for gate in _costliest(figures)]
    missed = len(figures.objects) - figures.found
    if missed and not figures.explained:
        most = _most_common(figures, UNEXPLAINED)
        lines.append(f"missed: {_objects(missed)} ({most}): {UNTOLD}.")
    lines += [_of_kind(kind) for kind in _costliest_kind(figures)]
    return tuple(map(printable, lines)) or ("Nothing stands out.",)


def _costliest(figures: Figures) -> list[Gate]:
    """Give the gates that cost most, then those without a price, such as the mask."""
    lost = [gate for gate in figures.gates if gate.lost]
    priced = [gate for gate in lost if gate.gain is not None and gate.gain >= WORTH]
    unpriced = [gate for gate in lost if gate.gain is None]
    ordered = sorted(priced, key=lambda gate: -(gate.gain or 0.0))[:GATES]
    return ordered + sorted(unpriced, key=lambda gate: -gate.lost)


def _costliest_kind(figures: Figures) -> list[Kind]:
    """Give the kind of false positive that costs most, if it costs more than nothing."""
    costly = [kind for kind in figures.kinds if kind.gain >= WORTH]
    return sorted(costly, key=lambda kind: -kind.gain)[:1]


def _of_kind(kind: Kind) -> str:
    return (
        f"{kind.kind}: {kind.detections:,} false positives, {kind.gain:+.1f} AP50 without them: "
        f"{WRONG[kind.kind]}."
    )


def _of_gate(gate: Gate, figures: Figures, cover: Coverage | None) -> str:
    most = _most_common(figures, gate.cause)
    price = "" if gate.gain is None else f", {gate.gain:+.1f} AP50 if it lost none"
    return (
        f"{gate.title}: {_objects(gate.lost)} lost ({most}){price}: {_remedy(gate.cause, cover)}."
    )


def _most_common(figures: Figures, cause: str) -> str:
    """Give the classes that a cause takes most from."""
    names = Counter(each.name for each in figures.objects if each.cause == cause)
    return ", ".join(f"{name} {count:,}" for name, count in names.most_common(CLASSES))


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count:,} objects"


def _remedy(cause: str, cover: Coverage | None) -> str:
    if cause in SETTING_OF_GATE:
        return (
            f"try another `model.{SETTING_OF_GATE[cause]}`; `mrcnn-steps why` finds the value and "
            "its price"
        )
    if cause in ("anchors", "rpn_box") and cover is not None and cover.advice:
        return f"the anchors do not fit; paste {cover.advice[0].line} and train"
    return TRAINING[cause]
