"""A folder of photos annotated by a COCO instances file."""

import os
import warnings
from math import prod
from pathlib import Path, PurePath

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from mrcnn_steps.data.annotation import Annotation
from mrcnn_steps.data.coco_file import read
from mrcnn_steps.data.coco_paths import Lookalikes
from mrcnn_steps.data.images import Header, read_header, read_image
from mrcnn_steps.data.sample import Sample

# A small file may ask for many masks of a large photo.
MOST_MASK_BYTES = 2 * 2**30


class AnnotationWarning(UserWarning):
    """Something about annotations that a person should know; they are used all the same."""


class CocoFolder:
    """Photos and their COCO instance annotations, as a dataset of samples.

    Polygons, compressed and uncompressed run-length encodings, crowds, boxes without masks and
    photos without objects are read. A sample's boxes are computed from the masks where there are
    any. Labels are the categories in the order of their ids, from 1. A photo is loaded when it is
    asked for, and what is kept in between can be pickled, so that workers of a `DataLoader` can
    read.

    Beyond COCO's own fields, an image record may carry `labelled_category_ids`: the categories of
    which every object in the photo is annotated; of others some may be missing.

    Attributes:
        images: the folder of the photos.
        annotations: the COCO instances file.
        photos: the image records, in the order of the file.
        image_ids: the id of each photo, in the order of the file.
        category_ids: the category id of label k at `category_ids[k - 1]`.
        class_names: the name of each label; `class_names[0]` is "background".
        left_out: the records of the file that cannot be used; none if it was read strictly.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        annotations: str | os.PathLike[str],
        strict: bool = True,
    ) -> None:
        """Read and check the annotations; photos are only opened when asked for.

        Args:
            images: the folder of the photos.
            annotations: a COCO instances JSON file.
            strict: whether anything wrong is an error. Otherwise whatever `strict` would refuse is
                left out and kept in `left_out`: an object, a photo with its objects, a category
                with its objects; and no `AnnotationWarning` is given.
                `mrcnn_steps.debug.preflight` says what is wrong with it, and with the rest.

        Raises:
            FileNotFoundError: the folder or the file does not exist.
            OSError: the file cannot be read; the message says why.
            ValueError: the file is not complete JSON or lacks one of its three lists. If `strict`,
                also: it lacks a field, repeats an id or a name, names an unknown image or
                category, has a segmentation that is not a mask of its photo, a box or an area
                that is not its mask's, or a `file_name` that leaves the folder.
        """
        self.images = Path(images)
        self.annotations = Path(annotations)
        if not self.images.is_dir():
            raise FileNotFoundError(f"{self.images}: found no such folder, expected the photos")
        if not self.annotations.is_file():
            found = "a directory" if self.annotations.is_dir() else "no such file"
            raise FileNotFoundError(f"{self.annotations}: found {found}, expected COCO instances")
        content = read(self.annotations, self.images, strict)
        self.photos = content.photos
        self.left_out = content.left_out
        self.category_ids: tuple[int, ...] = tuple(content.categories)
        self.class_names = ("background", *content.categories.values())
        self.image_ids: tuple[int, ...] = tuple(photo.id for photo in self.photos)
        self._index_of_id = {image_id: i for i, image_id in enumerate(self.image_ids)}
        self._label_of_id = {category: k for k, category in enumerate(self.category_ids, start=1)}
        self._objects: list[list[Annotation]] = [[] for _ in self.photos]
        for annotation in content.annotations:
            self._objects[self._index_of_id[annotation.image_id]].append(annotation)
        if strict:
            self._tell_what_is_odd(content.annotations)

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.photos)

    def __getitem__(self, index: int) -> Sample:
        """Load a photo with its objects.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The sample, named like the photo's file without its suffix. Its masks are None if an
            object of the photo has none.

        Raises:
            IndexError: there is no photo of this index.
            FileNotFoundError: the photo's file is missing.
            OSError: it may not be read.
            ValueError: the photo cannot be read or has another size than the file says, or its
                masks need more than 2 GiB.
        """
        photo, objects = self.photos[index], self._objects[index]
        labels = torch.tensor(
            [self._label_of_id[each.category_id] for each in objects], dtype=torch.int64
        )
        crowd = torch.tensor([each.crowd for each in objects], dtype=torch.bool)
        name = PurePath(photo.file_name).stem
        if any(each.segmentation is None for each in objects):
            image, boxes = self.image(index), self.boxes(index)
            return Sample(image, boxes, labels, None, crowd, self.class_names, name)
        masks = self._masks(index)
        image = self.image(index)
        return Sample.from_masks(image, masks, labels, crowd, self.class_names, name)

    def image(self, index: int) -> UInt8[Tensor, "3 H W"]:
        """Load a photo without its objects.

        Args:
            index: which photo, in the order of the file.

        Returns:
            [3, H, W] RGB.

        Raises:
            IndexError: there is no photo of this index.
            FileNotFoundError: the photo's file is missing.
            OSError: it may not be read.
            ValueError: the photo cannot be read or has another size than the file says.
        """
        photo, path = self.photos[index], self.image_path(index)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file, expected an image{self._hint(index)}")
        image = read_image(path)
        if image.shape[1:] != (photo.height, photo.width):
            raise ValueError(self._other_size(index, read_header(path)))
        return image

    def boxes(self, index: int) -> Float[Tensor, "N 4"]:
        """Give the boxes of a photo's objects without opening it.

        Args:
            index: which photo, in the order of the file.

        Returns:
            [N, 4] `(x1, y1, x2, y2)`: those of the masks, and of the file where there is no mask.
        """
        photo = self.photos[index]
        boxes = [
            each.rectangle(photo.height, photo.width)
            if each.segmentation is None
            else each.runs(photo.height, photo.width).box
            for each in self._objects[index]
        ]
        return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)

    def objects(self, index: int) -> tuple[Annotation, ...]:
        """Give the annotations of a photo as the file has them.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The annotations, in the order of the sample's objects.
        """
        return tuple(self._objects[index])

    def annotation_ids(self, index: int) -> tuple[int, ...]:
        """Give the ids of a photo's annotations, in the order of the sample's objects.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The file's ids.
        """
        return tuple(each.id for each in self._objects[index])

    def _masks(self, index: int) -> Tensor:
        """Draw the objects of a photo, one after the other: bool [N, H, W]."""
        photo, objects = self.photos[index], self._objects[index]
        size = (len(objects), photo.height, photo.width)
        if (needed := prod(size)) > MOST_MASK_BYTES:
            raise ValueError(
                f"{self.annotations}: image {photo.id}: found {len(objects)} objects of "
                f"{photo.width}×{photo.height} pixels, whose masks need {needed / 2**30:.1f} GiB; "
                f"expected at most {MOST_MASK_BYTES / 2**30:.0f} GiB: cut the photo into parts"
            )
        masks = torch.zeros(size, dtype=torch.bool)
        for mask, each in zip(masks, objects, strict=True):
            mask[:] = torch.from_numpy(each.runs(photo.height, photo.width).mask())
        return masks

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
        return self.images / self.photos[index].file_name

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the size of a photo as the file says it.

        Args:
            index: which photo, in the order of the file.

        Returns:
            `(width, height)` in pixels, without opening the photo.
        """
        return self.photos[index].width, self.photos[index].height

    def labels_present(self, index: int) -> frozenset[int]:
        """Return the labels of the objects annotated in a photo, crowds left out.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The labels, without opening the photo.
        """
        return frozenset(
            self._label_of_id[each.category_id] for each in self._objects[index] if not each.crowd
        )

    def labelled_labels(self, index: int) -> frozenset[int] | None:
        """Return the labels that are exhaustively annotated in a photo.

        Args:
            index: which photo, in the order of the file.

        Returns:
            The labels of its `labelled_category_ids`; None without that field: all are.
        """
        ids = self.photos[index].labelled
        return None if ids is None else frozenset(self._label_of_id[each] for each in ids)

    def check_masks(self) -> None:
        """Check that every object has a mask, for a model that predicts masks.

        Raises:
            ValueError: names the first object that has a box only.
        """
        for objects in self._objects:
            for each in objects:
                if each.segmentation is None:
                    raise ValueError(
                        f"{self.annotations}: annotation {each.id}: segmentation: found none, "
                        "expected polygons or run lengths, as this model predicts masks; a "
                        "detector without masks, such as fasterrcnn_resnet50_fpn, needs boxes only"
                    )

    def check_images(self) -> None:
        """Check every photo's header, before hours of work depend on it.

        Photos that EXIF turns or mirrors while their size does not tell are counted and named in
        an `AnnotationWarning`: nobody knows whether they were annotated upright or as stored.

        Raises:
            FileNotFoundError: names the first missing photos and tells how many there are.
            ValueError: names the first photos that are no images, may not be read or have another
                size than the file says, and tells how many there are.
        """
        missing = [i for i in range(len(self)) if not self.image_path(i).is_file()]
        if missing:
            names = ", ".join(str(self.image_path(i)) for i in missing[:3])
            more = ", …" if len(missing) > 3 else ""
            raise FileNotFoundError(
                f"{self.annotations}: {len(missing)} of {len(self)} photos are missing: "
                f"{names}{more}{self._hint(missing[0])}"
            )
        wrong: list[str] = []
        turned: list[str] = []
        # Of many processes, the first shows its progress.
        silent = True if os.environ.get("RANK", "0") != "0" else None
        for i in tqdm(range(len(self)), "check photos", unit="", leave=False, disable=silent):
            try:
                header = read_header(self.image_path(i))
            except (ValueError, OSError) as error:
                wrong.append(str(error))
                continue
            if header.size != self.image_size(i):
                wrong.append(self._other_size(i, header))
            elif header.turned_unseen:
                turned.append(self.photos[i].file_name)
        if wrong:
            raise ValueError(
                f"{self.annotations}: {len(wrong)} of {len(self)} photos cannot be used: "
                f"{'; '.join(wrong[:3])}{'; …' if len(wrong) > 3 else ''}"
            )
        if turned:
            warnings.warn(
                f"{self.annotations}: EXIF turns or mirrors {len(turned)} of {len(self)} photos, "
                f"and their size does not tell: {', '.join(turned[:3])}"
                f"{', …' if len(turned) > 3 else ''}; they are shown upright, so look whether "
                "their annotations fit",
                AnnotationWarning,
                stacklevel=2,
            )

    def _other_size(self, index: int, header: Header) -> str:
        photo = self.photos[index]
        stored = header.stored == (photo.width, photo.height)
        hint = "; as stored it has that size: was it annotated without its EXIF?" if stored else ""
        return (
            f"{self.image_path(index)}: found {header.size[0]}×{header.size[1]} pixels (after EXIF "
            f"rotation), expected {photo.width}×{photo.height} as {self.annotations} says for "
            f"image {photo.id}{hint}"
        )

    def _hint(self, index: int) -> str:
        """Tell what lies there instead of a missing photo."""
        found = Lookalikes(self.images)(self.photos[index].file_name)
        return f"; {self.images / found[0]} is there, {found[1]}" if found else ""

    def _tell_what_is_odd(self, annotations: tuple[Annotation, ...]) -> None:
        boxes_only = sum(each.segmentation is None for each in annotations)
        if boxes_only:
            warnings.warn(
                f"{self.annotations}: {boxes_only} of {len(annotations)} objects have a box and no "
                "mask; each is taken as the rectangle of its box, for detectors without masks",
                AnnotationWarning,
                stacklevel=3,
            )
        slips = [each.id for each in annotations if each.slip]
        if slips:
            warnings.warn(
                f"{self.annotations}: {len(slips)} of {len(annotations)} objects have a box or an "
                f"area a little off their mask (first: annotation {slips[0]}); evaluation takes "
                "them from the file, as COCO's does",
                AnnotationWarning,
                stacklevel=3,
            )
