"""The five mechanisms of a miss that are published, to compare with the literature.

D. Miller, P. Moghadam, M. Cox, M. Wildie, R. Jurdak: What's in the Black Box? The False Negative
Mechanisms Inside Object Detectors. IEEE Robotics and Automation Letters, 2022 (arXiv 2203.07662).
"""

from mrcnn_steps.debug.fates import CAUSES, CONFUSED, FOUND

PROPOSAL, REGRESSOR = "proposal process", "regressor"
INTERCLASS, BACKGROUND, CALIBRATION = "interclass", "background", "calibration"
MECHANISMS = (PROPOSAL, REGRESSOR, INTERCLASS, BACKGROUND, CALIBRATION)

_MECHANISM_OF = {
    "anchors": PROPOSAL,
    "rpn_box": PROPOSAL,
    "top_k": PROPOSAL,
    "rpn_min_size": PROPOSAL,
    "rpn_score": PROPOSAL,
    "rpn_nms": PROPOSAL,
    "proposal_limit": PROPOSAL,
    "class": BACKGROUND,
    "box": REGRESSOR,
    "min_size": CALIBRATION,
    "nms": CALIBRATION,
    "detection_limit": CALIBRATION,
}


def mechanism(cause: str, kind: str | None) -> str | None:
    """Name the mechanism by which an object was missed (Miller et al., Alg. 1).

    Theirs asks the proposals alone, and from the end: a right box of the right class that was not
    kept is *calibration*, whatever suppressed it; so are ours that the detections' limit or minimum
    size turned away. A right box of another class is *interclass*; of no class that reaches the
    score, *background*, also where the right class wins with a low score. Without a right box it is
    the *regressor*, or the *proposal process*, to which all gates of the RPN belong, its limits and
    its NMS too.

    Theirs knows neither masks nor classes that were not learned, and lets one detection find
    several objects. So three causes have no counterpart: `mask`, `unknown class`, `merged`.

    Args:
        cause: of a fate: "found", or a key of `CAUSES`.
        kind: of the same fate.

    Returns:
        One of `MECHANISMS`; None for an object that was found, or has no counterpart in theirs.

    Raises:
        ValueError: there is no such cause.
    """
    if cause not in CAUSES and cause != FOUND:
        raise ValueError(f"cause: expected found or one of {', '.join(CAUSES)}, found {cause!r}")
    return INTERCLASS if kind == CONFUSED else _MECHANISM_OF.get(cause)
