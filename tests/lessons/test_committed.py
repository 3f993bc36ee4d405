"""The lessons as they are committed: outputs that belong to their code, and read well anywhere."""

import html
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from PIL import Image

from mrcnn_steps.exercises import exercises
from tests.lessons.execute import (
    MAX_BYTES,
    WIDGET,
    code_hash,
    lesson_paths,
    pictures_in,
    stored_hash,
)

# Headings of every lesson about a stage, in this order; each is the beginning of a heading.
HEADINGS = ("Why", "See", "How", "Your turn", "What breaks it", "Summary")


@pytest.fixture(params=lesson_paths(), ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    return found


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def text(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_outputs_are_those_of_the_code(notebook):
    assert stored_hash(notebook) == code_hash(notebook), (
        "the code has changed since it was run: python -m tests.lessons.execute"
    )
    numbers = [cell.execution_count for cell in code_cells(notebook)]
    assert numbers == list(range(1, len(numbers) + 1)), "not run from top to bottom"


def test_no_output_is_an_error_or_a_warning(notebook):
    assert [o for o in outputs(notebook) if o.output_type == "error"] == []
    assert [o.text for o in outputs(notebook) if o.get("name") == "stderr"] == []


def test_is_small(path):
    assert path.stat().st_size < MAX_BYTES


def test_shows_pictures_where_no_widget_can_run(notebook):
    assert "widgets" not in notebook.metadata
    pictures = []
    for output in outputs(notebook):
        data = output.get("data", {})
        assert WIDGET not in data
        assert "image/png" not in data, "a picture without words"
        page = data.get("text/html", "")
        assert page.count("<img ") == len(re.findall(r'<img alt="[^"]{10,}" ', page))
        pictures += [Image.open(io.BytesIO(found)) for found in pictures_in(page)]
    assert len(pictures) >= 5
    for picture in pictures:
        assert picture.width >= 100
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 3, "a blank picture"


def test_leaves_nothing_of_the_machine_it_ran_on(path):
    found = re.findall(r"/(?:work|home|root|tmp)/\w+|site-packages", path.read_text())
    assert found == []


def test_first_cell_says_how_to_install_what_is_missing_and_installs_nothing(notebook):
    """The name is not ours in the registry: anyone could register it there."""
    first = code_cells(notebook)[0].source
    assert 'find_spec("mrcnn_steps") is None' in first
    assert "`pip install .` in the folder of its source" in first
    assert not [cell for cell in code_cells(notebook) if re.search(r"^\s*[%!]", cell.source, re.M)]
    assert code_cells(notebook)[0].outputs == []


def test_has_the_parts_of_a_lesson(path, notebook):
    headings = re.findall(r"^## (?:\d+\.? )?(.+)$", text(notebook), flags=re.MULTILINE)
    if path.stem.startswith("00"):
        assert headings[-1].startswith("Summary")
        return
    places = [
        next((i for i, heading in enumerate(headings) if heading.startswith(part)), None)
        for part in HEADINGS
    ]
    assert None not in places, dict(zip(HEADINGS, places, strict=True))
    assert places == sorted(places)


def test_every_question_has_its_answer_folded_away(notebook):
    written = text(notebook)
    assert written.count("<details>") == written.count("</details>") >= 2
    # Without the empty line after it, Markdown inside is shown as it is typed.
    assert re.findall(r"</summary>\n(?!\n)", written) == []


def test_offers_each_of_its_exercises(path, notebook):
    code = "\n".join(cell.source for cell in code_cells(notebook))
    for exercise in exercises(path.stem):
        assert f"def {exercise.name}(" in code
        assert f"check({exercise.name})" in code
        assert f'solution("{exercise.name}")' in code


def test_solutions_open_on_demand_only(path, notebook):
    """Running a lesson shows no solution, in JupyterLab or on a page made by nbconvert."""
    shown = [cell for cell in code_cells(notebook) if cell.source.startswith("solution(")]
    assert len(shown) == len(exercises(path.stem))
    for cell in shown:
        [output] = cell.outputs
        assert output.data["text/html"].startswith("<details><summary>")
    others = [cell for cell in code_cells(notebook) if cell not in shown]
    assert not [cell.source for cell in others if " is right" in str(cell.outputs)]


def test_a_page_made_by_nbconvert_shows_no_solution_either(path, notebook):
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(notebook)
    unfolded = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    for exercise in exercises(path.stem):
        source = html.escape(exercise.source.strip(), quote=False)
        assert source in page.replace("&quot;", '"')
        assert source not in unfolded.replace("&quot;", '"')


@pytest.mark.parametrize("exercise", exercises(), ids=lambda e: e.name)
def test_a_lesson_says_how_hard_and_how_long_each_exercise_is(exercise):
    lesson = next(path for path in lesson_paths() if path.stem == exercise.lesson)
    cells = [cell.source for cell in nbformat.read(lesson, as_version=4).cells]
    at = next(i for i, cell in enumerate(cells) if f"check({exercise.name})" in cell)
    rating = str(exercise.rating)
    assert f"*{rating[0].upper()}{rating[1:]}.*" in "".join(cells[max(at - 2, 0) : at])


def test_the_lessons_explain_every_line_of_the_table():
    """Each tensor that lesson 0 lists is named in the text, or shown, in one of lessons 1 to 7."""
    tour, *stages = (nbformat.read(path, as_version=4) for path in lesson_paths()[:8])
    [table] = [c.outputs[0].text for c in code_cells(tour) if c.source == "t.table()"]
    names = re.findall(r"^(\w+) +shape:", table, re.MULTILINE)
    assert len(names) > 25
    told = "\n".join(cell.source for notebook in stages for cell in notebook.cells)
    assert [name for name in names if not re.search(rf'[`"]{name}[`"]', told)] == []
