"""The blocks of a page: what is put in comes out, once, and cannot be markup."""

import base64
import re
import zlib

import pytest

from mrcnn_widgets.report.addresses import token
from mrcnn_widgets.report.page import page
from mrcnn_widgets.report.payload import Payload, json_text


def blocks(html: str) -> dict[str, bytes]:
    """What a browser would unpack."""
    found = re.findall(
        r'<script type="application/octet-stream" id="([^"]+)">([^<]*)</script>', html
    )
    return {name: zlib.decompress(base64.b64decode(text)) for name, text in found}


def test_what_is_put_in_comes_out():
    payload = Payload()
    payload.add("one", b"</script><b>")
    payload.add_json("two", {"name": "</script>"})
    assert blocks(payload.html()) == {"one": b"</script><b>", "two": b'{"name":"</script>"}'}
    assert payload.html().count("</script>") == 2


def test_the_same_is_stored_once():
    payload = Payload()
    assert payload.add("photo-1", b"pixels") == "photo-1"
    assert payload.add("photo-2", b"pixels") == "photo-1"
    assert len(payload) == 1


def test_a_name_names_one_thing():
    payload = Payload()
    payload.add("one", b"1")
    with pytest.raises(ValueError, match="'one' is taken"):
        payload.add("one", b"2")


@pytest.mark.parametrize("name", ["", "1", 'a"b', "a b", "A", "<b>"])
def test_a_name_cannot_leave_its_attribute(name):
    with pytest.raises(ValueError, match="block: expected a name"):
        Payload().add(name, b"")


def test_sizes_are_those_in_the_page():
    payload = Payload()
    payload.add("one", bytes(range(256)))
    [text] = re.findall(">([^<]+)</script>", payload.html())
    assert payload.size == len(text)


def test_no_name_turns_the_text_after_it():
    name = "\u202ecup\u2066"
    assert json_text({"name": f"a {name} 0.5"}) == '{"name":"a cup 0.5"}'
    html = page(name, f"<h1>{name}</h1>", Payload(), "photo")
    assert "<title>cup</title>" in html
    assert "<h1>cup</h1>" in html
    assert token("class", name) == "class:cup"


def test_what_was_stored_last_is_forgotten():
    payload = Payload()
    payload.add("one", b"1")
    kept = payload.html()
    payload.add("two", b"2")
    payload.keep_first(1)
    assert payload.html() == kept
    assert payload.add("three", b"2") == "three"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_is_what_browsers_read(value):
    with pytest.raises(ValueError, match="JSON"):
        json_text([value])
