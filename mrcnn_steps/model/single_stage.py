"""The losses of torchvision's detectors without proposals: RetinaNet, FCOS and SSD.

Matching, sampling and losses are the model's own. Only what nobody knows is taken out in between:
a row (an anchor, a default box, a point of FCOS) that matches no object stands for background, but
the truth may be another class where the row lies in a crowd or the photo is not labeled for all
classes. The logits of such a row are changed so that whatever may be true costs nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from torchvision.models.detection.ssd import SSD

from mrcnn_steps.model.targets import Targets, in_crowds

# The sigmoid is 0 in single precision, and so are the focal loss and its gradient.
SURELY_NOT = -1e3

OwnLosses = Callable[
    [list[dict[str, Tensor]], dict[str, Tensor], list[Tensor], list[Tensor]], dict[str, Tensor]
]


def prepare(model: Any) -> None:
    """Make a model ready for `single_stage_losses`; in testing nothing changes.

    Args:
        model: torchvision's RetinaNet, FCOS or SSD.
    """
    # A batch has the network's size already (torchvision's own training scripts do the same).
    model.transform._skip_resize = True
    # Where torchvision has matched the rows but has not computed a loss yet.
    place = model if isinstance(model, SSD) else model.head
    place.compute_loss = partial(known_losses, place.compute_loss, isinstance(model, SSD))


def single_stage_losses(
    model: nn.Module, images: UInt8[Tensor, "B 3 S S"], targets: Targets
) -> dict[str, Tensor]:
    """Run a model on a training batch.

    Args:
        model: A model that went through `prepare`, in training mode.
        images: [B, 3, S, S] uint8, already of the network's size.
        targets: Their ground truth; masks are not needed.

    Returns:
        The losses by their names in torchvision, with `loss_` before them.
    """
    truth = [
        {"boxes": boxes[labels > 0], "labels": labels[labels > 0], "crowds": crowds, "labeled": row}
        for boxes, labels, crowds, row in zip(
            targets.boxes, targets.labels, targets.crowds, targets.labeled, strict=True
        )
    ]
    losses = model(list(images.float() / 255), truth)
    return {f"loss_{name}": value for name, value in losses.items()}


def known_losses(
    own: OwnLosses,
    softmax: bool,
    targets: list[dict[str, Tensor]],
    outputs: dict[str, Tensor],
    anchors: list[Tensor],
    matches: list[Tensor],
) -> dict[str, Tensor]:
    """Give a model's own losses of what is known.

    Args:
        own: The model's function, with the four arguments that follow.
        softmax: Whether one softmax tells the classes apart (SSD), or a sigmoid each.
        targets: Ground truth of each image, with its `crowds` and `labeled` (see `Targets`).
        outputs: What the head predicts.
        anchors: [A, 4] for each image.
        matches: [A] for each image: the matched object, negative where there is none.

    Returns:
        The losses.
    """
    outputs = {name: value.float() for name, value in outputs.items()}
    possible = possible_classes(
        torch.stack(matches),
        in_crowds(torch.stack(anchors), torch.stack([each["crowds"] for each in targets])),
        torch.stack([each["labeled"] for each in targets]),
    )
    without_unknown = join_with_background if softmax else silence
    outputs["cls_logits"] = without_unknown(outputs["cls_logits"], possible)
    return own(targets, outputs, anchors, matches)


def possible_classes(
    matches: Int64[Tensor, "B A"], crowd: Bool[Tensor, "B A"], labeled: Bool[Tensor, "B C"]
) -> Bool[Tensor, "B A C"]:
    """Give the classes that a row without an object may have nevertheless."""
    return (matches < 0)[..., None] & (crowd[..., None] | ~labeled[:, None])


def silence(
    logits: Float[Tensor, "B A C"], possible: Bool[Tensor, "B A C"]
) -> Float[Tensor, "B A C"]:
    """Logits for a sigmoid per class: those of possible classes cost nothing as "no"."""
    return logits.masked_fill(possible, SURELY_NOT)


def join_with_background(
    logits: Float[Tensor, "B A C"], possible: Bool[Tensor, "B A C"]
) -> Float[Tensor, "B A C"]:
    """Logits for a softmax: background also stands for the possible classes.

    The probability of background becomes the sum of theirs, as in
    `mrcnn_steps.model.losses.classification_loss`.
    """
    objects, unsure = logits[..., 1:], possible[..., 1:]
    maybe = torch.cat((logits[..., :1], objects.masked_fill(~unsure, -torch.inf)), dim=-1)
    background = maybe.logsumexp(dim=-1, keepdim=True)
    return torch.cat((background, objects.masked_fill(unsure, -torch.inf)), dim=-1)
