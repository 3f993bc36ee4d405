"""Answers about a trace cost less than the trace itself."""

import pytest

from mrcnn_steps import load_model, sample, trace
from mrcnn_steps.debug import fates
from mrcnn_steps.debug.price import price
from mrcnn_steps.debug.trials import Trials
from tests.memory import peak

TRACE = """
from mrcnn_steps import load_model, sample, trace
from mrcnn_steps.debug import fates
t = trace(load_model("tiny"), sample("voc_people"))
"""


@pytest.fixture(scope="module")
def model():
    return load_model("tiny")


@pytest.fixture(scope="module")
def traced(model):
    return trace(model, sample("voc_people"))


def test_all_fates_take_at_most_half_the_time_of_the_trace(times_as_fast, model, traced):
    photo = sample("voc_people")
    assert times_as_fast(lambda: fates(traced), lambda: trace(model, photo), 5) >= 2


def test_one_remedy_with_its_price_takes_at_most_as_long_as_the_trace(times_as_fast, model, traced):
    """Run again from the proposals on, and compared with what was found before."""
    photo = sample("voc_people")

    def remedy():
        trials = Trials(traced, 0.5)
        after = trials.run({"rpn.nms_thresh": 0.75})
        return price(trials.tally(traced), trials.tally(after), 0.5)

    assert remedy().photos == 1
    assert times_as_fast(remedy, lambda: trace(model, photo), 5) >= 1


def test_the_fates_need_little_memory_beyond_the_trace():
    assert peak(TRACE + "fates(t)") <= 1.2 * peak(TRACE)
