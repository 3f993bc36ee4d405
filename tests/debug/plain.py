"""The fates of a photo's objects, told again: plain loops over torchvision's own parts.

It shares nothing with the package but the photo: the definition is written down a second time.
"""

from types import SimpleNamespace

import torch
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_iou, clip_boxes_to_image, nms


def iou(a, b):
    """IoU of two boxes, in plain numbers."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (sum(areas) - shared)


@torch.no_grad()
def run(model, sample, everywhere):
    """Every anchor refined, with the gate of the RPN that dropped it; then the detections.

    Args:
        model: a torchvision R-CNN in eval mode.
        sample: the photo.
        everywhere: whether the RPN ranks the anchors of all levels together.
    """
    target = {"boxes": sample.boxes, "masks": sample.masks.to(torch.uint8)}
    images, [target] = model.transform([sample.image / 255], [target])
    height, width = sample.image.shape[1:]
    whole = torch.tensor([[0.0, 0.0, width, height]])
    _, [edges] = model.transform([sample.image / 255], [{"boxes": whole}])
    [window] = edges["boxes"].tolist()
    features = model.backbone(images.tensors)
    if isinstance(features, torch.Tensor):
        features = {"0": features}
    rpn, heads, size = model.rpn, model.roi_heads, images.image_sizes[0]
    logits, deltas = rpn.head(list(features.values()))
    counts = [int(part[0].numel()) for part in logits]
    [anchors] = rpn.anchor_generator(images, list(features.values()))
    logits, deltas = concat_box_prediction_layers(logits, deltas)
    logits = logits.flatten()
    refined = clip_boxes_to_image(rpn.box_coder.decode(deltas, [anchors])[:, 0], size)

    groups, start = [], 0
    for count in [len(anchors)] if everywhere else counts:
        groups.append(range(start, start + count))
        start += count
    gate, kept = ["top_k"] * len(anchors), []
    for group in groups:
        inside = logits[group.start : group.stop]
        top = inside.topk(min(rpn.pre_nms_top_n(), len(inside))).indices + group.start
        taking_part = []
        for anchor in top.tolist():
            x1, y1, x2, y2 = refined[anchor].tolist()
            if x2 - x1 < rpn.min_size or y2 - y1 < rpn.min_size:
                gate[anchor] = "rpn_min_size"
            elif logits[anchor].sigmoid() < rpn.score_thresh:
                gate[anchor] = "rpn_score"
            else:
                gate[anchor] = "rpn_nms"
                taking_part.append(anchor)
        rows = torch.tensor(taking_part, dtype=torch.int64)
        stay = rows[nms(refined[rows], logits[rows].sigmoid(), rpn.nms_thresh)]
        kept += stay.tolist()
    kept.sort(key=lambda anchor: -logits[anchor].sigmoid().item())
    for anchor in kept:
        gate[anchor] = "proposal_limit"
    proposals = kept[: rpn.post_nms_top_n()]

    def ask(boxes):
        pooled = heads.box_roi_pool(features, [boxes], [size])
        scores, moves = heads.box_predictor(heads.box_head(pooled))
        classes = scores.shape[1]
        moved = clip_boxes_to_image(heads.box_coder.decode(moves, [boxes]), size)
        return scores.softmax(1), moved.expand(-1, classes, 4)

    def seen(box):
        """A box as the model returns it: cut at the photo's edge."""
        x1, y1, x2, y2 = box.tolist()
        left, top, right, bottom = window
        return max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)

    probs, moved = ask(refined[proposals])
    ends, remaining = {}, []
    for label in range(1, probs.shape[1]):
        rows = (probs[:, label] > heads.score_thresh).nonzero().flatten()
        large = []
        for row in rows.tolist():
            x1, y1, x2, y2 = moved[row, label].tolist()
            ends[row, label] = "min_size"
            if x2 - x1 >= 1e-2 and y2 - y1 >= 1e-2:
                ends[row, label] = "nms"
                large.append(row)
        large = torch.tensor(large, dtype=torch.int64)
        stay = large[nms(moved[large, label], probs[large, label], heads.nms_thresh)]
        for row in stay.tolist():
            ends[row, label] = "detection_limit"
            remaining.append((row, label))
    remaining.sort(key=lambda each: -probs[each].item())
    detections = remaining[: heads.detections_per_img]
    for each in detections:
        ends[each] = "merged"
    return SimpleNamespace(
        objects=target["boxes"],
        anchors=anchors,
        logits=logits,
        refined=refined,
        gate=gate,
        proposals=proposals,
        probs=probs,
        moved=moved,
        ends=ends,
        detections=detections,
        ask=ask,
        seen=seen,
    )


