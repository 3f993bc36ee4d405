"""A gain is believed if it is clear; what is no gain is not, however many treatments are tried."""

import pytest
import torch

from mrcnn_steps.debug.checkup.significance import (
    ENOUGH_PHOTOS,
    LEVEL,
    by_photo,
    is_clear,
    p_values,
)
from mrcnn_steps.debug.statistics import holm, sign_flip


def photos(count, objects):
    return torch.arange(count).repeat_interleave(objects)


def test_sums_of_photos_against_a_loop():
    photo = torch.tensor([4, 4, 7, 4, 9])
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    assert by_photo(values, photo).tolist() == [11, 4, 16]


def test_with_few_photos_the_objects_are_flipped_and_with_enough_the_photos():
    """Every photo rises, and half as many objects fall as rise."""
    for count, sure in ((ENOUGH_PHOTOS - 1, False), (ENOUGH_PHOTOS, True)):
        photo = photos(count, 3)
        gains = torch.tensor([0.1, 0.1, -0.1]).double().repeat(count)
        moved = gains.sign()
        unit = by_photo(moved, photo) if sure else moved
        raw = sign_flip(unit, torch.Generator().manual_seed(0))
        assert p_values([gains], photo) == pytest.approx((2 * raw,))


def test_what_hurts_costs_no_power():
    """A hundred hopeless treatments leave the p-value of a good one as it is."""
    photo, generator = photos(9, 4), torch.Generator().manual_seed(0)
    good = torch.rand(36, generator=generator).double() - 0.15
    hopeless = [-torch.rand(36, generator=generator).double() for _ in range(100)]
    [alone] = p_values([good], photo)
    first, *others = p_values([good, *hopeless], photo)
    assert first == alone < LEVEL
    assert others == [1.0] * 100
    raw = sign_flip(good.sign(), torch.Generator().manual_seed(0))
    assert holm([raw, *[1.0] * 100])[0] > 40 * first


def test_where_photos_disagree_objects_do_not_overrule_them():
    """One photo of 30 objects rises, the others do nothing in particular."""
    photo = torch.tensor([0] * 30 + [1, 2, 3, 4, 5])
    gains = torch.full((35,), 0.1).double()
    gains[-5:] *= torch.tensor([1, -1, 1, -1, -1])
    assert p_values([gains], photo) == (1.0,)


@pytest.mark.parametrize(("count", "shared"), [(9, 0.0), (ENOUGH_PHOTOS, 0.5)])
def test_false_alarms_of_treatments_that_do_nothing_are_no_more_than_the_level_allows(
    count, shared
):
    """200 data sets, 4 treatments each; with enough photos they may vary as a whole.

    A test of level 1 % raises 2 false alarms on average; more than 5 are 1 in 60 by chance.
    """
    generator, photo = torch.Generator().manual_seed(count), photos(count, 5)
    alarms = 0
    for seed in range(200):
        whole = torch.randn((4, count), generator=generator).double()
        own = torch.randn((4, len(photo)), generator=generator).double()
        found = p_values(list(shared * whole[:, photo] + own), photo, seed)
        alarms += any(p < LEVEL for p in found)
    assert alarms <= 5


def test_a_mistake_that_costs_a_tenth_is_found_with_nine_photos_of_five_objects():
    generator, found = torch.Generator().manual_seed(1), 0
    photo = photos(9, 5)
    for seed in range(20):
        before = torch.rand(len(photo), generator=generator).double()
        gain = 0.1 * torch.rand(len(photo), generator=generator).double()
        noise = 0.02 * torch.randn(len(photo), generator=generator).double()
        [p] = p_values([gain + noise], photo, seed)
        found += p < LEVEL and is_clear(before, gain + noise, photo)
    assert found >= 19


@pytest.mark.parametrize(
    ("gains", "clear"),
    [
        ([0.1, 0.1, 0.1, 0.1], True),
        ([0.1, 0.1, 0.1, -0.05], True),
        ([0.2, 0.2, 0.0, 0.0], True),
        # The doing of one.
        ([0.9, 0.01, 0.01, 0.01], False),
        # Too little.
        ([0.02, 0.02, 0.02, 0.02], False),
        ([-0.1, -0.1, -0.1, -0.1], False),
    ],
)
def test_a_clear_gain_is_large_and_not_the_doing_of_one_photo(gains, clear):
    photo = photos(4, 3)
    before = torch.full((12,), 0.5).double()
    assert is_clear(before, torch.tensor(gains).double()[photo], photo) is clear


def test_of_nothing_a_small_gain_is_no_gain():
    """Where nothing is found, everything is a large share more; an object has to gain a bit."""
    photo = photos(4, 3)
    nothing = torch.zeros(12).double()
    assert not is_clear(nothing, nothing + 0.005, photo)
    assert is_clear(nothing, nothing + 0.05, photo)
