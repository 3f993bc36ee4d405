"""The photo files of a COCO folder: there, readable, of the size that is told, and each once."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.coco_paths import Lookalikes
from mrcnn_steps.data.images import Header, read_header, read_image
from mrcnn_steps.debug.preflight.codes import Findings

OTHER_CASE = "in other upper and lower case"


def check_files(folder: CocoFolder, pixels: bool, findings: Findings) -> None:
    """Open every photo.

    Args:
        folder: the photos.
        pixels: whether to decode them: a file that breaks off has a header all the same.
        findings: where they go.
    """
    lookalikes = Lookalikes(folder.images)
    for index in tqdm(range(len(folder)), "check photos", unit="", leave=False, disable=None):
        path, image_id = folder.image_path(index), folder.image_ids[index]
        name = folder.photos[index].file_name
        if not os.path.isfile(path):  # pathlib raises where a name is too long for any file
            found = lookalikes(name)
            hint = "" if found is None else f"; {found[0]!r} is there, {found[1]}"
            case = found is not None and found[1] == OTHER_CASE
            findings.add("photo_case" if case else "photo_missing", f"{name!r}{hint}", [image_id])
            continue
        try:
            header = read_header(path)
            if pixels:
                read_image(path)
        except (ValueError, OSError) as error:
            findings.add("photo_unreadable", str(error), [image_id])
            continue
        code = _code_of_size(header, folder.image_size(index))
        if code is not None:
            found_size, (width, height) = header.size, folder.image_size(index)
            detail = f"{name!r} has {found_size[0]}×{found_size[1]} pixels, not {width}×{height}"
            if code == "photo_turned_unseen":
                detail = f"{name!r}, orientation {header.orientation}"
            findings.add(code, detail, [image_id])


def _code_of_size(header: Header, told: tuple[int, int]) -> str | None:
    if header.size == told:
        return "photo_turned_unseen" if header.turned_unseen else None
    if header.stored == told:
        return "photo_turned"
    return "photo_swapped" if header.size == told[::-1] else "photo_size"


def check_twice(folder: CocoFolder, findings: Findings) -> None:
    """Find photos that come twice: one file under two ids, or two files of the same bytes.

    Args:
        folder: the photos.
        findings: where they go.
    """
    ids_of = _ids_of_files(folder)
    for path, ids in ids_of.items():
        if len(ids) > 1:
            findings.add("photo_two_ids", f"{path.name!r}: images {ids[0]} and {ids[1]}", ids)
    for first, *others in _same_bytes(list(ids_of)):
        for other in others:
            detail = f"{first.name!r} and {other.name!r}"
            findings.add("photo_twice", detail, ids_of[first] + ids_of[other])


def check_shared(folder: CocoFolder, validation: CocoFolder, findings: Findings) -> None:
    """Find photos that are also in the validation data: one file, or two of the same bytes.

    Args:
        folder: the photos.
        validation: other photos.
        findings: where they go.
    """
    ids_of, others = _ids_of_files(folder), _ids_of_files(validation)
    for path, ids in ids_of.items():
        if path in others:
            findings.add("photo_in_validation", repr(path.name), ids)
    for same in _same_bytes(list(ids_of | others)):
        there = [path for path in same if path in others]
        for path in same:
            if there and path not in others:
                detail = f"{path.name!r} is {there[0].name!r} there"
                findings.add("photo_in_validation", detail, ids_of[path])


def _ids_of_files(folder: CocoFolder) -> dict[Path, list[int]]:
    ids_of: dict[Path, list[int]] = {}
    for index, image_id in enumerate(folder.image_ids):
        real = Path(os.path.realpath(folder.image_path(index)))
        ids_of.setdefault(real, []).append(image_id)
    return ids_of


def _same_bytes(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give the files that are equal; only files of the same length are read."""
    by_length: dict[int, list[Path]] = {}
    for path in paths:
        if os.path.isfile(path):  # what is missing is a finding of its own
            by_length.setdefault(path.stat().st_size, []).append(path)
    alike = [path for group in by_length.values() if len(group) > 1 for path in group]
    by_content: dict[bytes, list[Path]] = {}
    for path in tqdm(alike, "compare photos", unit="", leave=False, disable=None):
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError:  # unreadable: a finding of its own
            continue
        by_content.setdefault(digest, []).append(path)
    yield from (same for same in by_content.values() if len(same) > 1)
