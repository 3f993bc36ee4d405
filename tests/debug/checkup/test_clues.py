"""What the photos say about values to try."""

import torch

from mrcnn_steps.debug.checkup.clues import SCALES, Clues, clues
from mrcnn_steps.debug.checkup.examination import Examination
from mrcnn_steps.debug.checkup.normalizations import applied_normalization
from mrcnn_steps.debug.checkup.setup import Setup

FLAT = torch.ones(len(SCALES))


def said(pairs, classes=6):
    table = torch.zeros((classes, classes))
    for (label, called), score in pairs.items():
        table[label, called] = score
    return Clues(table, FLAT, 3)


def test_a_permutation_of_what_was_seen():
    cycle = {(1, 2): 5.0, (2, 3): 3.0, (3, 1): 4.0, (4, 4): 2.0}
    assert said(cycle).permutation == (0, 2, 3, 1, 4, 5)


def test_a_chain_is_closed_by_what_is_left():
    """Of a class that no photo shows, only who else took its name is known."""
    assert said({(1, 2): 5.0, (2, 3): 3.0}).permutation == (0, 2, 3, 1, 4, 5)


def test_a_name_has_one_partner_the_surest():
    """A model that calls everything by one name has not permuted anything."""
    assert said({(1, 1): 5.0, (2, 1): 4.0, (3, 1): 3.0}).permutation is None
    assert said({(1, 2): 5.0, (2, 2): 4.0, (2, 1): 1.0}).permutation == (0, 2, 1, 3, 4, 5)


def test_what_is_right_or_unseen_stays():
    assert said({}).permutation is None
    assert said({(1, 1): 5.0, (1, 2): 4.0, (2, 2): 1.0}).permutation is None


def test_a_permutation_that_brings_next_to_nothing_is_none():
    swapped = {(1, 1): 9.0, (2, 2): 9.0, (3, 4): 0.6, (4, 3): 0.2}
    assert said(swapped).permutation is None
    assert said(swapped | {(3, 4): 0.8}).permutation == (0, 1, 2, 4, 3, 5)


def test_clues_add_up():
    both = said({(1, 2): 5.0}) + said({(1, 1): 6.0, (1, 2): 2.0})
    assert both.confusions[1].tolist() == [0, 6, 7, 0, 0, 0]
    assert both.fits.tolist() == [2.0] * len(SCALES)
    assert both.most_objects == 3


def test_a_scale_that_hardly_fits_better_is_the_models_own():
    fits = FLAT.clone()
    fits[SCALES.index(2.0)] = 1.01
    assert Clues(torch.zeros((2, 2)), fits, 3).anchor_scale is None
    fits[SCALES.index(2.0)] = 1.1
    assert Clues(torch.zeros((2, 2)), fits, 3).anchor_scale == 2.0


def test_the_scale_of_anchors_is_read_off_the_boxes(bundled, people):
    """For each start the scale that is found undoes it, to the eighth of an octave."""
    own = applied_normalization(bundled)
    with torch.no_grad():
        photo = Examination(bundled, people, bundled.class_names, own, Setup(), 0.5)
        for factor in (0.4, 1.0, 2.5):
            start = Setup(anchor_scale=factor)
            found = clues(photo, start, len(bundled.class_names), 0.5).anchor_scale or 1.0
            assert 0.8 < factor * found < 1.25, (factor, found)
