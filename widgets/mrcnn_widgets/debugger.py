"""All stages on one trace: step through them, follow an object, choose photo and model.

debugger = PipelineDebugger("voc_people")           # or a Trace of a model of one's own
debugger.stage = "classification"
debugger.followed = ("object", 3)                   # highlighted in every stage
debugger.explorer.label = 1                         # the stage that is shown
debugger.trace                                      # as all settings together make it
"""

from __future__ import annotations

import html
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import torch
import traitlets as t
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.ops import box_iou

from mrcnn_steps.data import Sample, sample, samples
from mrcnn_steps.model import load_model
from mrcnn_steps.palette import BLUE, ORANGE, VERMILLION, YELLOW
from mrcnn_steps.settings import proposal_settings
from mrcnn_steps.tracing import Trace, trace
from mrcnn_widgets.anchors import AnchorExplorer
from mrcnn_widgets.classification import ClassificationExplorer
from mrcnn_widgets.detection import DetectionExplorer
from mrcnn_widgets.explorer import Explorer
from mrcnn_widgets.masks import MaskExplorer
from mrcnn_widgets.mini_masks import MiniMaskExplorer
from mrcnn_widgets.proposals import ProposalExplorer
from mrcnn_widgets.rpn_targets import RPNTargetExplorer
from mrcnn_widgets.trail import FOUND, Trail, describe, follow
from mrcnn_widgets.viewer.canvas import ArrowLayer, BoxLayer, Canvas, Group, StaticView
from mrcnn_widgets.views.objects import as_boxes

EXPLORERS: dict[str, Callable[..., Explorer]] = {
    "mini_masks": MiniMaskExplorer,
    "anchors": AnchorExplorer,
    "rpn_targets": RPNTargetExplorer,
    "proposals": ProposalExplorer,
    "classification": ClassificationExplorer,
    "detection": DetectionExplorer,
    "masks": MaskExplorer,
}
STAGES = tuple(EXPLORERS)
TITLES = (
    "1 Mini-masks",
    "2 Anchors",
    "3 RPN targets",
    "4 Proposals",
    "5 Classification",
    "6 Detection",
    "7 Masks",
)
TOOLTIPS = (
    "Each object's mask, kept as a small picture of its box.",
    "The boxes that every proposal starts from.",
    "What the region proposal network is taught about each anchor.",
    "From a score and a delta per anchor to 1000 boxes.",
    "What is in each proposal, and how to move its box.",
    "From classified proposals to detections.",
    "A mask inside each detection.",
)
# Settings that name a row or a place of one photo: they mean nothing on the next.
OF_THE_PHOTO = ("object", "label", "index", "point")

# What a photo or a model that somebody else made can raise.
MISHAPS = (OSError, ValueError, TypeError, RuntimeError)
PICK_SOMETHING = "Pick an object or a detection, here or on the photo, to follow it to the end."
# A drop-down list shows the value None as a blank.
NOTHING = ()
LOOKS = (
    Group("followed object", YELLOW),
    Group("its anchor", ORANGE, "dotted"),
    Group("its proposal", VERMILLION, "dashed"),
    Group("its detection", BLUE),
)


