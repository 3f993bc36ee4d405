"""Objects annotated twice: every pair that a loop over all pairs finds, in parts of any size."""

import pytest
import torch
from torchvision.ops import box_iou

from mrcnn_steps.debug.preflight import objects
from mrcnn_steps.debug.preflight.codes import Findings
from mrcnn_steps.debug.preflight.objects import Objects, check_alike


def scene(count: int, seed: int) -> Objects:
    """Boxes of which many nearly cover another one; some are crowds."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 60, (count, 2), generator=generator).float()
    boxes = torch.cat((corner, corner + 40), dim=1)
    twins = torch.randint(0, count, (count // 2,), generator=generator)
    boxes[: count // 2] = boxes[twins] + torch.rand((count // 2, 4), generator=generator)
    luck = torch.rand((2, count), generator=generator)
    return Objects(
        image_id=1,
        size=(120, 120),
        ids=tuple(range(100, 100 + count)),
        names=tuple("cat" if each < 0.6 else "dog" for each in luck[0].tolist()),
        crowd=tuple(each < 0.1 for each in luck[1].tolist()),
        boxes=boxes,
        mask=lambda row: None,
    )


@pytest.mark.parametrize("rows", [1, 7, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_the_later_of_each_pair_is_told_once(monkeypatch, rows, seed):
    monkeypatch.setattr(objects, "ROWS", rows)
    photo, findings = scene(40, seed), Findings()
    check_alike(photo, findings)
    iou = box_iou(photo.boxes.double(), photo.boxes.double())
    expected = {"objects_alike": set(), "objects_alike_of_two_classes": set()}
    counts = dict.fromkeys(expected, 0)
    for same, code in ((True, "objects_alike"), (False, "objects_alike_of_two_classes")):
        for later in range(40):
            for earlier in range(later):
                alike = float(iou[later, earlier]) >= 0.95
                crowd = photo.crowd[later] or photo.crowd[earlier]
                if alike and not crowd and same == (photo.names[later] == photo.names[earlier]):
                    expected[code] |= {photo.ids[earlier], photo.ids[later]}
                    counts[code] += 1
                    break
    found = {each.code: each for each in findings.collected()}
    assert sum(counts.values()) > 5
    for code, ids in expected.items():
        assert set(found[code].annotation_ids) == ids
        assert found[code].sentence.startswith(f"Found {counts[code]} pair")
