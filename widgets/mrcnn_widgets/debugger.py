"""All stages on one trace: step through them, follow an object, choose photo and model.

debugger = PipelineDebugger("voc_people")           # or a Trace of a model of one's own
debugger = PipelineDebugger(explain_missed(t, 11))  # at the stage where object 11 was lost
debugger.stage = "classification"
debugger.followed = ("object", 3)                   # highlighted in every stage
debugger.explorer.label = 1                         # the stage that is shown
debugger.trace                                      # as all settings together make it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import traitlets as t
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.data import Sample
from mrcnn_steps.debug.explanation import Explanation
from mrcnn_steps.debug.fates import UNKNOWN_CLASS, Fate
from mrcnn_steps.debug.lineage import Lineage, describe
from mrcnn_steps.debug.remedies import BoxOnly, Remedy, Search
from mrcnn_steps.debug.rerun import SETTINGS, Value
from mrcnn_steps.debug.treatments import Views
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import Trace, trace
from mrcnn_widgets import following
from mrcnn_widgets.anchors import AnchorExplorer
from mrcnn_widgets.chooser import NOTHING, Chooser
from mrcnn_widgets.classification import ClassificationExplorer
from mrcnn_widgets.detection import DetectionExplorer
from mrcnn_widgets.explorer import Explorer
from mrcnn_widgets.flow import Flow
from mrcnn_widgets.masks import MaskExplorer
from mrcnn_widgets.mini_masks import MiniMaskExplorer
from mrcnn_widgets.panel import Panel
from mrcnn_widgets.photos import Photos, first_trace, photo_of, read_photo
from mrcnn_widgets.proposals import ProposalExplorer
from mrcnn_widgets.rpn_targets import RPNTargetExplorer
from mrcnn_widgets.status import Status
from mrcnn_widgets.stepper import KEYS, Stepper
from mrcnn_widgets.verdicts import Rest, Verdicts
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import followed
from mrcnn_widgets.views import verdicts as view

EXPLORERS: dict[str, Callable[..., Explorer]] = {
    explorer.stage: explorer
    for explorer in (
        MiniMaskExplorer,
        AnchorExplorer,
        RPNTargetExplorer,
        ProposalExplorer,
        ClassificationExplorer,
        DetectionExplorer,
        MaskExplorer,
    )
}
# With them a page of 1400 × 900 pixels holds all of it, from the photo's name to the legend.
PHOTO_HEIGHT = 430
# On a smaller one the stage alone fits, from its controls to the photo and the table beside it.
BODY_HEIGHT = "max(min(100vh - 232px, 670px), min(100vh - 130px, 500px))"

# What a photo or a model that somebody else made can raise.
MISHAPS = (OSError, ValueError, TypeError, RuntimeError)
PICK_SOMETHING = "Pick an object or a detection, here or on the photo, to follow it to the end."


class PipelineDebugger(Panel):
    """Previous and next through all explorers on one trace.

    A changed setting flows on: the next stages are computed again from there, when they are shown.

    Args:
        source: a trace, a sample, the name of a bundled photo, or the path of an image file; or an
            explanation of what became of an object, which is then followed, with its verdict.
        model: what `load_model` takes, or a model itself; a trace brings its own.
        **settings: initial values of the traits.

    Traits:
        stage: the stage that is shown, one of `KEYS`.
        photo: the name of a bundled or uploaded photo.
        model: what `load_model` takes; empty for a model that was passed as itself.
        followed: ("object", row) or ("detection", row) that is highlighted in every stage, or None.
        judged: whether the verdicts on all objects and detections are shown.
        message: what went wrong, or empty.
        busy: what is being computed, or empty.
    """

    stage = t.Enum(KEYS, KEYS[0], help="The stage that is shown.")
    photo = t.Unicode(help="The photo that runs through the network.")
    model = t.Unicode(help='"tiny", "coco", or the path of a checkpoint; Enter loads it.')
    followed: Any = t.Tuple(
        t.Enum(("object", "detection")),
        t.Int(min=0),
        default_value=None,
        allow_none=True,
        help="An object or a detection to highlight in every stage.",
    )
    judged = t.Bool(False, help="What became of each object and each detection, and why.")
    message = t.Unicode(help="What went wrong.")
    busy = t.Unicode(help="What is being computed.")

    def __init__(
        self,
        source: Trace | Sample | Explanation | str | Path = "voc_people",
        model: FasterRCNN | str | None = None,
        **settings: Any,
    ) -> None:
        self._iou, self._score = 0.5, None
        if isinstance(source, Explanation):
            settings = {**_opening(source), **settings}
            self._iou, self._score = source.iou, source.score_threshold
            source = source.trace
        self._kept: dict[str, dict[str, Any]] = {}
        self._seen: following.Seen | None = None
        self._viewed: tuple[Trace, Views] | None = None
        self._quiet = False
        self._words = ""
        traced, self._loaded = first_trace(source, model)
        self._flow = Flow(traced, self._announce)
        self._photos = Photos()
        self._shown_photo = self._photos.add(photo_of(traced))
        super().__init__(**{"photo": self._shown_photo, "model": self._loaded, **settings})
        self._build()
        self._visit()
        self.observe(self._visit, "stage")
        self.observe(self._on_photo, "photo")
        self.observe(self._on_model, "model")
        self.observe(self._on_followed, "followed")
        self.observe(self._refresh, "judged")
        self.observe(self._show_status, ["busy", "message"])

    # -- What is shown -----------------------------------------------------------------------

    @property
    def explorer(self) -> Explorer:
        """The explorer of the stage that is shown."""
        return self._flow.explorers[self.stage]

    @property
    def canvas(self) -> Canvas:  # type: ignore[override]
        """The canvas of the stage that is shown."""
        return self.explorer.canvas

    @property
    def explorers(self) -> dict[str, Explorer]:
        """The explorers of the stages that were visited."""
        return dict(self._flow.explorers)

    @property
    def trace(self) -> Trace:
        """The trace as the settings of all stages make it."""
        return self._flow.trace

    @property
    def lineage(self) -> Lineage | None:
        """What belongs to what is followed; of a lost object, what decided its fate."""
        if self.followed is None or self._stranger:
            return None
        verdict = self._verdict
        lost = None
        if verdict is not None and verdict.fate is not None:
            lost = view.lineage_of_fate(self.trace, verdict.fate)
        return lost or following.lineage_of(self.trace, self.followed)

    @property
    def _stranger(self) -> str:
        """What is followed, in words, if it is an object of a class that the model lacks."""
        strangers = {subject: text for text, subject in following.unknown(self.trace)}
        text = strangers.get(self.followed)
        return f"{text}: {UNKNOWN_CLASS}" if text else ""

    def to_png(self) -> bytes:
        """Give the picture of the stage that is shown."""
        return self.explorer.to_png()

    def next(self) -> None:
        """Show the next stage, if there is one."""
        self._stepper.step(1)

    def previous(self) -> None:
        """Show the stage before, if there is one."""
        self._stepper.step(-1)

    # -- Computing ---------------------------------------------------------------------------

    def _announce(self, busy: str) -> None:
        self.busy = busy

    def _visit(self, change: Any = None) -> None:
        """Show the stage, made or brought up to date where needed."""
        self.message = ""
        flowing, explorers = self._flow.before(self.stage), self._flow.explorers
        explorer = explorers.get(self.stage)
        if explorer is None:
            explorer = EXPLORERS[self.stage](flowing, **self._kept.pop(self.stage, {}))
            explorers[self.stage] = explorer
            explorer.layout.flex = "0 0 auto"  # what does not fit scrolls
            explorer.canvas.max_height = PHOTO_HEIGHT
            explorer.canvas.observe(self._on_pick, "selected")
            if explorer.own:  # no names at all would mean all traits
                explorer.observe(self._on_setting, list(explorer.own))
            self._body.children = tuple(explorers.values())
        elif explorer.trace is not flowing:
            explorer.show(flowing)
        for stage, other in explorers.items():
            other.layout.display = None if stage == self.stage else "none"
        self._refresh()

    def _refresh(self, change: Any = None) -> None:
        """Brings all that is said of the trace up to date."""
        if self.comm is None:  # closed meanwhile
            return
        self._find_again()
        self._offer()
        if self.judged:
            self._judge()
        self._verdicts.layout.display = None if self.judged else "none"
        self._highlight()

    def _attempt(self, what: str, act: Callable[[], None]) -> bool:
        """Do something that may fail: the reason becomes a message, and all stays as it was."""
        self.message, self.busy = "", what
        try:
            act()
        except MISHAPS as error:
            self.message = str(error)
        finally:
            self.busy = ""
        return not self.message

    def _adopt(self, traced: Trace, keep: bool) -> None:
        """Show another trace; with `keep`, under the settings that the explorers have now."""
        self.followed = None
        old, self._flow = self._flow, Flow(traced, self._announce)
        self._kept = {**self._kept, **old.lasting()} if keep else {}
        self._body.children = ()
        for explorer in old.explorers.values():
            explorer.close()
        self._visit()

    # -- Photos and models -------------------------------------------------------------------

    def _on_photo(self, change: Any) -> None:
        if change.new != self._shown_photo:
            self._look_at(change.new)
        self._chooser.put("photo", self.photo, self._photos.names)

    def _look_at(self, photo: str) -> None:
        """Show a photo; after a mishap the name is that of the one that is still shown."""
        network, names = self._flow.source.model, self._flow.source.class_names
        if self._attempt(
            f"Running the network on {photo} …",
            lambda: self._adopt(trace(network, self._photos[photo], names), keep=True),
        ):
            self._shown_photo = photo
        self.photo = self._shown_photo

    def _on_model(self, change: Any) -> None:
        """Load the model; after a mishap the field names the one that is still at work."""
        if change.new not in ("", self._loaded):
            self._attempt(
                f"Loading {change.new} and running it on {self.photo} …",
                lambda: self._load(change.new),
            )
        self.model = self._loaded
        self._chooser.put("model", self._loaded)

    def _load(self, name: str) -> None:
        self._adopt(trace(load_model(name), self._photos[self.photo]), keep=False)
        self._loaded = name

    @t.validate("photo")
    def _check_photo(self, change: Any) -> str:
        names = self._photos.names
        if change.value not in names:
            raise t.TraitError(f"photo: expected one of {', '.join(names)}, found {change.value!r}")
        return change.value

    def upload(self, name: str, content: bytes) -> None:
        """Show a photo from the bytes of a file; a file that is no photo becomes a message.

        Args:
            name: of the file.
            content: of the file.
        """
        self._attempt(f"Reading {name} …", lambda: self._read(name, content))

    def _refuse(self, name: str) -> None:
        self.message = (
            f"{name}: too large for a message to the kernel, and the browser cannot make it "
            'smaller. Save it as JPEG, or run PipelineDebugger("path of the file").'
        )

    def _read(self, name: str, content: bytes) -> None:
        title = self._photos.add(read_photo(name, content, self._flow.source.class_names))
        if self.photo == title:  # the same name again, with other content
            self._look_at(title)
        else:
            self.photo = title

    # -- Following ---------------------------------------------------------------------------

    @t.validate("followed")
    def _check_followed(self, change: Any) -> following.Subject | None:
        if change.value is not None:
            kind, row = change.value
            count = following.count(self.trace, kind)
            if row >= count:
                raise t.TraitError(f"followed: there are {count} {kind}s, found {row}")
        return change.value

    def _on_followed(self, change: Any) -> None:
        self._remember()
        self._chooser.put("followed", self.followed)
        self._highlight()

    def _on_pick(self, change: Any) -> None:
        """Give a picked object or detection is followed from now on; a picked anchor is not."""
        subject = None if self._quiet else self.explorer.subject(change.new)
        if subject is not None:
            self.followed = subject

    def _remember(self) -> None:
        now = self.trace
        self._seen = None if self.followed is None else following.look_of(now, self.followed)

    def _find_again(self) -> None:
        """Other settings number the detections anew: follows the same one, or lets go of it."""
        if self._seen is not None and self._seen.trace is not self.trace:
            self.followed = following.find_again(self.trace, self._seen)
            self._remember()

    def _highlight(self) -> None:
        """Mark in the stage that is shown what belongs to what is followed."""
        now, lineage, verdict = self.trace, self.lineage, self._verdict
        fate = None if verdict is None else verdict.fate
        self._quiet = True
        self.explorer.focus(lineage)
        if fate is not None:
            self.explorer.pin(*self.explorer.pinned, *view.layers(self.stage, fate))
        if self._stranger:
            self.explorer.pin(followed.stranger(self.stage, now, self.followed[1]))
        if self.judged:
            self._verdicts.picked = self.followed
        self._quiet = False
        self._stepper.mark(None if fate is None or fate.found else fate.stage)
        nothing = self._stranger or PICK_SOMETHING
        self._words = nothing if lineage is None else describe(now, lineage)
        if verdict is not None and (lineage is None or lineage.detection is None):
            self._words = f"{verdict.name}: {verdict.words}"
        self._show_status()

    # -- Verdicts ----------------------------------------------------------------------------

    @property
    def _verdict(self) -> view.Verdict | None:
        """The verdict on what is followed, where it is of the trace as it is."""
        fresh = self.judged and self._verdicts.trace is self.trace
        return self._verdicts.of(self.followed) if fresh else None

    def _judge(self) -> None:
        if self._verdicts.trace is not self.trace:
            self.busy = "Judging every object and every detection …"
            self._verdicts.show(self.trace)
            self.busy = ""

    def _on_setting(self, change: Any) -> None:
        """Give a changed setting brings the verdicts up to date, once it is at rest."""
        if self.judged:
            self._at_rest()

    def _on_verdict(self, change: Any) -> None:
        if not self._quiet:
            self.followed = change.new

    def _mend(self, fate: Fate) -> tuple[Sequence[Remedy], BoxOnly | None]:
        """Find the remedies for an object; without any, what brings back its box alone."""
        self.busy = f"Trying what would bring object {fate.object} back …"
        judged = self.trace
        seen = self._viewed
        views = seen[1] if seen is not None and seen[0] is judged else None
        search = Search(judged, fate, self._iou, self._score, views)
        self._viewed = judged, search.other_views
        found = *search.settings, *search.views(progress=False)
        self.busy = ""
        return found, search.box_only

    def _use(self, settings: Mapping[str, Value]) -> None:
        """Set the explorers to a remedy, and shows the stage of its last setting."""
        self.message = ""
        for name, value in settings.items():
            place = SETTINGS[name]
            self.stage = place.stage
            try:
                self.explorer.set_trait(place.keyword, value)
            except t.TraitError as error:
                self.message = str(error)

    # -- Controls ----------------------------------------------------------------------------

    def _build(self) -> None:
        helps = {name: trait.help for name, trait in self.traits().items()}
        self._chooser = Chooser(helps, self.set_trait, self.upload, self._refuse)
        self._chooser.put("photo", self.photo, self._photos.names)
        self._chooser.put("model", self.model)
        self._stepper, self._status, self._body = Stepper(), Status(), ipw.VBox([])
        # One height for all stages: what is below does not jump.
        self._body.layout.height, self._body.layout.overflow = BODY_HEIGHT, "hidden auto"
        t.link((self, "stage"), (self._stepper, "stage"))
        self._verdicts = Verdicts(self._mend, self._use, self._iou, self._score)
        self._verdicts.observe(self._on_verdict, "picked")
        self._at_rest = Rest(self._refresh)
        self.children = [self._chooser, self._stepper, self._status, self._verdicts, self._body]
        self._show_status()

    def _offer(self) -> None:
        """Give the objects and detections that can be followed."""
        subjects = [*following.choices(self.trace), *following.unknown(self.trace)]
        options = [("nothing", NOTHING), *subjects]
        self._chooser.put("followed", self.followed, options)
        self._chooser.put("judged", self.judged)

    def _show_status(self, change: Any = None) -> None:
        """Tell what is being computed, or what went wrong, or else the lineage."""
        failed = bool(self.message) and not self.busy
        self._status.show(self.busy or self.message or self._words, bool(self.busy), failed)


def _opening(explanation: Explanation) -> dict[str, Any]:
    """Give the traits that show an explanation: its stage, its object and the verdicts."""
    fate = explanation.fate
    return {"stage": fate.stage, "followed": ("object", fate.object), "judged": True}
