"""Statistics: published numbers, scipy's own, plain loops, and what intervals and tests promise."""

import itertools
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mrcnn_steps.debug import statistics
from mrcnn_steps.debug.statistics import holm, paired_bootstrap, sign_flip, wilson


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_sign_flip(differences: list[float]) -> float:
    """Every pattern of signs, in exact numbers."""
    found, at_least, patterns = sum(differences), 0, 0
    for signs in itertools.product((1, -1), repeat=len(differences)):
        patterns += 1
        at_least += sum(s * d for s, d in zip(signs, differences, strict=True)) >= found
    return at_least / patterns


class TestWilson:
    def test_gives_the_published_interval(self):
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I.
        for successes, trials, low, high in (
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ):
            assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)

    @given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
    def test_is_scipys(self, trials, share, level):
        successes = round(share * trials)
        expected = stats.binomtest(successes, trials).proportion_ci(level, "wilson")
        assert wilson(successes, trials, level) == pytest.approx(
            (expected.low, expected.high), abs=1e-12
        )

    def test_reaches_the_very_ends(self):
        assert wilson(0, 7)[0] == 0.0
        assert wilson(7, 7)[1] == 1.0
        assert wilson(0, 0) == (0.0, 1.0)

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
    def test_covers_the_true_share(self, share):
        draws = np.random.default_rng(0).binomial(80, share, 2000)
        bounds = [wilson(int(each), 80) for each in draws]
        assert np.mean([low <= share <= high for low, high in bounds]) > 0.93

    def test_refuses_more_than_all(self):
        with pytest.raises(ValueError, match="successes: expected from 0 to the 3 trials, found 4"):
            wilson(4, 3)
        with pytest.raises(ValueError, match="level: expected between 0 and 1, found 95"):
            wilson(1, 3, 95)


class TestPairedBootstrap:
    def test_is_the_percentile_interval_of_a_plain_loop(self):
        values = torch.tensor([0.0, 1, 1, -2, 4, 0, 3, 1])
        own = random.Random(0)
        means = [
            np.mean([values[own.randrange(8)].item() for _ in range(8)]) for _ in range(20_000)
        ]
        low, high = paired_bootstrap(values, seeded(), resamplings=20_000)
        assert low == pytest.approx(np.quantile(means, 0.025), abs=0.06)
        assert high == pytest.approx(np.quantile(means, 0.975), abs=0.06)

    def test_weights_make_it_a_share_of_the_objects(self):
        # Every photo loses a tenth of its objects: whatever photos are drawn, so do all of them.
        objects = torch.tensor([10.0, 200, 30, 40])
        interval = paired_bootstrap(-objects / 10, seeded(), objects)
        assert interval == pytest.approx((-0.1, -0.1))

    def test_covers_the_true_mean(self):
        generator, held = np.random.default_rng(3), 0
        for trial in range(300):
            sizes = generator.poisson(4, 60) + 1
            # Objects of a photo go together: the photo's own luck outweighs theirs.
            change = sizes * (0.2 + generator.normal(0, 0.5, 60))
            low, high = paired_bootstrap(
                torch.tensor(change), seeded(trial), torch.tensor(sizes, dtype=torch.float64), 400
            )
            held += low <= 0.2 <= high
        assert 0.91 <= held / 300 <= 0.985

    def test_same_generator_same_interval(self):
        values = torch.randn(50, generator=seeded(1))
        assert paired_bootstrap(values, seeded()) == paired_bootstrap(values, seeded())

    def test_pieces_give_what_all_at_once_gives(self, monkeypatch):
        values = torch.randn(50, generator=seeded(1))
        whole = paired_bootstrap(values, seeded())
        monkeypatch.setattr(statistics, "CELLS", 333)
        assert paired_bootstrap(values, seeded()) == pytest.approx(whole)

    def test_without_photos_nothing_is_known(self):
        assert all(math.isnan(each) for each in paired_bootstrap(torch.zeros(0), seeded()))
        nothing = paired_bootstrap(torch.zeros(2), seeded(), torch.zeros(2))
        assert all(math.isnan(each) for each in nothing)

    def test_refuses_nan_and_negative_weights(self):
        with pytest.raises(ValueError, match="differences"):
            paired_bootstrap(torch.tensor([math.nan]), seeded())
        with pytest.raises(ValueError, match="weights: expected none below 0, found -1"):
            paired_bootstrap(torch.ones(2), seeded(), torch.tensor([1.0, -1]))


