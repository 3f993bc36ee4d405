"""A line that says what is being computed, what went wrong, or what is followed."""

import html

import ipywidgets as ipw

SPINNER = (
    '<svg width="14" height="14" viewBox="0 0 14 14" style="vertical-align: -2px;">'
    '<circle cx="7" cy="7" r="5" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-dasharray="20 12"><animateTransform attributeName="transform" type="rotate" '
    'from="0 7 7" to="360 7 7" dur="0.9s" repeatCount="indefinite"/></circle></svg> '
)


class Status(ipw.HTML):
    """A line of fixed height, so that nothing below it moves. What it says is text, not HTML."""

    def show(self, text: str, busy: bool = False, failed: bool = False) -> None:
        """Say something.

        Args:
            text: whatever it contains.
            busy: whether a wheel turns before it.
            failed: whether it tells of a mishap.
        """
        color = "--jp-error-color0, #b3261e" if failed else "--jp-ui-font-color1, inherit"
        self.value = (
            '<div role="status" style="height: 36px; overflow-y: auto; line-height: 18px; '
            f'font-size: 12px; padding: 0 4px; overflow-wrap: anywhere; color: var({color});">'
            f"{SPINNER if busy else ''}{html.escape(text)}</div>"
        )