class PipelineDebugger(StaticView, widgets.VBox):
    """Previous and next through all explorers on one trace.

    A changed setting flows on: the next stages are computed again from there, when they are shown.

    Args:
        source: a trace, a sample, or the name of a bundled photo.
        model: what `load_model` takes, or a model itself; a trace brings its own.
        **settings: initial values of the traits.

    Traits:
        stage: the stage that is shown, one of `STAGES`.
        photo: the name of a bundled or uploaded photo.
        model: what `load_model` takes; empty for a model that was passed as itself.
        followed: ("object", row) or ("detection", row) that is highlighted in every stage, or None.
        message: what went wrong, or empty.
        busy: what is being computed, or empty.
    """

    stage = t.Enum(STAGES, STAGES[0], help="The stage that is shown.")
    photo = t.Unicode(help="The photo that runs through the network.")
    model = t.Unicode(help='"tiny", "coco", or the path of a checkpoint; Enter loads it.')
    followed: Any = t.Tuple(
        t.Enum(("object", "detection")),
        t.Int(min=0),
        default_value=None,
        allow_none=True,
        help="An object or a detection to highlight in every stage.",
    )
    message = t.Unicode(help="What went wrong.")
    busy = t.Unicode(help="What is being computed.")

    def __init__(
        self,
        source: Trace | Sample | str = "voc_people",
        model: FasterRCNN | str | None = None,
        **settings: Any,
    ) -> None:
        self._explorers: dict[str, Explorer] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        self._flowed: dict[str, tuple[Trace, Any, Trace]] = {}
        self._seen: tuple[Trace, Tensor, int] | None = None
        self._quiet = False
        self._words = ""
        name = ""  # of the model, if it has one
        if isinstance(source, Trace):
            self._trace = source
        else:
            name = "" if isinstance(model, FasterRCNN) else model or "tiny"
            given = sample(source) if isinstance(source, str) else source
            self._trace = trace(load_model(name) if isinstance(model, str | None) else model, given)
        self._samples = _own_sample(self._trace)
        photo = next(iter(self._samples), None) or self._trace.sample.name  # type: ignore[union-attr]
        super().__init__(photo=photo, model=name, **settings)
        self._loaded = name
        self._build()
        self._visit()
        self.observe(self._visit, "stage")
        self.observe(self._on_photo, "photo")
        self.observe(self._on_model, "model")
        self.observe(self._on_followed, "followed")
        self.observe(self._show_status, ["busy", "message"])

    # -- What is shown -----------------------------------------------------------------------

    @property
    def explorer(self) -> Explorer:
        """The explorer of the stage that is shown."""
        return self._explorers[self.stage]

    @property
    def canvas(self) -> Canvas:  # type: ignore[override]
        """The canvas of the stage that is shown."""
        return self.explorer.canvas

    @property
    def explorers(self) -> dict[str, Explorer]:
        """The explorers of the stages that were visited."""
        return dict(self._explorers)

    @property
    def trace(self) -> Trace:
        """The trace as the settings of all stages make it."""
        return self._flow(len(STAGES))

    @property
    def trail(self) -> Trail | None:
        """What belongs to what is followed, through all stages."""
        return None if self.followed is None else follow(self.trace, *self.followed)

    def to_png(self) -> bytes:
        """The picture of the stage that is shown."""
        return self.explorer.to_png()

    def next(self) -> None:
        """Shows the next stage, if there is one."""
        self.stage = STAGES[min(STAGES.index(self.stage) + 1, len(STAGES) - 1)]

    def previous(self) -> None:
        """Shows the stage before, if there is one."""
        self.stage = STAGES[max(STAGES.index(self.stage) - 1, 0)]

    def close(self) -> None:
        """Frees the debugger with all its explorers."""
        self._forget()
        super().close()

    # -- Computing ---------------------------------------------------------------------------

    def _flow(self, place: int) -> Trace:
        """The trace that a stage is shown: changed by the settings of the stages before it."""
        flowing = self._trace
        proposals = self._explorers.get("proposals")
        if place > STAGES.index("proposals") and isinstance(proposals, ProposalExplorer):
            own = proposal_settings(flowing.model, flowing.anchors)
            if any(getattr(proposals, name, value) != value for name, value in own.items()):
                flowing = self._once(flowing, "with_proposals", proposals.proposals)
        detection = self._explorers.get("detection")
        if place > STAGES.index("detection") and isinstance(detection, DetectionExplorer):
            if detection.trace is not flowing:
                detection.show(flowing)
            if detection.detections is not flowing.detections:
                flowing = self._once(flowing, "with_detections", detection.detections)
        return flowing

    def _once(self, before: Trace, step: str, rows: Any) -> Trace:
        """`before.step(rows)`, unless it was computed last time."""
        known = self._flowed.get(step)
        if known is None or known[0] is not before or known[1] is not rows:
            self.busy = "Running the network again from here on …"
            known = (before, rows, getattr(before, step)(rows))
            self._flowed[step] = known
            self.busy = ""
        return known[2]

    def _visit(self, change: Any = None) -> None:
        """Shows the stage, made or brought up to date where needed."""
        self.message = ""
        flowing = self._flow(STAGES.index(self.stage))
        explorer = self._explorers.get(self.stage)
        if explorer is None:
            explorer = EXPLORERS[self.stage](flowing, **self._kept.pop(self.stage, {}))
            self._explorers[self.stage] = explorer
            explorer.canvas.observe(self._on_pick, "selected")
            self._body.children = tuple(self._explorers.values())
        elif (
            isinstance(explorer, ClassificationExplorer | DetectionExplorer | MaskExplorer)
            and explorer.trace is not flowing
        ):
            explorer.show(flowing)
        for stage, other in self._explorers.items():
            other.layout.display = None if stage == self.stage else "none"
        self._previous.disabled = self.stage == STAGES[0]
        self._next.disabled = self.stage == STAGES[-1]
        self._find_again()
        self._offer()
        self._highlight()

    def _on_photo(self, change: Any) -> None:
        names = [*samples(), *self._other_photos()]
        self._quietly(self._photo_box, options=names, value=change.new)
        self._look_at(change.new)

    def _look_at(self, photo: str) -> None:
        network, names = self._trace.model, self._trace.class_names
        self._attempt(
            f"Running the network on {photo} …",
            lambda: self._adopt(trace(network, self._sample(photo), names), keep=True),
        )

    def _on_model(self, change: Any) -> None:
        """Loads the model; after a mishap the field names the one that is still at work."""
        if change.new not in ("", self._loaded):
            self._attempt(
                f"Loading {change.new} and running it on {self.photo} …",
                lambda: self._load(change.new),
            )
        self.model = self._loaded
        self._quietly(self._model_box, value=self._loaded)

    def _load(self, name: str) -> None:
        self._adopt(trace(load_model(name), self._sample(self.photo)), keep=False)
        self._loaded = name

    def _attempt(self, what: str, act: Callable[[], None]) -> None:
        """Does something that may fail: the reason becomes a message, and all stays as it was."""
        self.message, self.busy = "", what
        try:
            act()
        except MISHAPS as error:
            self.message = str(error)
        finally:
            self.busy = ""

    def _adopt(self, traced: Trace, keep: bool) -> None:
        """Shows another trace; with `keep`, under the settings that the explorers have now."""
        self.followed = None
        kept = {stage: _lasting(explorer) for stage, explorer in self._explorers.items()}
        self._forget()
        self._trace = traced
        self._kept = {**self._kept, **kept} if keep else {}
        self._visit()

    def _forget(self) -> None:
        self._body.children = ()
        for explorer in self._explorers.values():
            explorer.close()
        self._explorers.clear()
        self._flowed.clear()

    def _sample(self, name: str) -> Sample:
        return self._samples[name] if name in self._samples else sample(name)

    @t.validate("photo")
    def _check_photo(self, change: Any) -> str:
        names = [*self._samples, *samples()]
        if change.value not in names:
            raise t.TraitError(f"photo: expected one of {', '.join(names)}, found {change.value!r}")
        return change.value

    def upload(self, name: str, content: bytes) -> None:
        """Shows a photo from the bytes of a file; a file that is no photo becomes a message."""
        self._attempt(f"Reading {name} …", lambda: self._read(name, content))

    def _read(self, name: str, content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # A name from outside is shown, but never used as a path.
            file = Path(folder, "photo")
            file.write_bytes(content)
            try:
                read = Sample.from_image(file, self._trace.class_names)
            except ValueError as error:
                raise ValueError(str(error).replace(str(file), name)) from error
        title = name if name not in samples() else f"{name} (uploaded)"
        self._samples[title] = replace(read, name=title)
        if self.photo == title:  # the same name again, with other content
            self._look_at(title)
        else:
            self.photo = title

    # -- Following ---------------------------------------------------------------------------

    @t.validate("followed")
    def _check_followed(self, change: Any) -> tuple[str, int] | None:
        if change.value is not None:
            kind, row = change.value
            count = len(self._objects() if kind == "object" else self.trace.detections)
            if row >= count:
                raise t.TraitError(f"followed: there are {count} {kind}s, found {row}")
        return change.value

    def _objects(self) -> list[str]:
        """The names of the annotated objects."""
        truth = self._trace.ground_truth
        labels = [] if truth is None else truth.labels.tolist()
        return [self._trace.class_names[label] for label in labels]

    def _on_followed(self, change: Any) -> None:
        self._remember()
        self._quietly(self._followed_box, value=self.followed or NOTHING)
        self._highlight()

    def _on_pick(self, change: Any) -> None:
        """A picked object or detection is followed from now on; a picked anchor is not."""
        if self._quiet or change.new is None:
            return
        (layer, row), explorer = change.new, self.explorer
        if layer == "objects":
            self.followed = ("object", row)
        elif isinstance(explorer, MaskExplorer):
            self.followed = ("detection", row)
        elif isinstance(explorer, DetectionExplorer) and layer == "candidates":
            place = (explorer.detections.rows == explorer.drawn[row]).nonzero()
            if len(place):
                self.followed = ("detection", int(place[0]))

    def _remember(self) -> None:
        """What the followed detection looks like, to find it again under other settings."""
        self._seen = None
        if self.followed is not None and self.followed[0] == "detection":
            now, row = self.trace, self.followed[1]
            self._seen = now, now.detections.boxes[row], int(now.detections.labels[row])

    def _find_again(self) -> None:
        """Other settings number the detections anew: follows the same one, or lets go of it."""
        if self._seen is None or self._seen[0] is self.trace:
            return
        _, box, label = self._seen
        found = self.trace.detections
        overlap = box_iou(found.boxes, box[None])[:, 0] * (found.labels == label)
        again = len(overlap) and overlap.max() >= FOUND
        self.followed = ("detection", int(overlap.argmax())) if again else None
        self._remember()

    def _highlight(self) -> None:
        """Marks in the stage that is shown what belongs to what is followed."""
        now, trail, explorer = self.trace, self.trail, self.explorer
        self._quiet = True
        explorer.pin(*([] if trail is None else _marks(self.stage, now, trail)))
        if trail is not None:
            _pick(explorer, trail)
        self._quiet = False
        self._words = PICK_SOMETHING if trail is None else describe(now, trail)
        self._show_status()

    # -- Controls ----------------------------------------------------------------------------

    def _build(self) -> None:
        wide = widgets.Layout(width="195px")
        self._photo_box = widgets.Dropdown(
            options=[*samples(), *self._other_photos()],
            value=self.photo,
            description="photo",
            tooltip=self.traits()["photo"].help,
            layout=wide,
        )
        self._upload_box = widgets.FileUpload(
            accept="image/*",
            description="Upload",
            tooltip="A photo of your own, of up to 10 MB: Jupyter's limit for a message. "
            "For a larger one run PipelineDebugger(Sample.from_image(path)).",
            layout=widgets.Layout(width="116px"),
        )
        self._model_box = widgets.Combobox(
            options=["tiny", "coco"],
            value=self.model,
            description="model",
            placeholder="the trace's own",
            continuous_update=False,
            tooltip=self.traits()["model"].help,
            layout=wide,
        )
        self._followed_box = widgets.Dropdown(
            description="follow",
            tooltip=self.traits()["followed"].help,
            layout=widgets.Layout(width="275px"),
        )
        stages = widgets.ToggleButtons(
            options=list(zip(TITLES, STAGES, strict=True)),
            value=self.stage,
            tooltips=TOOLTIPS,
            style={"button_width": "auto"},
        )
        self._previous, self._next = (
            widgets.Button(
                icon=icon, tooltip=text, layout=widgets.Layout(width="36px", flex="0 0 auto")
            )
            for icon, text in (("chevron-left", "Previous stage"), ("chevron-right", "Next stage"))
        )
        self._status_box = widgets.HTML()
        for box in (self._photo_box, self._model_box, self._followed_box):
            box.style.description_width = "48px"
        self._body = widgets.VBox([])
        t.link((self, "stage"), (stages, "value"))
        self._previous.on_click(lambda _: self.previous())
        self._next.on_click(lambda _: self.next())
        self._upload_box.observe(self._on_upload, "value")
        self._photo_box.observe(partial(self._on_chosen, "photo"), "value")
        self._model_box.observe(partial(self._on_chosen, "model"), "value")
        self._followed_box.observe(partial(self._on_chosen, "followed"), "value")
        row = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="0 8px")
        self.children = [
            widgets.HBox(
                [self._photo_box, self._upload_box, self._model_box, self._followed_box], layout=row
            ),
            widgets.HBox([self._previous, stages, self._next], layout=row),
            self._status_box,
            self._body,
        ]
        self._show_status()

    def _other_photos(self) -> list[str]:
        return [name for name in self._samples if name not in samples()]

    def _offer(self) -> None:
        """The objects and detections that can be followed."""
        found = self.trace.detections
        names = self.trace.class_names
        options: list[tuple[str, tuple[Any, ...]]] = [("nothing", NOTHING)]
        options += [
            (f"object {row} · {name}", ("object", row)) for row, name in enumerate(self._objects())
        ]
        options += [
            (f"detection {row} · {names[label]} {score:.2f}", ("detection", row))
            for row, (label, score) in enumerate(
                zip(found.labels.tolist(), found.scores.tolist(), strict=True)
            )
        ]
        self._quietly(self._followed_box, options=options, value=self.followed or NOTHING)

    def _quietly(self, box: widgets.Widget, **values: Any) -> None:
        """Changes a control without hearing of it."""
        self._quiet, before = True, self._quiet
        for name, value in values.items():
            setattr(box, name, value)
        self._quiet = before

    def _on_chosen(self, trait: str, change: Any) -> None:
        if not self._quiet:
            setattr(self, trait, None if change.new == NOTHING else change.new)

    def _on_upload(self, change: Any) -> None:
        for file in change.new:
            self.upload(file["name"], bytes(file["content"]))

    def _show_status(self, change: Any = None) -> None:
        """What is being computed, or what went wrong, or else the trail: of fixed height."""
        spinner = (
            '<svg width="14" height="14" viewBox="0 0 14 14" style="vertical-align: -2px;">'
            '<circle cx="7" cy="7" r="5" fill="none" stroke="currentColor" stroke-width="2" '
            'stroke-dasharray="20 12"><animateTransform attributeName="transform" type="rotate" '
            'from="0 7 7" to="360 7 7" dur="0.9s" repeatCount="indefinite"/></circle></svg> '
        )
        failed = self.message and not self.busy
        color = "--jp-error-color0, #b3261e" if failed else "--jp-ui-font-color1, inherit"
        self._status_box.value = (
            '<div role="status" style="height: 36px; overflow-y: auto; line-height: 18px; '
            f'font-size: 12px; padding: 0 4px; overflow-wrap: anywhere; color: var({color});">'
            f"{spinner if self.busy else ''}"
            f"{html.escape(self.busy or self.message or self._words)}</div>"
        )


