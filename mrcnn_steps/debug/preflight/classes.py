"""The classes of the data, by themselves and against a model's."""

import re
from collections.abc import Collection, Sequence

from torch import nn
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.class_names import UNUSED, enumerate_names
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.preflight.codes import Findings
from mrcnn_steps.settings import model_class_names


def check_categories(folder: CocoFolder, findings: Findings) -> None:
    """Look at the categories of a COCO file.

    Args:
        folder: the file.
        findings: where they go.
    """
    if 0 in folder.category_ids:
        findings.add("category_zero", repr(folder.class_names[1 + folder.category_ids.index(0)]))
    check_names(folder.class_names, findings)


def check_names(class_names: Sequence[str], findings: Findings) -> None:
    """Find names that are probably meant to be one.

    Args:
        class_names: the background first.
        findings: where they go.
    """
    first: dict[str, str] = {}
    for name in class_names[1:]:
        twin = first.setdefault(_plain(name), name)
        if twin != name:
            findings.add("category_names_alike", f"{twin!r} and {name!r}")


def check_used(class_names: Sequence[str], used: Collection[str], findings: Findings) -> None:
    """Find classes without objects.

    Args:
        class_names: the background first.
        used: the classes of the objects.
        findings: where they go.
    """
    unused = [name for name in class_names[1:] if name not in used]
    if used and unused:
        detail = enumerate_names([repr(name) for name in unused])
        findings.add("class_without_objects", detail, count=len(unused))


def check_model_classes(
    class_names: Sequence[str], used: Collection[str], model: FasterRCNN, findings: Findings
) -> None:
    """Compare the classes of the data with a model's, by name.

    Args:
        class_names: of the data, the background first.
        used: the classes of the objects.
        model: any.
        findings: where they go.
    """
    known = class_names_of_model(model)
    if known is None:
        return
    alike = {_plain(name): name for name in known}
    lacking = [name for name in class_names[1:] if name in used and name not in known]
    for name in lacking:
        twin = alike.get(_plain(name))
        hint = "" if twin is None else f", but {twin!r}"
        findings.add("class_unknown_to_model", f"{name!r}{hint}")
    own = [name for name in known[1:] if name not in class_names and name != UNUSED]
    if own:
        detail = enumerate_names([repr(name) for name in own])
        findings.add("class_only_in_model", detail, count=len(own))


def class_names_of_model(model: FasterRCNN) -> tuple[str, ...] | None:
    """Give what the labels of a model are called; None if nothing tells.

    Args:
        model: any.

    Returns:
        The names, the background first.
    """
    own = getattr(model, "class_names", None)
    count = class_count(model) if own is None else len(own)
    if count is None:
        return None
    names = model_class_names(model, None, count, None)
    return None if names[1:2] == ("class 1",) else names


def class_count(model: FasterRCNN) -> int | None:
    """Count the labels of an R-CNN with torchvision's predictor, the background included."""
    predictor = getattr(getattr(model, "roi_heads", None), "box_predictor", None)
    scores = getattr(predictor, "cls_score", None)
    return scores.out_features if isinstance(scores, nn.Linear) else None


def _plain(name: str) -> str:
    """Give a name without what tools and people write in different ways."""
    return re.sub(r"[\s_-]+", "", name).casefold()
