"""Advice: anchors that fit the objects better, learned on half of the photos, proved on the other.

Every advice stands with what it costs: anchors, and weights that were trained for the old ones.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.debug.coverage.fit import best_ious
from mrcnn_steps.debug.coverage.objects import Objects, Placed, place
from mrcnn_steps.debug.coverage.search import AnchorSet, scene, search
from mrcnn_steps.debug.coverage.shares import Shares, shares
from mrcnn_steps.debug.rerun import variant
from mrcnn_steps.settings import anchor_layers, anchor_settings

# From this C(0.5) on there is nothing to advise.
ENOUGH = 0.98

# Larger inputs are the maintainers' usual answer.
SCALES = (1.5, 2.0)


@dataclass(frozen=True)
class Option:
    """Something to change, and how well the anchors would then fit the photos kept for the proof.

    Attributes:
        change: what, in words.
        shares: on the photos that the search did not see.
        anchors: of a photo on average.
    """

    change: str
    shares: Shares
    anchors: float


@dataclass(frozen=True)
class Advice(Option):
    """Anchors that fit the objects better.

    Attributes:
        set: sizes and ratios.
        loses: the layers whose weights the model loses, with their new outputs; none if it has as
            many anchors a cell as before.
        channels: inputs of those layers.
    """

    set: AnchorSet
    loses: tuple[tuple[str, int], ...]
    channels: int

    @property
    def line(self) -> str:
        """The `AnchorGenerator(...)` to paste."""
        return self.set.line

    @property
    def code(self) -> tuple[str, ...]:
        """The lines of Python that change a model so."""
        layers = (
            f"model.{name} = torch.nn.Conv2d({self.channels}, {outputs}, 1)"
            for name, outputs in self.loses
        )
        return (f"model.rpn.anchor_generator = {self.line}", *layers)

    @property
    def cost(self) -> str:
        """What becomes of weights that were trained before."""
        if not self.loses:
            return "keeps all weights; the RPN has to be trained again for the new shapes"
        names = " and ".join(name for name, _ in self.loses)
        return f"loses the weights of {names} ({self.set.per_cell} anchors a cell)"


@dataclass(frozen=True)
class Advised:
    """What a search for better anchors came to.

    Attributes:
        reason: why nothing is advised; None if something is.
        learned: photos that the search saw.
        proved: photos that everything here was measured on.
        now: the model as it is.
        sets: the advice, at most three.
        enlarged: what larger inputs give, with the anchors as they are.
    """

    reason: str | None
    learned: int = 0
    proved: int = 0
    now: Option | None = None
    sets: tuple[Advice, ...] = ()
    enlarged: tuple[Option, ...] = ()


def advise(
    model: FasterRCNN,
    objects: Objects,
    placed: Placed,
    half: float,
    generator: torch.Generator | None = None,
) -> Advised:
    """Look for anchors that fit the objects better.

    Three sets are tried: as many anchors a cell as now, so that a trained RPN keeps its layers;
    one ratio more; one octave more, that is, another size on every level. Each is found by
    differential evolution on at most 1,000 objects of one half of the photos, and measured on
    all objects of the other half. It is advised if it lowers the loss there and raises C(0.5).

    Args:
        model: any.
        objects: of the data set.
        placed: the same on the model's input.
        half: C(0.5) of all objects as it is now.
        generator: chooses the halves and the objects; without one the choice is that of seed 0.

    Returns:
        The advice, or the reason why there is none.
    """
    if half >= ENOUGH:
        return Advised(f"C(0.5) is {half:.3f}, and from {ENOUGH} on the anchors fit well enough")
    photos = placed.photo.unique()
    if len(photos) < 2:
        return Advised("there are no two photos with objects: one to learn from, one for the proof")
    choice = torch.Generator().manual_seed(0) if generator is None else generator
    learned = photos[torch.randperm(len(photos), generator=choice)[: len(photos) // 2]]
    held = torch.zeros(len(objects.sizes), dtype=torch.bool).index_fill(0, photos, True)
    held[learned] = False
    now = _as_it_is("as it is", model, placed, held)
    sets = _sets(model, placed, held, now, choice)
    reason = None if sets else "no set that was tried does better on photos that it was not made of"
    return Advised(
        reason=reason,
        learned=len(learned),
        proved=len(photos) - len(learned),
        now=now,
        sets=sets,
        enlarged=tuple(
            _as_it_is(f"input × {scale:g}", larger, place(larger, objects), held)
            for scale, larger in ((scale, variant(model, {}, scale)) for scale in SCALES)
        ),
    )


def _as_it_is(change: str, model: FasterRCNN, placed: Placed, held: Tensor) -> Option:
    """Measure a model's own anchors on the photos kept for the proof."""
    generator = model.rpn.anchor_generator
    iou, _ = best_ious(generator, next(model.parameters()), placed.keep(held))
    anchors = placed.anchors_a_photo(generator.num_anchors_per_location())
    return Option(change, shares(iou), anchors)


def _sets(
    model: FasterRCNN,
    placed: Placed,
    held: Bool[Tensor, "P"],
    now: Option,
    choice: torch.Generator,
) -> tuple[Advice, ...]:
    """Search for each set on the photos that are not held, and measure it on those that are."""
    like = next(model.parameters())
    seen = scene(model.rpn.anchor_generator, like, placed.keep(~held), choice)
    seed = int(torch.randint(1 << 31, (1,), generator=choice))
    sizes, ratios = anchor_settings(model)
    own = AnchorSet(sizes, ratios[0])
    widest = tuple((*level, 2 * level[-1]) for level in sizes)
    starts = {
        "as many a cell": own,
        "one ratio more": replace(own, aspect_ratios=(*own.aspect_ratios, 2 * ratios[0][-1])),
        "one octave more": replace(own, sizes=widest),
    }
    found = []
    for change, start in starts.items():
        best = search(start, seen, seed)
        iou, _ = best_ious(best.generator(), like, placed.keep(held))
        after = shares(iou)
        if after.loss < now.shares.loss and after.half > now.shares.half:
            found.append(_advice(model, change, best, after, placed))
    return tuple(found)


def _advice(
    model: FasterRCNN, change: str, best: AnchorSet, after: Shares, placed: Placed
) -> Advice:
    layers = anchor_layers(model)
    before = model.rpn.anchor_generator.num_anchors_per_location()[0]
    outputs = {name: layer.out_channels // before * best.per_cell for name, layer in layers.items()}
    return Advice(
        change=change,
        shares=after,
        anchors=placed.anchors_a_photo([best.per_cell] * len(best.sizes)),
        set=best,
        loses=tuple(outputs.items()) if best.per_cell != before else (),
        channels=model.backbone.out_channels,
    )
