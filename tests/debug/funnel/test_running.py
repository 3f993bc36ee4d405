"""A funnel over a dataset: counts told again by plain loops, whatever the dataset is made of."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import Subset
from torchvision.models import detection

from mrcnn_steps import sample, trace
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.funnel import funnel, running
from mrcnn_steps.debug.funnel.running import evenly
from tests.debug.plain import plain_fates
from tests.debug.scenes import set_to


@pytest.fixture(scope="module")
def whole(small, dataset):
    return funnel(small, dataset)


def pairs(dataset):
    """The photos as torchvision's data sets give them: without names and ids of objects."""
    made = []
    for index, image_id in enumerate(dataset.image_ids):
        one = dataset[index]
        target = {"boxes": one.boxes, "labels": one.labels, "masks": one.masks}
        target |= {"iscrowd": one.crowd, "image_id": torch.tensor(image_id)}
        made.append((one.image, target))
    return made


def test_causes_are_those_of_a_plain_reimplementation(small, dataset, whole):
    expected = Counter()
    for index in (1, 2, 3):
        for cause, *_ in plain_fates(small, dataset[index], True):
            expected[cause] += 1
    told = (each.cause for index in (1, 2, 3) for each in whole.photos[index].objects)
    assert Counter(told) == expected
    assert len(expected) > 1


def test_every_object_that_is_no_crowd_has_one_row(dataset, whole):
    content = json.loads(dataset.annotations.read_text())
    expected = {
        (each["image_id"], each["id"]) for each in content["annotations"] if not each["iscrowd"]
    }
    rows = [(each.image_id, each.annotation_id) for each in whole.causes]
    assert len(rows) == len(set(rows))
    assert set(rows) == expected
    assert [photo.image_id for photo in whole.photos] == [each["id"] for each in content["images"]]
    assert [photo.photo for photo in whole.photos] == [
        each["file_name"] for each in content["images"]
    ]


def test_detections_are_the_model_s(small, dataset, whole):
    for index, photo in enumerate(whole.photos):
        with torch.no_grad():
            [answer] = small([dataset[index].image / 255])
        assert torch.tensor([each.box for each in photo.detections]).equal(answer["boxes"])
        assert [each.label for each in photo.detections] == answer["labels"].tolist()
        assert [each.score for each in photo.detections] == answer["scores"].tolist()


def test_rows_on_disk_are_those_in_memory(tmp_path, small, dataset, whole):
    stored = funnel(small, dataset, out=tmp_path)
    assert tuple(stored.photos) == whole.photos
    assert stored.header == whole.header
    assert stored.table() == whole.table()


def test_the_header_identifies_annotations_weights_and_settings(small, dataset, whole, tmp_path):
    header = whole.header
    assert header.photos == len(dataset)
    assert header.class_names == small.class_names
    assert header.settings["score"] == small.roi_heads.score_thresh
    same = funnel(small, dataset, photos=1).header
    assert same.weights_sha256 == header.weights_sha256
    assert same.annotations_sha256 != header.annotations_sha256
    with set_to(small, {"rpn.nms_thresh": 0.6, "rpn.pre_nms_top_n": 900}):
        other = funnel(small, dataset, photos=1, score=0.3).header
    differing = {name for name in same.settings if same.settings[name] != other.settings[name]}
    assert differing == {"rpn.nms_thresh", "rpn.pre_nms_top_n", "score"}
    bias = small.roi_heads.box_predictor.cls_score.bias
    with torch.no_grad():
        before = bias[0].item()
        bias[0] += 1e-3
        changed = funnel(small, dataset, photos=1).header
        bias[0] = before
    assert changed.weights_sha256 != header.weights_sha256


def test_annotations_of_any_dataset_are_told_apart(small, dataset):
    given = pairs(dataset)[1:2]
    first = funnel(small, given).header.annotations_sha256
    assert funnel(small, pairs(dataset)[1:2]).header.annotations_sha256 == first
    moved = [(given[0][0], given[0][1] | {"labels": given[0][1]["labels"] + 1})]
    assert funnel(small, moved).header.annotations_sha256 != first


def test_some_photos_are_spread_evenly(small, dataset, whole):
    assert evenly(dataset, 3).indices == [0, 2, 4]
    assert evenly(dataset, 1).indices == [0]
    assert evenly(dataset, 99).indices == list(range(6))
    some = funnel(small, dataset, photos=2)
    assert [each.image_id for each in some.photos] == [dataset.image_ids[i] for i in (0, 3)]
    assert some.photos[1].objects == whole.photos[3].objects
    with pytest.raises(ValueError, match=r"photos: expected .*found 0"):
        funnel(small, dataset, photos=0)


def test_pairs_give_the_rows_of_the_folder_but_for_ids_and_names(small, dataset, whole):
    found = funnel(small, Subset(pairs(dataset), [1, 3]))
    for mine, theirs in zip(found.photos, (whole.photos[1], whole.photos[3]), strict=True):
        assert mine.image_id == theirs.image_id
        assert mine.photo == f"image {mine.image_id}"
        assert mine.detections == theirs.detections
        assert [replace(each, annotation_id=0) for each in mine.objects] == [
            replace(each, annotation_id=0) for each in theirs.objects
        ]


def test_a_model_without_names_gets_those_of_its_dataset(small, dataset, whole):
    names = small.class_names
    del small.class_names
    try:
        found = funnel(small, Subset(dataset, [1]))
    finally:
        small.class_names = names
    assert found.header.class_names == names
    assert found.photos[0].objects == whole.photos[1].objects