def _own_sample(traced: Trace) -> dict[str, Sample]:
    """The photo of a trace by its name, if it is not a bundled one."""
    if traced.sample is None:
        nothing = torch.zeros((0, *traced.image.shape[1:]), dtype=torch.bool)
        bare = Sample.from_masks(
            image=traced.image.cpu(),
            masks=nothing,
            labels=torch.zeros(0, dtype=torch.int64),
            crowd=torch.zeros(0, dtype=torch.bool),
            class_names=traced.class_names,
            name="photo",
        )
        return {bare.name: bare}
    return {} if traced.sample.name in samples() else {traced.sample.name: traced.sample}


def _lasting(explorer: Explorer) -> dict[str, Any]:
    """The settings of an explorer that mean the same on another photo."""
    return {name: v for name, v in explorer.settings.items() if name not in OF_THE_PHOTO}


def _pick(explorer: Explorer, trail: Trail) -> None:
    """Turns an explorer to what is followed, where it shows one thing at a time."""
    match explorer:
        case MiniMaskExplorer() | AnchorExplorer() if trail.object is not None:
            explorer.object = trail.object
        case ClassificationExplorer() if trail.proposal is not None:
            explorer.proposal = trail.proposal
        case DetectionExplorer() if trail.detection is not None:
            explorer.candidate = int(explorer.detections.rows[trail.detection])
        case MaskExplorer() if trail.detection is not None:
            explorer.detection = trail.detection