def match(ran, labels, crowd, score, tau):
    """The detection of each object, COCO's way; crowds are nobody's business here."""
    found = {}
    for place, (row, label) in enumerate(ran.detections):
        if ran.probs[row, label] <= score:
            continue
        best, chosen = min(tau, 1 - 1e-10), None
        for object, own in enumerate(labels):
            if own != label or crowd[object] or object in found.values():
                continue
            overlap = iou(ran.seen(ran.moved[row, label]), ran.objects[object].tolist())
            if overlap >= best:
                best, chosen = overlap, object
        if chosen is not None:
            found[place] = chosen
    return {object: place for place, object in found.items()}


@torch.no_grad()
def plain_fates(model, sample, everywhere, score=None, tau=0.5, names=None):
    """The cause and kind of every object, with the box that decided before it was moved."""
    names = names or model.class_names
    score = model.roi_heads.score_thresh if score is None else score
    labels = [names.index(sample.class_names[label]) for label in sample.labels.tolist()]
    ran = run(model, sample, everywhere)
    found = match(ran, labels, sample.crowd.tolist(), score, tau)
    result = model([sample.image / 255])[0]
    fates = []
    for object, label in enumerate(labels):
        if sample.crowd[object] or not sample.masks[object].any():
            continue
        if object in found:
            fates.append(_found(sample, result, object, found[object], tau))
        else:
            fates.append(_missed(model, ran, object, label, score, tau))
    return fates


def _found(sample, result, object, place, tau):
    if "masks" in result:
        mask = result["masks"][place, 0] >= 0.5
        own = sample.masks[object]
        if (mask & own).sum() / (mask | own).sum() < tau:
            return "mask", None, None
    return "found", None, None


def _missed(model, ran, object, label, score, tau):
    box = ran.objects[object].tolist()
    own = ran.objects[object, None]
    landed = (box_iou(ran.refined, own)[:, 0] >= tau).nonzero().flatten().tolist()
    landed.sort(key=lambda anchor: -ran.logits[anchor].item())
    landed = landed[:500]
    place = {anchor: row for row, anchor in enumerate(ran.proposals)}
    others = [anchor for anchor in landed if anchor not in place]
    # Few boxes at a time take another path through the processor, which untrained heads amplify.
    probs, moved = ran.ask(ran.refined[others + ran.proposals])
    said = {anchor: (probs[row], moved[row, label]) for row, anchor in enumerate(others)}
    said |= {anchor: (ran.probs[row], ran.moved[row, label]) for anchor, row in place.items()}
    able = []
    for anchor, (probabilities, there) in said.items():
        if probabilities[label] > score and iou(ran.seen(there), box) >= tau:
            gate = ran.ends[place[anchor], label] if anchor in place else ran.gate[anchor]
            able.append((ORDER.index(gate), probabilities[label].item(), anchor))
    if able:
        gate, _, anchor = max(able)
        return ORDER[gate], None, ran.refined[anchor]
    if landed:
        best = max(landed, key=lambda anchor: said[anchor][0][label].item())
        probabilities = said[best][0]
        if probabilities[label] > score:
            return "box", None, ran.refined[best]
        winner = int(probabilities.argmax())
        kind = {0: "background", label: "low score"}.get(winner, "confused")
        return "class", kind, ran.refined[best]
    nearest = box_iou(ran.anchors, own).max()
    low = model.rpn.proposal_matcher.low_threshold
    return ("anchors" if nearest < low else "rpn_box"), None, None


ORDER = (
    "top_k",
    "rpn_min_size",
    "rpn_score",
    "rpn_nms",
    "proposal_limit",
    "min_size",
    "nms",
    "detection_limit",
    "merged",
)
