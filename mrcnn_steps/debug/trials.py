"""Many settings tried on one trace, of which nothing is computed twice.

What a trial asks is which objects are found. That takes the proposals and the detections; of the
masks only those that match an object; and of the heads only what they have not said before, since
their answer depends on a box alone.
"""

from collections.abc import Mapping
from dataclasses import replace

from jaxtyping import Bool
from torch import Tensor

from mrcnn_steps.debug.candidates import Answers, Candidates, Survey
from mrcnn_steps.debug.fates import found_objects, mask_iou
from mrcnn_steps.debug.price import Tally, tally
from mrcnn_steps.debug.rerun import Value, check_settings, current, detect_again, propose_again
from mrcnn_steps.nms import Overlaps
from mrcnn_steps.proposals import Proposals
from mrcnn_steps.tracing import Trace

TOP_K, LIMIT = "rpn.pre_nms_top_n", "rpn.post_nms_top_n"

# Numbers of candidates whose overlaps are remembered; each takes some ten megabytes.
MOST_OVERLAPS = 3


class Trials:
    """Settings tried on a trace.

    Args:
        trace: of a photo; made by `trace` or by `glance`.
        iou: from which IoU on a box, or a mask, is an object's.
    """

    def __init__(self, trace: Trace, iou: float) -> None:
        self.trace, self.iou = trace, iou
        self._answers = Answers(trace)
        # By the RPN's settings that were changed, but for the limit.
        own: dict[tuple[tuple[str, Value], ...], Proposals] = {(): trace.proposals}
        self._proposals = own
        self._overlaps: dict[Value, Overlaps] = {}
        self._mask_iou: dict[tuple[int, int, int], float | None] = {}

    def run(self, settings: Mapping[str, Value]) -> Trace:
        """Run from the stage on that a setting changes, without masks.

        Args:
            settings: new values of some of `SETTINGS`; the others stay as they are in the trace.

        Returns:
            What `rerun` gives, but for what no trial asks: the masks and the result with them, and
            what the heads would be trained on.

        Raises:
            ValueError: there is no such setting.
        """
        check_settings(settings)
        now = current(self.trace)
        changed = {name: value for name, value in settings.items() if value != now[name]}
        if not changed:
            return self.trace
        proposals = self._propose(changed)
        said = self.trace.classification
        if proposals is not self.trace.proposals:
            said = self._answers.of(proposals.anchor_index)
        return replace(
            self.trace,
            proposals=proposals,
            classification=said,
            detections=detect_again(self.trace, changed, proposals, said),
            mask_logits=None,
        )

    def candidates(self, trial: Trace, object: int) -> Candidates:
        """Give an object's candidates in a trial.

        Args:
            trial: made by `run`.
            object: row of its ground truth.
        """
        score = trial.detections.score_threshold
        return Survey(trial, [object], self.iou, score, self._answers).of(object)

    def found(self, trial: Trace) -> Bool[Tensor, "G"]:
        """Tell which objects a trial finds; see `found_objects`."""
        return found_objects(trial, self.iou, self.mask_iou)

    def tally(self, trial: Trace) -> Tally:
        """Count what a trial finds; see `tally`."""
        return tally(trial, self.iou, self.found(trial))

    def mask_iou(self, trial: Trace, object: int, detection: int) -> float | None:
        """Compare a detection's mask with an object's; see `mask_iou`."""
        if not self.trace.model.roi_heads.has_mask():
            return None
        found = trial.detections
        proposal = int(found.proposal_index[detection])
        anchor = int(trial.proposals.anchor_index[proposal])
        # The mask depends on the detection's box alone, and that on its anchor and class.
        key = object, anchor, int(found.labels[detection])
        if key not in self._mask_iou:
            if trial.mask_logits is None:
                trial = trial.with_detections(replace(found, rows=found.rows[detection, None]))
                detection = 0
            self._mask_iou[key] = mask_iou(trial, object, detection)
        return self._mask_iou[key]

    def _propose(self, changed: Mapping[str, Value]) -> Proposals:
        of_rpn = {name: value for name, value in changed.items() if name.startswith("rpn.")}
        if not of_rpn:
            return self.trace.proposals
        limit = of_rpn.pop(LIMIT, None)
        key = tuple(sorted(of_rpn.items()))
        if key not in self._proposals:
            shared = self._shared_overlaps(of_rpn)
            self._proposals[key] = propose_again(self.trace, of_rpn, shared)
        found = self._proposals[key]
        return found if limit is None else found.limited(int(limit))

    def _shared_overlaps(self, of_rpn: Mapping[str, Value]) -> Overlaps | None:
        """Give the overlaps of the candidates, which depend on the top k alone; else None."""
        if self.trace.proposals.per_level:
            return None
        count = of_rpn.get(TOP_K, self.trace.proposals.pre_nms_top_n)
        if count not in self._overlaps:
            # A size that no box has: the candidates without their NMS.
            every = propose_again(self.trace, {TOP_K: count, "rpn.min_size": 1e9})
            if len(self._overlaps) == MOST_OVERLAPS:
                self._overlaps.pop(next(iter(self._overlaps)))
            self._overlaps[count] = Overlaps(every.clipped, every.top_scores)
        return self._overlaps[count]
