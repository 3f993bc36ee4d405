"""A button that brings a photo from the user's machine, however large its file is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

HELP = (
    "A photo of your own. One of more than 8 MB is made smaller in the browser first: a message to "
    "the kernel holds 10 MB."
)


class Upload(anywidget.AnyWidget):
    """A button that asks for a photo.

    Args:
        receive: hears of the name and the bytes of a file.
        refuse: hears of the name of a file that is too large and that the browser cannot read.
    """

    _esm = Path(__file__).with_name("upload.js").read_text(encoding="utf-8")
    help = t.Unicode(HELP).tag(sync=True)

    def __init__(
        self, receive: Callable[[str, bytes], None], refuse: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._receive, self._refuse = receive, refuse
        self.on_msg(self._on_file)

    def _on_file(self, widget: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        """Pass a file on; the button waits until that is done."""
        name = str(content.get("name"))
        try:
            if buffers:
                self._receive(name, bytes(buffers[0]))
            else:
                self._refuse(name)
        finally:
            self.send({})