class TestSignFlip:
    def test_enumerates_few_photos(self):
        # Of the 16 patterns of (1, 2, 3, −1), three reach 5: 1+2+3−1, 1+2+3+1 and −1+2+3+1.
        assert sign_flip(torch.tensor([1.0, 2, 3, -1]), seeded()) == 3 / 16
        assert sign_flip(torch.ones(7), seeded()) == 1 / 128
        assert sign_flip(-torch.ones(7), seeded()) == 1.0

    @given(st.lists(st.integers(-5, 5), max_size=9))
    def test_is_a_plain_loop_over_all_patterns(self, differences):
        found = sign_flip(torch.tensor(differences, dtype=torch.float64), seeded())
        assert found == pytest.approx(plain_sign_flip([float(each) for each in differences]))

    def test_is_scipys_permutation_test(self):
        values = np.random.default_rng(0).normal(0.3, 1, 12)
        expected = stats.permutation_test(
            (values,), np.sum, permutation_type="samples", alternative="greater"
        )
        assert sign_flip(torch.tensor(values), seeded()) == pytest.approx(expected.pvalue)

    def test_draws_for_many_photos_come_near_all_patterns(self, monkeypatch):
        values = torch.tensor(np.random.default_rng(1).normal(0.4, 1, 15))
        exact = sign_flip(values, seeded())
        monkeypatch.setattr(statistics, "MOST_ENUMERATED", 3)
        assert sign_flip(values, seeded()) == pytest.approx(exact, abs=0.005)

    def test_photos_without_a_difference_say_nothing(self):
        some = torch.tensor([1.0, 2, 3, -1])
        assert sign_flip(torch.cat((some, torch.zeros(500))), seeded()) == 3 / 16
        assert sign_flip(torch.zeros(5), seeded()) == 1.0

    def test_is_never_zero(self):
        assert sign_flip(torch.ones(300), seeded()) == 1 / (1 + statistics.FLIPS)

    @pytest.mark.parametrize("photos", [10, 60])
    def test_false_alarms_stay_under_the_level(self, photos):
        generator = np.random.default_rng(photos)
        alarms = 0
        for trial in range(200):
            # As scores change from one run to another: most photos hardly, some a lot.
            noise = torch.tensor(generator.standard_t(2, photos))
            alarms += sign_flip(noise, seeded(trial), flips=2000) < 0.05
        # 10 are expected; more than 18 come once in 100 tries.
        assert alarms <= 18

    def test_finds_a_gain(self):
        gains = torch.tensor(np.random.default_rng(0).normal(0.5, 1, 100))
        assert sign_flip(gains, seeded()) < 0.001


class TestHolm:
    def test_gives_the_published_example(self):
        # Holm's steps by hand: 0.005·4, 0.01·3, max(0.03·2, …), max(0.04·1, 0.06).
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
        assert holm([0.6, 0.7]) == (1.0, 1.0)
        assert holm([]) == ()

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
    def test_rejects_what_the_step_down_rule_rejects(self, p_values, level):
        rejected = set()
        for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
            if p_values[place] * (len(p_values) - rank) > level:
                break
            rejected.add(place)
        assert {k for k, each in enumerate(holm(p_values)) if each <= level} == rejected

    def test_a_family_of_healthy_tests_raises_few_alarms(self):
        generator = np.random.default_rng(5)
        families = [holm(generator.uniform(size=20).tolist()) for _ in range(200)]
        assert sum(min(family) < 0.05 for family in families) <= 18

    def test_refuses_what_is_no_probability(self):
        with pytest.raises(ValueError, match="p_values: expected 0…1, found nan"):
            holm([math.nan])
