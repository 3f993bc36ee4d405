"""What a training needs, checked before its first step: nothing is begun that cannot end well."""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mrcnn_steps.class_names import difference
from mrcnn_steps.data.annotation import Annotation
from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.data.coco_file import Photo
from mrcnn_steps.files import exclusive, remove_leftovers
from mrcnn_steps.model.architectures import CANVAS
from mrcnn_steps.model.augment import Augmentation
from mrcnn_steps.model.reading import say
from mrcnn_steps.model.train import TrainingError
from mrcnn_steps.model.training_set import TrainingSet

# What a run writes; the first tells that the folder is one of ours.
FILES = ("last.pth", "model.safetensors", "log.csv", "loss.png", "metrics.json")

# Photos that a message names.
SHOWN = 3

# The least and the most that each argument may be.
LIMITS: dict[str, tuple[float, float]] = {
    "image_size": (32, 8192),
    "iterations": (1, 10**9),
    "minutes": (0.001, 10**6),
    "warmup": (0, 10**9),
    "evaluations": (0, 10**6),
    "save_minutes": (0, 10**6),
    "batch_size": (1, 65_536),
    "lr": (1e-10, 100),
    "backbone_lr": (0, 1000),
    "weight_decay": (0, 100),
    "average": (0, 0.999999),
    "scale": (0.01, 100),
    "color": (0, 1),
    "paste": (0, 1),
    "rois": (1, 100_000),
    "roi_sampling": (1, 64),
    # Seeds of single steps are multiples of it, and must fit into 64 bits.
    "seed": (0, 2**32 - 1),
    "workers": (0, 1024),
}


def check_settings(args: argparse.Namespace) -> None:
    """Refuse numbers with which no step can be made.

    Raises:
        ValueError: Names the argument, what was found, and what was expected.
    """
    for name, (least, most) in LIMITS.items():
        found = getattr(args, name)
        for number in found if isinstance(found, list | tuple) else [found]:
            if number is not None and not least <= number <= most:
                raise ValueError(
                    f"--{name.replace('_', '-')}: found {number}, expected {least:.15g} to "
                    f"{most:.15g}"
                )
    if args.scale[0] > args.scale[1]:
        raise ValueError(f"--scale: found {args.scale[0]} {args.scale[1]}, expected MIN ≤ MAX")
    processes = int(os.environ.get("WORLD_SIZE", 1))
    # The last map of SSDLite is a single cell, of which BatchNorm can normalize no fewer than two.
    photos, many = (2, "two photos") if "ssdlite" in args.model else (1, "one photo")
    if args.batch_size < photos * processes:
        raise ValueError(
            f"--batch-size: found {args.batch_size}, expected at least {photos * processes}, "
            f"{many} for each process"
        )
    if args.image_size != (own := CANVAS.get(args.model, args.image_size)):
        raise ValueError(
            f"--image-size: found {args.image_size}, expected {own}, the only size of {args.model}"
        )
    if args.model == "tiny" and args.image_size % 128:
        raise ValueError(f"--image-size: found {args.image_size}, expected a multiple of 128")
    if args.val_images is not None and args.val_annotations is None:
        raise ValueError("--val-images: found no --val-annotations, expected both")


def open_data(args: argparse.Namespace) -> tuple[TrainingSet, CocoFolder | None]:
    """Open and check all data sets.

    Raises:
        ValueError, OSError: Something is wrong with a file, a photo, the objects or the names.
    """
    if len(args.images) != len(args.annotations):
        raise ValueError(
            f"expected an --annotations for each --images, found {len(args.annotations)} "
            f"for {len(args.images)}"
        )
    folders = [
        CocoFolder(images, annotations)
        for images, annotations in zip(args.images, args.annotations, strict=True)
    ]
    how = Augmentation((args.scale[0], args.scale[1]), args.color, args.paste)
    training = TrainingSet(folders, args.image_size, how)
    if len(training) == 0:
        raise ValueError(f"{args.annotations[0]}: found no photos to train on")
    if not any(map(has_objects, folders)):
        raise ValueError(
            f"{args.annotations[0]}: found no object to train on, expected at least one that is no "
            "crowd (iscrowd 0) and has pixels"
        )
    validation = None
    if args.val_annotations is not None:
        validation = CocoFolder(args.val_images or args.images[0], args.val_annotations)
        check_validation(validation, training.class_names)
    for folder in (*folders, *([validation] if validation else [])):
        if predicts_masks(args.model):
            folder.check_masks()
        # Of the processes that `torchrun` starts, one on each machine looks at its photos; the
        # others wait for it where they join.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            folder.check_images()
    return training, validation