def test_objects_of_unknown_classes_are_counted_without_a_warning_each(small, recwarn):
    cows = sample("cows")
    strange = replace(
        cows, class_names=(*cows.class_names, "gnu"), labels=torch.tensor([81, 20, 20])
    )
    found = funnel(small, [strange, strange])
    assert Counter(each.cause for each in found.causes)["unknown class"] == 2
    assert not [each for each in recwarn if "gnu" in str(each.message)]


def test_photos_without_objects_and_without_masks(small):
    cows = sample("cows")
    none = torch.zeros(3, dtype=torch.bool)
    bare = replace(
        cows,
        boxes=cows.boxes[none],
        labels=cows.labels[none],
        masks=cows.masks[none],
        crowd=cows.crowd[none],
    )
    found = funnel(small, [bare, replace(cows, masks=None)])
    assert found.photos[0].objects == ()
    assert all(each.mask_iou is None for each in found.photos[1].objects)
    assert "mask" not in {each.cause for each in found.causes}


def test_a_photo_that_vanishes_is_counted_and_the_others_go_on(tmp_path, small, dataset, whole):
    folder = tmp_path / "photos"
    shutil.copytree(dataset.images, folder)
    vanishing = CocoFolder(folder, folder / dataset.annotations.name)
    vanishing.image_path(1).unlink()
    vanishing.image_path(4).write_bytes(b"no photo")
    found = funnel(small, vanishing, out=tmp_path / "out")
    gone = [each for each in found.photos if each.error]
    assert [each.image_id for each in gone] == [vanishing.image_ids[1], vanishing.image_ids[4]]
    assert "no such file" in gone[0].error
    assert gone[0].photo == vanishing.photos[1].file_name
    kept = (0, 2, 3, 5)
    assert [found.photos[i] for i in kept] == [whole.photos[i] for i in kept]
    for index in (1, 4):
        shutil.copy(dataset.image_path(index), folder)
    again = funnel(small, vanishing, out=tmp_path / "out", resume=True)
    assert tuple(again.photos) == whole.photos


def test_an_empty_dataset_is_refused(small):
    with pytest.raises(ValueError, match="found no photos"):
        funnel(small, [])


def test_what_cannot_be_traced_is_refused_before_anything_is_written(tmp_path, small, dataset):
    retina = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None).eval()
    out = tmp_path / "out"
    with pytest.raises(TypeError, match="RetinaNet"):
        funnel(retina, dataset, out=out)
    with pytest.raises(ValueError, match=r"score_threshold: expected from 0\.05"):
        funnel(small, dataset, out=out, score=0.01)
    with pytest.raises(TypeError, match=r"dataset\[0\]: expected a Sample"):
        funnel(small, ["photo.jpg"], out=out)
    assert not out.exists()


def test_the_model_is_not_changed(small, dataset):
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    small.train()
    found = funnel(small, dataset, photos=1)
    assert small.training
    small.eval()
    assert all(tensor.equal(before[name]) for name, tensor in small.state_dict().items())
    assert found.photos == funnel(small, dataset, photos=1).photos


RUN = """
import sys
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.funnel import funnel, running
from mrcnn_steps.model.processes import process_group
from tests.debug.funnel.photos import quick
images, annotations, out, resume = sys.argv[1:]
with process_group("cpu"):
    found = funnel(quick(), CocoFolder(images, annotations), out=out, resume=resume == "resume")
    assert len(found.photos) == 6
    memory = funnel(quick(), CocoFolder(images, annotations), photos=3)
    assert [each.index for each in memory.photos] == [0, 1, 2]
"""


def environment() -> dict[str, str]:
    """The tests can be imported, and as many threads as here: they decide about last bits."""
    root, threads = Path(__file__).parents[3], torch.get_num_threads()
    return os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": str(threads)}


@pytest.fixture(scope="module")
def bytes_of_one(tmp_path_factory, small, dataset):
    out = tmp_path_factory.mktemp("one")
    funnel(small, dataset, out=out)
    return (out / "rows.jsonl").read_bytes()


def test_a_killed_process_goes_on_where_it_was(tmp_path, small, photos, dataset, bytes_of_one):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    out = tmp_path / "out"
    command = [sys.executable, str(script), *map(str, (*photos, out)), "new"]
    with subprocess.Popen(command, env=environment()) as process:
        new = out / "new-rows-0.jsonl"
        until = time.monotonic() + 120
        while not (new.exists() and new.read_bytes().count(b"\n") >= 3):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert new.exists()
    funnel(small, dataset, out=out, resume=True)
    assert (out / "rows.jsonl").read_bytes() == bytes_of_one


def test_two_processes_give_the_bytes_of_one(tmp_path, photos, bytes_of_one):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    arguments = map(str, (script, *photos, tmp_path / "out", "new"))
    subprocess.run(
        [*command, "--standalone", *arguments], check=True, timeout=300, env=environment()
    )
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == bytes_of_one
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rows.jsonl"]


def test_traces_are_dropped_at_once(small, dataset, monkeypatch):
    import gc
    import weakref

    alive = []

    def watched(*arguments):
        gc.collect()
        assert all(each() is None for each in alive)
        made = trace(*arguments)
        alive.append(weakref.ref(made))
        return made

    monkeypatch.setattr(running, "trace", watched)
    funnel(small, dataset, photos=3)
    assert len(alive) == 3
