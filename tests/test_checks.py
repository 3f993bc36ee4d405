"""What a stage refuses before it computes anything."""

import pytest
import torch

from mrcnn_steps.checks import FLOATING, check_tensor


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda boxes: boxes.to_sparse(), "torch.sparse_coo on cpu"),
        (lambda boxes: boxes.to("meta"), "torch.strided on meta"),
        (lambda boxes: torch.nested.nested_tensor([boxes]), "nested on cpu"),
    ],
)
def test_a_tensor_without_dense_values_is_refused(make, found):
    boxes = torch.ones(2, 4)
    check_tensor(boxes, "boxes", FLOATING, ("N", 4))
    with pytest.raises(ValueError, match=f"boxes: expected a dense tensor .*, found {found}"):
        check_tensor(make(boxes), "boxes", FLOATING, ("N", 4))
