"""The row of controls that says what the debugger looks at: photo, model, and what to follow."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as ipw

from mrcnn_widgets.upload import Upload

# A drop-down list shows the value None as a blank.
NOTHING = ()


class Chooser(ipw.HBox):
    """Photo, upload, model, what to follow, and whether the verdicts are shown.

    Args:
        helps: a tooltip for "photo", "model", "followed" and "judged".
        choose: hears which of them was set to what, by a person.
        upload: hears of the name and the bytes of a file.
        refuse: hears of the name of a file that cannot be uploaded.
    """

    def __init__(
        self,
        helps: Mapping[str, str],
        choose: Callable[[str, Any], None],
        upload: Callable[[str, bytes], None],
        refuse: Callable[[str], None],
    ) -> None:
        layout = ipw.Layout(flex_flow="row wrap", align_items="center", grid_gap="0 8px")
        super().__init__(layout=layout)
        self._choose, self._quiet = choose, False
        self.boxes: dict[str, Any] = {
            "photo": ipw.Dropdown(description="photo", layout={"width": "195px"}),
            "model": ipw.Combobox(
                options=["tiny", "coco"],
                description="model",
                placeholder="the trace's own",
                continuous_update=False,
                layout={"width": "195px"},
            ),
            "followed": ipw.Dropdown(description="follow", layout={"width": "275px"}),
            "judged": ipw.ToggleButton(
                description="Verdicts", icon="list", layout={"width": "104px"}
            ),
        }
        for trait, box in self.boxes.items():
            box.tooltip = helps[trait]
            box.observe(partial(self._on_chosen, trait), "value")
            if hasattr(box.style, "description_width"):
                box.style.description_width = "48px"
        self.upload_box = Upload(upload, refuse)
        self.upload_box.layout.width = "auto"
        photo, *others = self.boxes.values()
        self.children = [photo, self.upload_box, *others]

    def put(self, trait: str, value: Any, options: Sequence[Any] | None = None) -> None:
        """Show what a trait is set to; nobody hears of it.

        Args:
            trait: one of those that the tooltips name.
            value: of it; None for nothing that is followed.
            options: to choose from; as they are without.
        """
        box, self._quiet, before = self.boxes[trait], True, self._quiet
        if options is not None:
            box.options = options
        box.value = NOTHING if value is None else value
        self._quiet = before

    def _on_chosen(self, trait: str, change: Any) -> None:
        if not self._quiet:
            self._choose(trait, None if change.new == NOTHING else change.new)
