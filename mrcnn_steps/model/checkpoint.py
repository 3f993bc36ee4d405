"""Checkpoints: written in half precision, loaded into the model that they are of."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import detection

from mrcnn_steps.class_names import check_class_names, difference
from mrcnn_steps.data.coco_classes import COCO_CLASSES
from mrcnn_steps.files import write_atomically, write_bytes
from mrcnn_steps.model.architectures import (
    ARCHITECTURES,
    TORCHVISION_CLASSES,
    build,
    count_classes,
    default_class_names,
    downloading,
    infer_architecture,
    outline,
)
from mrcnn_steps.model.reading import read
from mrcnn_steps.model.source import call, is_function

BUNDLED = Path(__file__).parent / "weights" / "tiny.safetensors"

# What `load_model("coco")` is.
COCO_ARCHITECTURE = "maskrcnn_resnet50_fpn"

# Differences between a checkpoint and the model that an error message lists.
SHOWN = 5

# More than any data set has; a file that claims more is not believed.
MAX_CLASSES = 100_000

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_weights(model: Any, path: Path, architecture: str, image_size: int) -> None:
    """Write a model's weights in half precision, with what is needed to build it again.

    Args:
        model: A model with the attribute `class_names`.
        path: Where to; `.safetensors`.
        architecture: Its name for `build`.
        image_size: Side of the square it was trained on.
    """
    weights = {key: halve(value) for key, value in model.state_dict().items()}
    metadata = {
        "architecture": architecture,
        "class_names": json.dumps(list(model.class_names)),
        "image_size": str(image_size),
    }
    write_bytes(path, safetensors.torch.save(weights, metadata))


def halve(value: Tensor) -> Tensor:
    """Store numbers in half precision, unless that would make them infinite."""
    half = value.half() if value.is_floating_point() else value
    return (half if half.isfinite().all() else value).contiguous()


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state that `read` can load again."""

    def write(file: Path) -> None:
        with open(file, "wb") as stream:
            try:
                torch.save(state, stream)
            except RuntimeError as error:
                # torch's own complaint covers why the system refused to write.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    write_atomically(path, write)


def load(
    name: str | os.PathLike[str],
    architecture: str | None = None,
    class_names: Iterable[str] | None = None,
) -> nn.Module:
    """See `mrcnn_steps.model.load_model`."""
    if not isinstance(name, str | os.PathLike):
        raise TypeError(
            'name: expected "tiny", "coco", a path or "file.py:function", found '
            f"{type(name).__name__}"
        )
    if name == "tiny":
        return from_file(bundled(), architecture, class_names)
    if name == "coco":
        model, own = torchvision_coco(), COCO_ARCHITECTURE
    elif is_function(name):
        model, own = from_function(str(name), class_names), "what its function builds"
    else:
        return from_file(Path(name), architecture, class_names)
    if architecture not in (None, own):
        raise ValueError(f"{name}: found the architecture {architecture!r}, expected {own}")
    check_same(class_names, model.class_names, str(name))
    return model


def check_same(given: object, known: tuple[str, ...], where: str) -> None:
    """Refuse class names of the caller that are not those that a model or file tells.

    Raises:
        ValueError: Tells the difference in names.
    """
    if given is None:
        return
    if told := difference(known, check_class_names(given)):
        raise ValueError(f"class_names: differ from those of {where}: {told}")


def bundled() -> Path:
    """Give the file of the bundled weights."""
    if not BUNDLED.is_file():
        raise FileNotFoundError(
            f"{BUNDLED}: this version of the package carries no trained weights; "
            'train some with `mrcnn-steps train`, or use load_model("coco")'
        )
    return BUNDLED


def torchvision_coco() -> Any:
    """Load torchvision's Mask R-CNN trained on COCO: downloaded with a progress bar, cached."""
    weights = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    otherwise = (
        'use load_model("tiny"), which is in the package, or download that file elsewhere, put it '
        f"into {cache} and try again"
    )
    with downloading(weights.url, otherwise):
        model = detection.maskrcnn_resnet50_fpn(weights=weights)
    model.class_names = TORCHVISION_CLASSES
    return model.eval()


def from_function(name: str, class_names: object = None) -> Any:
    """Give the model that `file.py:function` returns, in eval mode, with class names."""
    model: Any = call(name).eval()
    told = getattr(model, "class_names", None)
    if told is None:
        told = class_names
    count = count_classes(model.state_dict())
    if told is None:
        if count is None:
            raise ValueError(
                f"{name}: cannot tell the classes of a {type(model).__name__}; give the model an "
                "attribute class_names, or name them: class_names, --class-names"
            )
        told = default_class_names(count)
    model.class_names = check_class_names(told, f"{name}: class_names", count)
    return model


