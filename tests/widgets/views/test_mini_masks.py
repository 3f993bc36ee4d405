"""The view of stage 1 against masks counted pixel by pixel; no widget is made."""

import numpy as np
import torch

from mrcnn_widgets.views import mini_masks as view


def disk(size: int = 120, radius: int = 40) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (x - 70) ** 2 + (y - 60) ** 2 < radius**2


def test_a_mask_is_cut_to_its_box():
    mask = disk()
    found = view.cut(mask)
    x1, y1, x2, y2 = found.box.int().tolist()
    assert found.mask.sum() == mask.sum()
    assert found.mask.shape == (y2 - y1, x2 - x1)
    assert found.full_bytes == 120 * 120


def test_lost_and_gained_pixels_turn_the_original_into_the_expanded_mask():
    found = view.cut(disk())
    mini = found.shrunk(14)
    lost, gained = view.differences(found, mini)
    assert lost.any()
    assert gained.any()
    assert not (lost & gained).any()
    assert torch.equal((found.mask & ~lost) | gained, mini.expanded[0])


def test_the_layers_are_the_original_the_expanded_mask_and_their_difference():
    found = view.cut(disk())
    mini = found.shrunk(28)
    original, expanded, difference = view.layers(found, mini)
    assert [original.name, expanded.name, difference.name] == ["original", "expanded", "difference"]
    np.testing.assert_array_equal(original.masks[0], found.mask.numpy())
    np.testing.assert_array_equal(expanded.masks[0], mini.expanded[0].numpy())
    assert [group.name for group in difference.groups] == ["lost", "gained"]
    assert view.layers(found, found.shrunk(56))[0] is original, "it need not travel again"


def test_without_objects_the_same_layers_are_empty_and_a_sentence_says_why():
    assert [(layer.name, len(layer)) for layer in view.layers(None, None)] == [
        ("original", 0),
        ("expanded", 0),
        ("difference", 0),
    ]
    assert view.facts(None, None) == [(view.NO_OBJECTS, "")]


def test_the_facts_are_counted_on_the_masks():
    found = view.cut(disk())
    mini = found.shrunk(14)
    told = dict(view.facts(found, mini))
    union = (found.mask | mini.expanded[0]).sum()
    iou = (found.mask & mini.expanded[0]).sum() / union
    assert told["IoU with the original"] == f"{float(iou):.4f}"
    assert told["smaller by"] == f"{120 * 120 / (14 * 14):,.0f} ×"
    assert [size for size, _, _ in view.sizes(found)] == [
        "14 × 14",
        "28 × 28",
        "56 × 56",
        "112 × 112",
    ]
    assert view.sizes(found)[0] == ("14 × 14", "196", told["IoU with the original"])
