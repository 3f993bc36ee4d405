"""A trace's result: a dictionary like torchvision's, whose masks are pasted when they are read."""

import copy

import pytest
import torch

from mrcnn_steps.result import Result


@pytest.mark.parametrize(
    "read",
    [dict, dict.copy, copy.deepcopy, lambda r: {**r}, lambda r: r | {}, lambda r: dict(r.items())],
)
def test_the_result_is_a_dictionary_like_any_other(read):
    found = {"boxes": torch.zeros(2, 4), "masks": torch.ones(3)}
    result = Result({"boxes": found["boxes"]}, lambda: found["masks"])
    assert isinstance(result, dict)
    assert result.keys() == found.keys()
    copied = read(result)
    assert type(copied) is dict
    assert list(copied) == list(found)
    assert all(torch.equal(copied[name], found[name]) for name in found)


def test_masks_can_be_replaced_and_taken_out():
    result = Result({"boxes": torch.zeros(2, 4)}, lambda: torch.ones(3))
    result["masks"] = torch.zeros(3)
    assert not result.pop("masks").any()
    assert list(result) == ["boxes"]
    with pytest.raises(KeyError):
        result["masks"]
    assert list(Result({"boxes": torch.zeros(2, 4)}, None)) == ["boxes"]
