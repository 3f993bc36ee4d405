"""How sure a number is: intervals and tests that treat the photos, not the objects, as drawn.

Objects of one photo are lost together, by the same blur or the same crowd. Whatever compares two
models therefore resamples whole photos.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.checks import check_finite, check_floats

RESAMPLINGS = 1000

# Up to this many photos that differ, every pattern of signs is tried: 65,536 of them.
MOST_ENUMERATED = 16
# Else this many are drawn: the smallest p-value is 1 / 20,001.
FLIPS = 20_000
# Numbers drawn at a time, so that memory does not grow with the photos.
CELLS = 1_000_000

Interval = tuple[float, float]


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Give Wilson's score interval of a share (Wilson 1927).

    With `p = successes / trials` and `z` the normal quantile of the level, its bounds are
    `(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)`.

    Args:
        successes: how many of the trials.
        trials: how many there were.
        level: how often such intervals shall hold the true share.

    Returns:
        The bounds, 0…1; all of 0…1 without a trial.

    Raises:
        ValueError: more successes than trials, fewer than none, or a level outside 0…1.
    """
    _check_level(level)
    if not 0 <= successes <= trials:
        raise ValueError(f"successes: expected from 0 to the {trials} trials, found {successes}")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, square = successes / trials, z * z / trials
    middle = share + square / 2
    half = z * math.sqrt(share * (1 - share) / trials + square / trials / 4)
    # Rounding must leave no crumb where the bound is exactly 0 or 1.
    low = 0.0 if successes == 0 else (middle - half) / (1 + square)
    high = 1.0 if successes == trials else (middle + half) / (1 + square)
    return low, high


def paired_bootstrap(
    differences: Float[Tensor, "P"],
    generator: torch.Generator,
    weights: Float[Tensor, "P"] | None = None,
    resamplings: int = RESAMPLINGS,
    level: float = 0.95,
) -> Interval:
    """Give the bootstrap's percentile interval of a mean difference (Efron 1979).

    Photos are drawn with replacement, each with everything that it brings, so that both models see
    the same photos in every resampling.

    Args:
        differences: [P] of each photo: what the second model has, less what the first has.
        generator: draws the photos.
        weights: [P] what the mean is taken over, such as the objects of each photo; then the
            interval is that of `Σ differences / Σ weights`. Of the photos, without.
        resamplings: how often all are drawn.
        level: how often such intervals shall hold the true mean.

    Returns:
        The bounds; `(nan, nan)` without photos, or where nothing has weight.

    Raises:
        ValueError: shapes do not fit together, a number is not finite, a weight is negative, or a
            level outside 0…1.
    """
    _check_level(level)
    _check_differences(differences)
    count = len(differences)
    weights = torch.ones_like(differences) if weights is None else weights
    check_floats(weights, "weights", (count,))
    check_finite(weights, "weights")
    if (weights < 0).any():
        raise ValueError(f"weights: expected none below 0, found {float(weights.min()):g}")
    if not weights.any():
        return math.nan, math.nan
    sums = []
    for drawn in _pieces(resamplings, count):
        rows = torch.randint(count, (drawn, count), generator=generator)
        sums.append(torch.stack((differences[rows], weights[rows]), dim=1).double().sum(dim=2))
    total, weight = torch.cat(sums).T
    # A resampling may hold none of the photos that have weight.
    means = (total / weight)[weight > 0]
    tail = (1 - level) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def sign_flip(
    differences: Float[Tensor, "P"], generator: torch.Generator, flips: int = FLIPS
) -> float:
    """Test whether differences are above zero: the one-sided sign-flip test (Fisher 1935, §21).

    If nothing but chance made them, each photo's difference could as well have the other sign. The
    p-value is the share of sign patterns whose sum is at least the one that was found. Every
    pattern is tried where few photos differ; else they are drawn, and the found one counts among
    them (Phipson & Smyth 2010), so that it is never 0.

    Args:
        differences: [P] of each photo, summed over its objects.
        generator: draws the signs.
        flips: how many patterns are drawn.

    Returns:
        The p-value, above 0 and up to 1; 1 if no photo differs.

    Raises:
        ValueError: a difference is not finite.
    """
    _check_differences(differences)
    sizes = differences[differences != 0].double()
    count = len(sizes)
    found = float(sizes.sum())
    # Sums in another order differ in their last digits.
    least = found - 1e-9 * float(sizes.abs().sum())
    if count <= MOST_ENUMERATED:
        patterns = torch.arange(2**count)[:, None] >> torch.arange(count) & 1
        sums = (patterns.double() * 2 - 1) @ sizes
        return float((sums >= least).double().mean())
    reached = 0
    for drawn in _pieces(flips, count):
        signs = torch.randint(2, (drawn, count), generator=generator).double() * 2 - 1
        reached += int((signs @ sizes >= least).sum())
    return (1 + reached) / (1 + flips)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values for how many there are (Holm 1979).

    In rising order, the k-th of n is multiplied by `n − k + 1`; none falls below the one before.

    Args:
        p_values: of as many tests, 0…1.

    Returns:
        The adjusted values, in the same order. Below a level, all of those tests may be believed,
        with the chance of a single false alarm among them at most that level.

    Raises:
        ValueError: a value is outside 0…1.
    """
    for each in p_values:
        if not 0 <= each <= 1:
            raise ValueError(f"p_values: expected 0…1, found {each:g}")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return tuple(adjusted)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: expected between 0 and 1, found {level:g}")


def _check_differences(differences: Tensor) -> None:
    check_floats(differences, "differences", ("P",))
    check_finite(differences, "differences")


def _pieces(total: int, width: int) -> list[int]:
    """Cut so many rows of a width into pieces that fit into memory."""
    size = max(1, CELLS // max(1, width))
    return [min(size, total - first) for first in range(0, total, size)]
