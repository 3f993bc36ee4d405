"""The page around the data: one file, whose policy lets nothing run but its own program."""

import base64
import hashlib
import re

import pytest

from mrcnn_widgets.report.page import compact, narrow, page, program, styles
from mrcnn_widgets.report.payload import Payload
from tests.widgets.test_js import node

# Of program and style, the viewer included.
MOST_BYTES = 120_000
KINDS = ("photo", "dataset")


@pytest.fixture(scope="module", params=KINDS)
def html(request) -> str:
    payload = Payload()
    payload.add_json("report", {})
    return page("<b>title", "<h1>summary</h1>", payload, request.param)


def digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_names_program_and_style_and_nothing_else(html):
    [policy] = re.findall('http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    [script] = re.findall('<script type="module">(.*?)</script>', html, flags=re.DOTALL)
    [style] = re.findall("<style>(.*?)</style>", html, flags=re.DOTALL)
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'{digest(script)}'",
        "style-src": f"'{digest(style)}'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_nothing_in_it_asks_the_network(html):
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    code = re.sub(r"/\*.*?\*/", "", html, flags=re.DOTALL)
    words = (
        r"url\(|@import|\bimport\b|(?<!async )(?<!\.)\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon"
    )
    assert not re.findall(words, code)


def test_no_element_has_a_handler_or_a_style_of_its_own(html):
    head = re.sub("<(script|style).*?</\\1>", "", html, flags=re.DOTALL)
    assert not re.findall(r"<[^>]* (?:on\w+|style)=", head)


def test_the_title_is_text(html):
    assert "<title>&lt;b&gt;title</title>" in html


@pytest.mark.parametrize("kind", KINDS)
def test_program_and_style_are_small(kind):
    assert len(program(kind).encode()) + len(styles().encode()) <= MOST_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_is_a_module_that_no_text_of_its_own_can_end(kind, tmp_path):
    """Two modules that use one name at their top level are a syntax error here."""
    file = tmp_path / "program.mjs"
    file.write_text(program(kind), encoding="utf-8")
    done = node("--check", file)
    assert done.returncode == 0, done.stderr
    assert "</script" not in program(kind)
    assert "</style" not in styles()


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_never_makes_markup_of_text(kind):
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    assert not re.findall(words, program(kind))


class TestCompact:
    def test_leaves_out_comments_and_indentation(self):
        text = "/* a\n b */\nf(\n  // why\n  1, // stays\n\n);\n"
        assert compact(text) == "f(\n1, // stays\n);\n"

    def test_keeps_code_after_a_comment_and_comments_in_code(self):
        text = "  /** @type {a} */ (b);\nc /* d */;\n/* e */ f;\n"
        assert compact(text) == "/** @type {a} */ (b);\nc /* d */;\n/* e */ f;\n"

    def test_blanks_that_do_nothing_are_left_out(self):
        text = 'if (a === b) { c = { d: "e = f; g" }; }  // why\nh(/** @type {i} */ (j), k);\n'
        assert narrow(text) == 'if (a===b){c={d:"e = f; g"};}\nh((j),k);\n'

    def test_lines_with_templates_and_expressions_stay(self):
        text = "a = `b = ${c}`;\nd = /e = f/;\ng = 'h = i'; // j\n"
        assert narrow(text) == "a = `b = ${c}`;\nd = /e = f/;\ng = 'h = i';\n"

    def test_no_module_has_a_text_of_several_lines(self):
        """Whose lines would lose what they are indented by."""
        from mrcnn_widgets.report.page import HERE

        for folder in (HERE / "js", HERE.parent / "viewer" / "js"):
            for file in folder.glob("*.js"):
                code = re.sub(r"/\*.*?\*/|//.*", "", file.read_text())
                for line in code.splitlines():
                    assert line.count("`") % 2 == 0, f"{file.name}: {line}"