def _marks(stage: str, now: Trace, trail: Trail) -> list[BoxLayer | ArrowLayer]:
    """What is followed, as the stage knows it: the object, and the boxes on the way to it."""
    place = STAGES.index(stage)
    truth = now.ground_truth
    steps = [
        (LOOKS[0], None if truth is None else truth.boxes, trail.object, range(0, 7)),
        (LOOKS[1], now.anchors.boxes, trail.anchor, range(1, 4)),
        (LOOKS[2], now.proposals.boxes, trail.proposal, range(3, 6)),
        (LOOKS[3], now.detections.boxes, trail.detection, range(5, 7)),
    ]
    known = [
        (look, boxes[row : row + 1])
        for look, boxes, row, stages in steps
        if boxes is not None and row is not None and place in stages
    ]
    boxes = torch.cat([now.anchors.boxes[:0], *(box for _, box in known)])
    if stage == "masks":
        boxes = now.letterbox.undo_boxes(boxes)
    looks = [look for look, _ in known]
    marks: list[BoxLayer | ArrowLayer] = [
        BoxLayer(
            "followed",
            as_boxes(boxes),
            groups=looks,
            group_index=list(range(len(looks))),
            labels=[look.name for look in looks],
            width=3,
            pickable=False,
        )
    ]
    # The stage moves one box to the other; an object is moved by none.
    moved = [box for look, box in known if look is not LOOKS[0]]
    if stage in ("proposals", "detection") and len(moved) == 2:
        start, end = map(as_boxes, moved)
        group = Group("its step", VERMILLION)
        marks.append(ArrowLayer("its step", start, end, groups=[group], pickable=False))
    return marks
