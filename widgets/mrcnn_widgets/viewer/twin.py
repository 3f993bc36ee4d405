"""The picture that stands in for a widget wherever that does not live.

A widget lives as long as its kernel. A notebook that is opened again, a page made by nbconvert and
GitHub have the outputs of a cell, but no widget. So a widget leaves two outputs, itself and its
twin: a picture, and a line that says how to bring the widget to life. Where the widget lives its
twin is hidden; where it does not, its own output is. Style sheets alone decide: they travel with
the notebook, and no script has to run.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from IPython.display import publish_display_data

from mrcnn_steps.notebook_picture import WHOLE, html_picture

if TYPE_CHECKING:
    from mrcnn_widgets.viewer.canvas import Canvas

WIDGET = "application/vnd.jupyter.widget-view+json"
HOW = "A picture of what was here: run this cell to bring it to life."

# `NAME` is the class of one widget. JupyterLab keeps the views of a kernel that was restarted, and
# says of a model that is gone "Error displaying widget" in the output before the twin.
HIDING = """
body:has(.NAME:not(.jupyter-widgets-disconnected)) .NAME-twin,
body:has(.NAME:not(.jupyter-widgets-disconnected)) .jp-OutputArea-child:has(.NAME-twin),
.jp-OutputArea-child:has(+ .jp-OutputArea-child .NAME-twin):not(:has(.NAME)),
.NAME.jupyter-widgets-disconnected { display: none; }
"""


class StaticView:
    """Leaves a picture after the widget, for where no widget lives.

    Mix it into an ipywidgets class, first among the bases.
    """

    canvas: Canvas
    model_id: str

    def to_png(self) -> bytes:
        """Give the picture to leave: of the canvas, unless a class has more to show."""
        return self.canvas.to_png()

    def in_words(self) -> str:
        """Tell what the picture shows, for those who do not see it."""
        return self.canvas.in_words()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "image/png": base64.b64encode(self.to_png()).decode()}, metadata

    def _ipython_display_(self) -> None:
        data, metadata = self._repr_mimebundle_()
        name = f"mrv-{self.model_id}"
        self.add_class(name)  # type: ignore[attr-defined]
        publish_display_data({WIDGET: data.pop(WIDGET), "text/plain": ""})
        picture = html_picture(base64.b64decode(data["image/png"]), self.in_words(), [WHOLE])
        data["text/html"] = (
            f"<style>{HIDING.replace('NAME', name)}</style>"
            f'<div class="{name}-twin">{picture}<p>{HOW}</p></div>'
        )
        publish_display_data(data, metadata)
