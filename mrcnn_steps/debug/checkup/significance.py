"""Which gains are more than chance, on as few photos as people have.

A treatment is compared with none object by object. What is tested is whether more objects rise than
fall, by the sign-flip test (`statistics.sign_flip`): most mistakes lower the scores of many objects
a little, while a few large jumps, up or down, would drown that in a sum of the scores.

*Few photos.* Objects of one photo rise and fall together, so the unit of the test is the photo,
where there are enough: n photos allow no p-value below 2⁻ⁿ, which has to be below the level also
after the correction for many treatments. With fewer than `ENOUGH_PHOTOS` the unit is the object,
which takes the objects of a photo for more independent than they are: the level then holds as far
as they are. Therefore the photos' own test, uncorrected, has to agree (`LEAST_DOUBT`), and in any
case the gain has to be large (`LEAST_SHARE`) and must not hang on one photo.

*Many treatments*, most of which are absurd and hurt. Holm's correction counts them all. It is
applied to the conditional p-values of Ellis, Pecanka and Goeman (Biometrical Journal, 2020): tests
with p > λ are put aside, and the others, divided by λ, are corrected for their own number. For a
true null hypothesis p / λ given p ≤ λ is as uniform as p was, so the level holds, and a treatment
that clearly hurts costs nothing.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mrcnn_steps.debug.statistics import holm, sign_flip

LEVEL = 0.01

# From so many photos with objects on, the photo is the unit of the test.
ENOUGH_PHOTOS = 50

# With fewer, the photos' own p-value has to be below this; it takes four of them.
LEAST_DOUBT, LEAST_PHOTOS = 0.1, 4

# A score that changes by less has not changed.
UNCHANGED = 0.01

# A gain has to be this much of what there was, half of it without the photo that gains most, and so
# much an object.
LEAST_SHARE, LEAST_GAIN = 0.05, 0.01

# Tests with a higher p-value are put aside.
ASIDE = 0.5


def p_values(
    differences: Sequence[Float[Tensor, "G"]], photo: Int[Tensor, "G"], seed: int = 0
) -> tuple[float, ...]:
    """Test for each treatment whether it helps, corrected for how many there are.

    Args:
        differences: of each treatment, [G] what every object gains.
        photo: [G] the photo of each object.
        seed: of the sign flips.

    Returns:
        The adjusted p-value of each.
    """
    raw = [_p_value(each, photo, seed) for each in differences]
    adjusted = iter(holm([p / ASIDE for p in raw if p <= ASIDE]))
    return tuple(next(adjusted) if p <= ASIDE else 1.0 for p in raw)


def _p_value(differences: Tensor, photo: Tensor, seed: int) -> float:
    """Test whether more objects rise than fall, over photos, or with few of them over objects."""
    moved = differences.sign() * (differences.abs() > UNCHANGED)
    sums = by_photo(moved, photo)
    of_photos = sign_flip(sums, torch.Generator().manual_seed(seed))
    if len(sums) >= ENOUGH_PHOTOS:
        return of_photos
    if of_photos > LEAST_DOUBT:
        return 1.0
    return sign_flip(moved, torch.Generator().manual_seed(seed))


def by_photo(values: Float[Tensor, "G"], photo: Int[Tensor, "G"]) -> Float[Tensor, "P"]:
    """Add up the values of each photo's objects; photos without objects have no place."""
    names, place = photo.unique(return_inverse=True)
    return values.new_zeros(len(names)).index_add(0, place, values)


def is_clear(
    before: Float[Tensor, "G"], differences: Float[Tensor, "G"], photo: Int[Tensor, "G"]
) -> bool:
    """Tell whether a gain is large, and not the doing of one photo.

    Args:
        before: [G] the score of every object.
        differences: [G] what every object gains.
        photo: [G] the photo of each object.

    Returns:
        Whether it is at least `LEAST_SHARE` of the score, at least half of that without the photo
        that gains most, and at least `LEAST_GAIN` an object.
    """
    sums, scores = by_photo(differences, photo), by_photo(before, photo)
    rest = torch.arange(len(sums)) != sums.argmax()
    return (
        float(sums.sum()) >= LEAST_SHARE * float(scores.sum())
        and float(sums[rest].sum()) >= LEAST_SHARE / 2 * float(scores[rest].sum())
        and float(differences.mean()) >= LEAST_GAIN
    )
