"""A button for each stage, with previous and next."""

from typing import Any

import ipywidgets as ipw
import traitlets as t

from mrcnn_steps.stages import STAGES

KEYS = tuple(stage.key for stage in STAGES)
# The icon of the stage where a lost object ended.
ENDED = "times-circle"


class Stepper(ipw.HBox):
    """Chooses a stage.

    Traits:
        stage: the key of the stage that is chosen.
    """

    stage = t.Enum(KEYS, KEYS[0], help="The stage that is shown.")

    def __init__(self) -> None:
        layout = ipw.Layout(flex_flow="row nowrap", align_items="center", grid_gap="0 8px")
        super().__init__(layout=layout)
        self._stages = ipw.ToggleButtons(
            options=[(stage.title, stage.key) for stage in STAGES],
            value=self.stage,
            tooltips=[stage.sentence for stage in STAGES],
            style={"button_width": "auto"},
        )
        self._previous, self._next = (
            ipw.Button(icon=icon, tooltip=text, layout=ipw.Layout(width="36px", flex="0 0 auto"))
            for icon, text in (("chevron-left", "Previous stage"), ("chevron-right", "Next stage"))
        )
        t.link((self, "stage"), (self._stages, "value"))
        self._previous.on_click(lambda _: self.step(-1))
        self._next.on_click(lambda _: self.step(1))
        self.observe(self._bound, "stage")
        self.children = [self._previous, self._stages, self._next]
        self._bound()

    def step(self, by: int) -> None:
        """Choose another stage.

        Args:
            by: how many stages on; negative goes back. Beyond the ends nothing happens.
        """
        place = KEYS.index(self.stage) + by
        self.stage = KEYS[min(max(place, 0), len(KEYS) - 1)]

    def mark(self, stage: str | None) -> None:
        """Mark the stage where an object was lost, or none."""
        self._stages.icons = [ENDED if key == stage else "" for key in KEYS]

    def _bound(self, change: Any = None) -> None:
        self._previous.disabled = self.stage == KEYS[0]
        self._next.disabled = self.stage == KEYS[-1]
