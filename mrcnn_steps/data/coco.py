"""A folder of photos annotated by a COCO instances file.

The file comes from outside and is checked from end to end before anything is done with it: an
error names the file, the field, what was found and what was expected.
"""

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from mrcnn_steps.data.images import MAX_PIXELS, read_image
from mrcnn_steps.data.sample import Sample

Record = dict[str, Any]


class CocoFolder:
    """Photos and their COCO instance annotations, as a dataset of samples.

    Polygons, compressed and uncompressed run-length encodings, crowds and photos without objects
    are read; boxes are computed from the masks, never taken from the file. Labels are the
    categories in the order of their ids, from 1. A photo is loaded when it is asked for, and what
    is kept in between can be pickled, so that workers of a `DataLoader` can read.

    Beyond COCO's own fields, an image record may carry `labelled_category_ids`: the categories of
    which every object in the photo is annotated; of others some may be missing.

    Attributes:
        images: the folder of the photos.
        annotations: the COCO instances file.
        image_ids: the id of each photo, in the order of the file.
        category_ids: the category id of label k at `category_ids[k - 1]`.
        class_names: the name of each label; `class_names[0]` is "background".
    """

    def __init__(self, images: str | os.PathLike[str], annotations: str | os.PathLike[str]) -> None:
        """Read and check the annotations; photos are only opened when asked for.

        Args:
            images: the folder of the photos.
            annotations: a COCO instances JSON file.

        Raises:
            FileNotFoundError: the folder or the file does not exist.
            ValueError: the file is not complete JSON, lacks a field, repeats an id, names an
                unknown image or category, has a segmentation that is not a mask of its photo, or
                a `file_name` that leaves the folder.
        """
        self.images = Path(images)
        self.annotations = Path(annotations)
        if not self.images.is_dir():
            raise FileNotFoundError(f"{self.images}: found no such folder, expected the photos")
        if not self.annotations.is_file():
            raise FileNotFoundError(
                f"{self.annotations}: found no such file, expected COCO instances"
            )
        content = _Checked(self.annotations)
        categories = sorted(content.categories(), key=lambda category: category["id"])
        self.category_ids: tuple[int, ...] = tuple(category["id"] for category in categories)
        self.class_names = ("background", *(category["name"] for category in categories))
        self._records = content.images(self.images, self.category_ids)
        self.image_ids: tuple[int, ...] = tuple(record["id"] for record in self._records)
        self._index_of_id = {image_id: i for i, image_id in enumerate(self.image_ids)}
        self._label_of_id = {category: k for k, category in enumerate(self.category_ids, start=1)}
        self._objects: list[list[Record]] = [[] for _ in self._records]
        for annotation in content.annotations(self._records, self.category_ids):
            self._objects[self._index_of_id[annotation["image_id"]]].append(annotation)

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._records)

    def __getitem__(self, index: int) -> Sample:
        """Load a photo with its objects.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The sample, named like the photo's file without its suffix.

        Raises:
            IndexError: there is no photo of this index.
            FileNotFoundError: the photo's file is missing.
            ValueError: the photo cannot be read or has another size than the file says.
        """
        record = self._records[index]
        path = self.image_path(index)
        image = read_image(path)
        height, width = image.shape[1:]
        if (width, height) != (record["width"], record["height"]):
            raise ValueError(
                f"{path}: found {width}×{height} pixels (after EXIF rotation), expected "
                f"{record['width']}×{record['height']} as {self.annotations} says for image "
                f"{record['id']}"
            )
        objects = self._objects[index]
        return Sample.from_masks(
            image=image,
            masks=_decode([each["segmentation"] for each in objects], height, width),
            labels=torch.tensor(
                [self._label_of_id[each["category_id"]] for each in objects], dtype=torch.int64
            ),
            crowd=torch.tensor([each.get("iscrowd", 0) == 1 for each in objects], dtype=torch.bool),
            class_names=self.class_names,
            name=path.stem,
        )

    def by_image_id(self, image_id: int) -> Sample:
        """Load the photo that has this id in the file.

        Args:
            image_id: one of `image_ids`.

        Returns:
            The sample.

        Raises:
            KeyError: no photo has this id.
            FileNotFoundError: the photo's file is missing.
            ValueError: the photo cannot be read or has another size than the file says.
        """
        if image_id not in self._index_of_id:
            raise KeyError(f"{self.annotations}: has no image of id {image_id!r}")
        return self[self._index_of_id[image_id]]

    def image_path(self, index: int) -> Path:
        """Return where a photo lies.

        Args:
            index: which photo, in the order of the file.

        Returns:
            Its path inside the folder; the file itself may be missing.
        """
        return self.images / self._records[index]["file_name"]

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the size of a photo as the file says it.

        Args:
            index: which photo, in the order of the file.

        Returns:
            `(width, height)` in pixels, without opening the photo.
        """
        return self._records[index]["width"], self._records[index]["height"]

    def labels_present(self, index: int) -> frozenset[int]:
        """Return the labels of the objects annotated in a photo, crowds left out.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The labels, without opening the photo.
        """
        return frozenset(
            self._label_of_id[each["category_id"]]
            for each in self._objects[index]
            if not each.get("iscrowd", 0)
        )

    def labelled_labels(self, index: int) -> frozenset[int] | None:
        """Return the labels that are exhaustively annotated in a photo.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The labels of its `labelled_category_ids`; None without that field: all are.
        """
        ids = self._records[index].get("labelled_category_ids")
        return None if ids is None else frozenset(self._label_of_id[each] for each in ids)

    def check_images(self) -> None:
        """Check that every photo is there, before hours of work depend on it.

        Raises:
            FileNotFoundError: names the first missing photos and tells how many there are.
        """
        paths = [self.image_path(i) for i in range(len(self))]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            more = ", …" if len(missing) > 3 else ""
            raise FileNotFoundError(
                f"{self.annotations}: {len(missing)} of {len(self)} photos are missing: "
                f"{', '.join(missing[:3])}{more}"
            )


class _Checked:
    """The lists of a COCO file, record by record made sure to be what the format says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: found {error}, expected complete JSON") from error
        if not isinstance(self.content, dict):
            self.fail("the file", self.content, "an object with images, annotations, categories")

    def categories(self) -> list[Record]:
        records = self.records("categories")
        for where, record in self.walk("categories", records):
            self.field(record, "name", where, str, "a text")
        return records

    def images(self, folder: Path, category_ids: tuple[int, ...]) -> list[Record]:
        records, known, root = self.records("images"), set(category_ids), folder.resolve()
        for where, record in self.walk("images", records):
            for side in ("width", "height"):
                if self.field(record, side, where, int, "a number of pixels") < 1:
                    self.fail(f"{where}.{side}", record[side], "at least 1")
            if record["width"] * record["height"] >= MAX_PIXELS:
                found = f"{record['width']}×{record['height']}"
                self.fail(f"{where}.width and height", found, f"fewer than {MAX_PIXELS:,} pixels")
            name = self.field(record, "file_name", where, str, "a text")
            # Resolving follows symbolic links, so that none of them leads out either.
            if "\0" in name or not (root / name).resolve().is_relative_to(root) or not name:
                self.fail(f"{where}.file_name", name, f"a file inside {folder}")
            if "labelled_category_ids" in record:
                ids = self.field(record, "labelled_category_ids", where, list, "a list of ids")
                for each in ids:
                    if type(each) is not int or each not in known:
                        self.fail(f"{where}.labelled_category_ids", each, "ids of categories")
        return records

    def annotations(self, images: list[Record], category_ids: tuple[int, ...]) -> list[Record]:
        records = self.records("annotations")
        image_of_id, known = {image["id"]: image for image in images}, set(category_ids)
        for where, record in self.walk("annotations", records):
            image_id = self.field(record, "image_id", where, int, "the id of an image")
            if image_id not in image_of_id:
                self.fail(f"{where}.image_id", image_id, "the id of an image")
            if self.field(record, "category_id", where, int, "the id of a category") not in known:
                self.fail(f"{where}.category_id", record["category_id"], "the id of a category")
            if record.get("iscrowd", 0) not in (0, 1):
                self.fail(f"{where}.iscrowd", record["iscrowd"], "0 or 1")
            image = image_of_id[image_id]
            self.segmentation(record, f"{where}.segmentation", image["height"], image["width"])
        return records

    def segmentation(self, record: Record, where: str, height: int, width: int) -> None:
        found = record.get("segmentation")
        if isinstance(found, list) and found:
            for polygon in found:
                self.polygon(polygon, where, height, width)
        elif isinstance(found, dict):
            self.run_lengths(found, where, height, width)
        else:
            self.fail(where, found, "polygons or run lengths (boxes are computed from masks)")

    def polygon(self, found: Any, where: str, height: int, width: int) -> None:
        if not isinstance(found, list) or len(found) < 6 or len(found) % 2:
            self.fail(where, found, "at least 3 points [x1, y1, x2, y2, x3, y3, …] a polygon")
        for values, side in ((found[::2], width), (found[1::2], height)):
            # Points may lie outside the photo, but rasterizing takes memory for the way to them.
            if not all(type(v) in (int, float) and -side <= v <= 2 * side for v in values):
                self.fail(where, found, f"numbers near the {width}×{height} photo")

    def run_lengths(self, found: Record, where: str, height: int, width: int) -> None:
        if found.get("size") != [height, width]:
            self.fail(f"{where}.size", found.get("size"), f"{[height, width]}")
        counts = found.get("counts")
        if isinstance(counts, str):
            counts = _decompress(counts)
        if (
            not isinstance(counts, list)
            or not all(type(count) is int and count >= 0 for count in counts)
            or sum(counts) != height * width
        ):
            expected = f"run lengths that add up to the {height * width} pixels"
            self.fail(f"{where}.counts", found.get("counts"), expected)

    def records(self, key: str) -> list[Record]:
        """Return one of the file's lists, each record an object with an id of its own."""
        records = self.content.get(key)
        if not isinstance(records, list):
            self.fail(key, records, "a list")
        ids = set()
        for i, record in enumerate(records):
            if not isinstance(record, dict):
                self.fail(f"{key}[{i}]", record, "an object")
            if self.field(record, "id", f"{key}[{i}]", int, "a whole number") in ids:
                self.fail(f"{key}[{i}].id", record["id"], "an id that no other record has")
            ids.add(record["id"])
        return records

    def walk(self, key: str, records: list[Record]) -> list[tuple[str, Record]]:
        return [(f"{key}[{i}] (id {record['id']})", record) for i, record in enumerate(records)]

    def field(self, record: Record, key: str, where: str, kind: type, expected: str) -> Any:
        # `type(...) is`: True is an int to `isinstance`.
        if type(record.get(key)) is not kind:
            self.fail(f"{where}.{key}", record.get(key, "nothing"), expected)
        return record[key]

    def fail(self, where: str, found: Any, expected: str) -> NoReturn:
        text = found if found == "nothing" else repr(found)
        text = text if len(text) <= 80 else f"{text[:79]}…"
        raise ValueError(f"{self.path}: {where}: found {text}, expected {expected}")


def _decompress(counts: str) -> list[int] | None:
    """Undo COCO's compression of run lengths; None if the text is not one.

    A number is cut into groups of 5 bits, lowest first, each a character from "0" on; the sixth
    bit says that more follow, the fifth of the last group is the sign. From the fourth run on,
    the difference to the run before the last is stored.
    """
    lengths: list[int] = []
    value = shift = 0
    for code in (ord(character) - 48 for character in counts):
        if not 0 <= code < 64:
            return None
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    return None if shift else lengths


def _decode(segmentations: list[Any], height: int, width: int) -> Tensor:
    """Rasterize the segmentations of one photo: bool [N, H, W]."""
    from pycocotools import mask as coco_mask

    if not segmentations:
        return torch.zeros((0, height, width), dtype=torch.bool)
    encoded = []
    for each in segmentations:
        if isinstance(each, list):
            encoded.append(coco_mask.merge(coco_mask.frPyObjects(each, height, width)))
        elif isinstance(each["counts"], list):
            encoded.append(coco_mask.frPyObjects(each, height, width))
        else:
            encoded.append(each)
    decoded = coco_mask.decode(encoded)
    return torch.from_numpy(np.ascontiguousarray(decoded.transpose(2, 0, 1)).view(np.bool_))
