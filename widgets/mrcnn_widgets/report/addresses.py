"""Addresses within a report, as the program reads them: what a link on the summary leads to."""

import re
from urllib.parse import quote

from mrcnn_widgets.report.cases import WRONG, Case, number_of
from mrcnn_widgets.report.html import straight

# As in js/search.js: what needs no quotes.
PLAIN = re.compile(r'[^\s"\\:-][^\s"\\:]*')


def token(key: str, value: str) -> str:
    """Write a token of the gallery's search, such as `class:"traffic light"`.

    Args:
        key: of the search.
        value: any text.

    Returns:
        The token, in quotes where it needs them.
    """
    value = straight(value)
    if PLAIN.fullmatch(value):
        return f"{key}:{value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}:"{escaped}"'


def gallery(*tokens: str) -> str:
    """Give the address of the gallery with a search."""
    query = " ".join(tokens)
    return f"#/gallery?q={quote(query, safe='')}" if query else "#/gallery"


def case_page(case: Case) -> str:
    """Give the address of a case."""
    kind = "detection" if case.verdict == WRONG else "object"
    return f"#/case/{case.photo.image_id}?{kind}={number_of(case)}"