def from_file(path: Path, architecture: str | None = None, class_names: object = None) -> nn.Module:
    """Load a model from a checkpoint; see `mrcnn_steps.model.load_model`."""
    weights, about = read(path)
    architecture = architecture or told_architecture(about, path) or infer_architecture(weights)
    if architecture is None:
        raise ValueError(
            f"{path}: cannot tell the architecture from the keys ({', '.join(list(weights)[:3])}, "
            "…); name it: load_model(path, architecture=…), --architecture"
        )
    names = names_of(weights, about, path, class_names)
    size = told_image_size(about, architecture, path)
    compare(weights, outline(architecture, names, size), path)
    model = build(architecture, names, size)
    fit(model, weights, path)
    return model.eval()


def told_architecture(about: Mapping[str, Any], path: Path) -> str | None:
    """Tell what a file says of its architecture, if anything."""
    told = about.get("architecture")
    if told is not None and told not in ARCHITECTURES:
        raise ValueError(
            f"{path}: architecture: found {told!r:.60}, expected one of {', '.join(ARCHITECTURES)}"
        )
    return told


def told_image_size(about: Mapping[str, Any], architecture: str, path: Path) -> int:
    """Tell what a file says of the side of its square, or 1024."""
    told = about.get("image_size", 1024)
    is_number = isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 10
    size, step = int(told) if is_number else told, 128 if architecture == "tiny" else 1
    if type(size) is not int or not 0 < size <= 2**14 or size % step:
        raise ValueError(
            f"{path}: image_size: found {told!r:.60}, expected a number of pixels up to {2**14}"
            + (f", a multiple of {step}" if step > 1 else "")
        )
    return size


def names_of(
    weights: Mapping[str, Tensor], about: Mapping[str, Any], path: Path, given: object = None
) -> tuple[str, ...]:
    """Give the class names of a file: its own, or those given, or else what its size suggests."""
    count = count_classes(weights)
    if count is not None and count > MAX_CLASSES:
        raise ValueError(f"{path}: found {count} classes, expected at most {MAX_CLASSES}")
    if about.get("class_names") is not None:
        where = f"{path}: class_names"
        names = check_class_names(about["class_names"], where, count)
        check_same(given, names, str(path))
        return names
    if given is not None:
        return check_class_names(given, "class_names", count)
    # Without a last layer that is known, what is missing is told by comparing all keys.
    return COCO_CLASSES if count is None else default_class_names(count)


def compare(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Make sure that weights are those of a model, before anything is built of them.

    Raises:
        ValueError: Names the first keys and shapes that differ.
    """
    found = {key: problem(weights.get(key), expected.get(key)) for key in {**expected, **weights}}
    differences = [
        f"{key}: {said}"
        for key, said in found.items()
        # Only a BatchNorm that still learns counts its batches; a frozen one has the same weights.
        if said and not (key.endswith("num_batches_tracked") and "nothing" in said)
    ]
    if differences:
        more = f" … and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise ValueError(f"{path}: does not fit the model: {'; '.join(differences[:SHOWN])}{more}")
    for key, value in weights.items():
        if not value.float().isfinite().all():
            raise ValueError(f"{path}: {key}: found NaN or infinity, expected numbers")


def problem(found: Tensor | None, expected: Tensor | None) -> str:
    """How a weight differs from what the model has there; empty if it can take its place."""
    if found is None or expected is None or found.shape != expected.shape:
        shapes = ("nothing" if each is None else list(each.shape) for each in (found, expected))
        return "found {}, expected {}".format(*shapes)
    if found.layout != torch.strided or found.is_quantized or found.is_meta:
        kind = "no numbers" if found.is_meta else "sparse or quantized numbers"
        return f"{found.dtype}: found {kind}, expected a dense tensor"
    floats = expected.is_floating_point()
    if (floats and found.dtype not in FLOATS) or (not floats and found.dtype != expected.dtype):
        return f"found {found.dtype}, expected {expected.dtype}"
    return ""


def fit(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a model, or tell what does not fit.

    Raises:
        ValueError: Names the first keys and shapes that differ.
    """
    compare(weights, model.state_dict(), path)
    # `compare` is stricter, but for the counters of BatchNorms that some files lack.
    model.load_state_dict(weights, strict=False)
