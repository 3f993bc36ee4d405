"""The page: one file with program, style and data, which asks nothing of the network.

The content security policy names program and style by their hashes, so that nothing else runs,
whatever the data says. What can be read without JavaScript is written here as HTML; the program
turns it into the debugger.
"""

import base64
import hashlib
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Literal

from mrcnn_widgets.report.html import straight
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.viewer.join import STYLE as VIEWER_STYLE
from mrcnn_widgets.viewer.join import join

Kind = Literal["photo", "dataset"]

# By which a file is known as a report.
GENERATOR = '<meta name="generator" content="mrcnn-steps">'

HERE = Path(__file__).parent
# A comment on lines of its own, and what a line is indented by: neither does anything.
COMMENT = re.compile(r"^[ \t]*(?:/\*(?:[^*]|\*(?!/))*\*/[ \t]*|//.*)\n", re.MULTILINE)
INDENT = re.compile(r"^[ \t]+|\n(?=\n)", re.MULTILINE)
# Comments beside code: of a type, and to the end of a line.
BESIDE = re.compile(r"/\*\* @type [^`\"\n]*?\*/ ?|(?<=[;,{(\])}]) +// [^`\"\n]*$", re.MULTILINE)
# A line of JavaScript without a template or a regular expression; its texts; and the blanks around
# what needs none.
PLAIN_LINE = re.compile(r"^[^`'/\n]+$", re.MULTILINE)
TEXT = re.compile(r'("(?:[^"\\]|\\.)*")')
BLANKS = re.compile(r" ?(=>|===|!==|&&|\|\||[=?:,;{}]) ?")
BLANKS_OF_STYLES = re.compile(r" ?([{};,]) ?|(:) ")


def page(title: str, summary: str, payload: Payload, kind: Kind) -> str:
    """Write the page.

    Args:
        title: of the page; any text.
        summary: HTML of what is read first, with or without JavaScript. Whoever makes it escapes
            what comes from data.
        payload: the data; the program starts from its block "report".
        kind: of report; names the program, `js/KIND.js`.

    Returns:
        HTML.
    """
    script, style = program(kind), styles()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
{GENERATOR}
<meta name="referrer" content="no-referrer">
<title>{straight(escape(title))}</title>
<style>{style}</style>
</head>
<body>
<main id="summary">
{straight(summary)}
<noscript><p class="note">In a browser that runs JavaScript this page is a debugger: all stages with
everything they computed, to zoom into, point at and follow.</p></noscript>
</main>
{payload.html()}
<script type="module">{script}</script>
</body>
</html>
"""


@cache
def program(kind: Kind) -> str:
    """Join the program of a kind of report with the viewer, without comments and blanks."""
    return narrow(compact(join(HERE / "js" / f"{kind}.js")))


@cache
def styles() -> str:
    """Join the style sheets of the viewer and of the report."""
    own = [(HERE / name).read_text(encoding="utf-8") for name in ("report.css", "dataset.css")]
    return BLANKS_OF_STYLES.sub(r"\1\2", compact("\n".join([VIEWER_STYLE, *own])))


def compact(text: str) -> str:
    """Leave out comments on lines of their own, and what lines are indented by.

    Args:
        text: JavaScript or CSS without texts of several lines.

    Returns:
        What does the same.
    """
    return INDENT.sub("", COMMENT.sub("", text))


def narrow(script: str) -> str:
    """Leave out comments beside code, and the blanks of lines that are easy to read.

    Args:
        script: JavaScript, made by `compact`.

    Returns:
        What does the same.
    """

    def without_blanks(line: re.Match[str]) -> str:
        parts = TEXT.split(line[0])
        parts[::2] = [BLANKS.sub(r"\1", part) for part in parts[::2]]
        return "".join(parts)

    return PLAIN_LINE.sub(without_blanks, BESIDE.sub("", script))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
