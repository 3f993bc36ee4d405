"""What `python -m tests.lessons.execute` leaves behind."""

import io

import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from PIL import Image

from mrcnn_steps.notebook_picture import html_picture
from tests.lessons import execute


def png(width=300, height=200, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def notebook(*codes, data=None):
    cells = [nbformat.v4.new_markdown_cell("# Text"), *map(nbformat.v4.new_code_cell, codes)]
    if data is not None:
        cells[1].outputs = [nbformat.v4.new_output("display_data", data)]
    return nbformat.v4.new_notebook(cells=cells)


def test_the_hash_is_that_of_the_code_alone():
    before = execute.code_hash(notebook("a = 1", "b = 2"))
    changed_text = notebook("a = 1", "b = 2")
    changed_text.cells[0].source = "# Another text"
    assert execute.code_hash(changed_text) == before
    assert execute.code_hash(notebook("a = 1", "b = 3")) != before
    assert execute.code_hash(notebook("a = 1b = 2")) != before
    assert execute.stored_hash(notebook("a = 1")) is None


def page(picture):
    return html_picture(picture, "<noise>")


def test_tidy_keeps_the_picture_with_its_words_and_drops_the_widget():
    book = notebook("viewer", data={"text/html": page(b"a"), "image/png": "AAAA"})
    widget = {execute.WIDGET: {"model_id": "1"}, "text/plain": ""}
    book.cells[1].outputs.insert(0, nbformat.v4.new_output("display_data", widget))
    book.cells[1].outputs.append(nbformat.v4.new_output("stream", text="said"))
    book.cells[1].metadata = {"execution": {"shell.execute_reply": "2026"}, "tags": ["solutions"]}
    book.metadata.widgets = {"state": {}}
    execute.tidy(book)
    picture, said = book.cells[1].outputs
    assert picture.data == {"text/html": page(b"a")}
    assert said.text == "said"
    assert book.cells[1].metadata == {"tags": ["solutions"]}
    assert set(book.metadata) == {"kernelspec", "language_info", "mrcnn_steps"}
    assert execute.stored_hash(book) == execute.code_hash(book)


def test_pictures_lose_colors_until_the_notebook_is_small():
    book = notebook("draw", data={"text/html": f"<p>{page(png())}</p>"})
    generous, tight = len(nbformat.writes(book)), 60_000
    execute.shrink_pictures(book, generous)
    assert len(nbformat.writes(book)) < generous
    execute.shrink_pictures(book, tight)
    assert len(nbformat.writes(book)) < tight
    text = book.cells[1].outputs[0].data["text/html"]
    assert '<img alt="&lt;noise&gt;"' in text
    [picture] = execute.pictures_in(text)
    assert Image.open(io.BytesIO(picture)).size == (300, 200)


def test_a_notebook_that_stays_too_large_is_refused():
    book = notebook("draw", data={"text/html": page(png())})
    with pytest.raises(ValueError, match="show fewer"):
        execute.shrink_pictures(book, 1000)


def test_runs_in_place(tmp_path):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(notebook("print('first')\nprint('second')"), path)
    assert execute.execute(path) > 0
    found = nbformat.read(path, as_version=4)
    assert [output.text for output in found.cells[1].outputs] == ["first\nsecond\n"]
    assert execute.stored_hash(found) == execute.code_hash(found)
    assert [file.name for file in tmp_path.iterdir()] == ["lesson.ipynb"]


def test_a_lesson_that_fails_stays_as_it_was(tmp_path):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(notebook("1 / 0"), path)
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute.execute(path)
    assert path.read_bytes() == before


def test_lessons_are_named_by_their_beginnings():
    everything = execute.lesson_paths()
    assert [path.name[:2] for path in execute.lesson_paths("00", "01")] == ["00", "01"]
    assert everything == sorted(everything)
    with pytest.raises(ValueError, match="no lesson begins with '99'"):
        execute.lesson_paths("99")