def predicts_masks(architecture: str) -> bool:
    """Whether a trainable architecture learns masks, for which boxes are not enough."""
    return architecture == "tiny" or architecture.startswith("maskrcnn")


def has_objects(folder: CocoFolder, names: Sequence[str] | None = None) -> bool:
    """Whether any photo has an object, of these classes, that has pixels and is no crowd."""
    wanted = {
        category
        for category, name in zip(folder.category_ids, folder.class_names[1:], strict=True)
        if names is None or name in names
    }
    return any(
        not each.crowd and each.category_id in wanted and has_pixels(each, photo)
        for index, photo in enumerate(folder.photos)
        for each in folder.objects(index)
    )


def has_pixels(annotation: Annotation, photo: Photo) -> bool:
    """Whether an annotation covers any pixel of its photo."""
    if annotation.segmentation is not None:
        return annotation.runs(photo.height, photo.width).area > 0
    x1, y1, x2, y2 = annotation.rectangle(photo.height, photo.width)
    return x1 < x2 and y1 < y2


def check_validation(folder: CocoFolder, class_names: Sequence[str]) -> None:
    """Make sure that the validation data has something to measure.

    Args:
        folder: The data.
        class_names: Of the training data; a `CheckpointWarning` says what differs.

    Raises:
        ValueError: There are no photos, no class in common, or no objects of such a class.
    """
    file = folder.annotations
    if len(folder) == 0:
        raise ValueError(f"{file}: found no photos to evaluate on")
    told = difference(class_names, folder.class_names)
    common = set(class_names[1:]) & set(folder.class_names[1:])
    if not common:
        raise ValueError(f"{file}: shares no class with the training data: {told}")
    if not has_objects(folder, class_names):
        raise ValueError(
            f"{file}: found no object to evaluate on, expected at least one that is no crowd "
            "(iscrowd 0), has pixels and is of a class of the training data"
        )
    if set(class_names) != set(folder.class_names):
        say(f"{file}: other classes than the training data, and only common ones count: {told}")


@contextmanager
def run_folder(out: Path, resume: bool) -> Iterator[None]:
    """Have the folder of a run for oneself: nobody else's files and no other training in it.

    Args:
        out: The folder; made if it is missing, and removed if nothing was begun in it.
        resume: Whether the run in it goes on.

    Raises:
        NotADirectoryError: It is a file.
        FileNotFoundError: There is nothing to resume.
        FileExistsError: It holds a run already, or files of the user that a run would overwrite.
        ValueError: Another training is running there.
        OSError: It cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out: expected a folder, found the file {out}")
    last = out / FILES[0]
    if resume and not last.is_file():
        raise FileNotFoundError(f"{last}: nothing to resume from")
    if not resume and os.path.lexists(last):
        raise FileExistsError(f"{last}: holds a run already; --resume continues it")
    for path in (out / name for name in FILES[1:]):
        if not resume and os.path.lexists(path):
            raise FileExistsError(
                f"{path}: is there, but no {FILES[0]} of a run; choose another folder for --out"
            )
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(out):
            for name in FILES:
                remove_leftovers(out / name)
            yield
    except TrainingError:
        new = False  # steps were taken, even if nothing of them could be written
        raise
    finally:
        if new:
            with suppress(OSError):  # not empty: something was begun
                out.rmdir()
