"""Objects come without pixels, and lie on the model's own input."""

import json

import pytest
import torch
from PIL import Image
from torch.utils.data import Subset

from mrcnn_steps.data import CocoFolder, Sample, sample
from mrcnn_steps.debug.coverage.objects import place, read_objects
from tests.debug.coverage.scenes import NAMES, photo
from tests.parity.conftest import MODELS


@pytest.fixture
def folder(tmp_path):
    """Two photos, whose files are gone once they are checked; a crowd, a polygon, a box."""
    outline = [[2.0, 3.0, 12.0, 3.0, 12.0, 9.0, 2.0, 9.0]]
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 30, "height": 20},
            {"id": 3, "file_name": "b.png", "width": 20, "height": 40},
        ],
        "categories": [{"id": 9, "name": "plate"}, {"id": 5, "name": "cup"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 9, "bbox": [1, 2, 8, 9], "area": 72},
            {"id": 2, "image_id": 7, "category_id": 5, "segmentation": outline},
            {"id": 4, "image_id": 7, "category_id": 9, "segmentation": outline, "iscrowd": 1},
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    for each in content["images"]:
        Image.new("RGB", (each["width"], each["height"])).save(tmp_path / each["file_name"])
    with pytest.warns(UserWarning, match="box and no mask"):
        return CocoFolder(tmp_path, path)


def test_the_objects_of_a_folder_are_those_of_its_samples(folder):
    expected = read_objects([folder[0], folder[1]])
    for index in range(2):
        folder.image_path(index).unlink()
    found = read_objects(folder)
    assert found.sizes == expected.sizes == ((20, 30), (40, 20))
    assert torch.equal(found.boxes, expected.boxes)
    assert found.boxes.tolist() == [[2, 3, 12, 9], [1, 2, 9, 11]]
    assert found.photo.tolist() == [0, 1]
    assert [found.class_names[label] for label in found.labels.tolist()] == ["cup", "plate"]
    assert found.left_out == expected.left_out == 1


def test_a_part_of_a_folder_has_its_own_objects(folder):
    found = read_objects(Subset(folder, [1]))
    assert (found.sizes, found.boxes.tolist()) == (((40, 20),), [[1, 2, 9, 11]])


def test_crowds_and_what_has_no_pixels_are_left_out():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 5, 20], [0, 0, 50, 50], [1, 1, 3, 3]])
    found = read_objects([photo(boxes, [1, 1, 2, 2], [False, False, True, False])])
    assert found.boxes.tolist() == [[0, 0, 10, 10], [1, 1, 3, 3]]
    assert found.left_out == 2


def test_classes_meet_by_name_where_samples_number_them_otherwise():
    box = torch.tensor([[0.0, 0, 10, 10]])
    one, other = photo(box, [2]), photo(box, [1])
    object.__setattr__(other, "class_names", ("background", "plate", "fork"))
    found = read_objects([one, other])
    assert found.labels[0] == found.labels[1]
    assert found.class_names == ("background", "plate")


def test_pairs_are_read_as_torchvision_gives_them():
    target = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([2])}
    found = read_objects([(torch.zeros((3, 20, 30), dtype=torch.uint8), target)], NAMES)
    assert (found.sizes, found.class_names) == (((20, 30),), ("background", "plate"))


def test_a_dataset_of_something_else_is_refused():
    with pytest.raises(TypeError, match=r"dataset\[0\]: expected a Sample"):
        read_objects([3])


KINDS = [name for name in MODELS if name != "maskrcnn_resnet50_fpn_v2"]


@pytest.mark.parametrize("name", KINDS)
def test_boxes_and_anchors_are_those_of_the_model_on_the_photo(name):
    """Of photos in both formats, by a model that has seen none of this size."""
    model, landscape = MODELS[name]().eval(), sample("cat")
    portrait = Sample.from_masks(
        landscape.image.transpose(1, 2).contiguous(),
        landscape.masks.transpose(1, 2).contiguous(),
        landscape.labels,
        landscape.crowd,
        landscape.class_names,
        "portrait",
    )
    samples = [landscape, portrait]
    placed = place(model, read_objects(samples))
    for index, each in enumerate(samples):
        target = {"boxes": each.boxes[each.filled & ~each.crowd]}
        with torch.no_grad():
            images, [moved] = model.transform([each.image / 255], [target])
            maps = model.backbone(images.tensors)
            maps = [maps] if isinstance(maps, torch.Tensor) else list(maps.values())
            [anchors] = model.rpn.anchor_generator(images, maps)
        assert torch.equal(placed.boxes[placed.photo == index], moved["boxes"])
        grid = placed.grids[int(placed.grid_of[index])]
        laid = grid.lay(model.rpn.anchor_generator, next(model.parameters()))
        assert torch.equal(laid.boxes, anchors)


def test_a_model_in_training_mode_is_left_as_it_was():
    model = MODELS["own_anchors"]().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    place(model, read_objects([sample("cat")]))
    assert all(part.training for part in model.modules())
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
