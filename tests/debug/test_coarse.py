"""The mechanisms of Miller et al., from our causes."""

import pytest

from mrcnn_steps.debug.coarse import MECHANISMS, mechanism
from mrcnn_steps.debug.evidence import ANOTHER_OBJECT, BACKGROUND, SAME_OBJECT
from mrcnn_steps.debug.fates import CAUSES, CONFUSED, FOUND, LOW_SCORE, SAYS_BACKGROUND

RIVALS = (SAME_OBJECT, ANOTHER_OBJECT, BACKGROUND)
KINDS = {"class": (SAYS_BACKGROUND, CONFUSED, LOW_SCORE), "rpn_nms": RIVALS, "nms": RIVALS}
EVERY = [(cause, kind) for cause in (FOUND, *CAUSES) for kind in KINDS.get(cause, (None,))]


def algorithm_1(on_it, right_class, other_class, regressed):
    """Theirs, restated: what the proposals' boxes say, before and after the regressor."""
    if regressed:
        return "calibration" if right_class else "interclass" if other_class else "background"
    return "regressor" if on_it else "proposal process"


# What is true of the proposals of an object with that fate.
BEFORE = {"on_it": False, "right_class": False, "other_class": False, "regressed": False}
KEPT_NOT = {"on_it": True, "right_class": True, "other_class": False, "regressed": True}
TRUE_OF = {
    ("class", SAYS_BACKGROUND): KEPT_NOT | {"right_class": False},
    ("class", LOW_SCORE): KEPT_NOT | {"right_class": False},
    ("class", CONFUSED): KEPT_NOT | {"right_class": False, "other_class": True},
    ("box", None): KEPT_NOT | {"regressed": False},
    ("min_size", None): KEPT_NOT,
    ("detection_limit", None): KEPT_NOT,
    **{("nms", kind): KEPT_NOT for kind in RIVALS},
}
ELSEWHERE_FOUND = {FOUND, "mask", "merged", "unknown class"}


@pytest.mark.parametrize(("cause", "kind"), EVERY)
def test_every_cause_is_called_as_their_algorithm_calls_it(cause, kind):
    if cause in ELSEWHERE_FOUND:
        assert mechanism(cause, kind) is None
    else:
        named = algorithm_1(**TRUE_OF.get((cause, kind), BEFORE))
        assert mechanism(cause, kind) == named
        assert named in MECHANISMS


def test_an_unknown_cause_is_refused():
    with pytest.raises(ValueError, match=r"cause: expected found or one of .*, found 'bad luck'"):
        mechanism("bad luck", None)
