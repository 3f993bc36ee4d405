"""What the settings of all stages together make of a trace: nothing is computed twice."""

from collections.abc import Callable
from typing import Any

from mrcnn_steps.tracing import Trace
from mrcnn_widgets.explorer import Explorer
from mrcnn_widgets.stepper import KEYS

# Settings that name a row or a place of one photo: they mean nothing on the next.
OF_THE_PHOTO = ("object", "label", "index", "point")


class Flow:
    """A trace, and the explorers whose settings change it, stage by stage.

    Args:
        trace: as the model's own settings make it.
        announce: told what takes a while, and then "" when it is done.

    Attributes:
        source: that trace.
        explorers: by stage, those that were visited.
    """

    def __init__(self, trace: Trace, announce: Callable[[str], None]) -> None:
        self.explorers: dict[str, Explorer] = {}
        self.source, self._announce = trace, announce
        # By stage: the trace that it saw, its changed settings, and what they made of it.
        self._made: dict[str, tuple[Trace, dict[str, Any], Trace]] = {}

    @property
    def trace(self) -> Trace:
        """The trace as the settings of all stages make it."""
        return self._through(KEYS)

    def before(self, stage: str) -> Trace:
        """Give the trace that a stage sees: as the settings of the stages before make it."""
        return self._through(KEYS[: KEYS.index(stage)])

    def lasting(self) -> dict[str, dict[str, Any]]:
        """Give the settings of every explorer that mean the same on another photo."""
        return {
            stage: {n: v for n, v in explorer.settings.items() if n not in OF_THE_PHOTO}
            for stage, explorer in self.explorers.items()
        }

    def _through(self, stages: tuple[str, ...]) -> Trace:
        flowing = self.source
        for stage in stages:
            if stage in self.explorers:
                flowing = self._onward(self.explorers[stage], flowing)
        return flowing

    def _onward(self, explorer: Explorer, before: Trace) -> Trace:
        """Tell what a stage makes of a trace, computed once for the same settings."""
        changes = {name: explorer.settings[name] for name in explorer.changed}
        if not changes:
            return before
        known = self._made.get(explorer.stage)
        if known is None or known[0] is not before or known[1] != changes:
            self._announce("Running the network again from here on …")
            known = before, changes, explorer.onward(before)
            self._made[explorer.stage] = known
            self._announce("")
        return known[2]
