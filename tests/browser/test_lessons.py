"""Each lesson in a real JupyterLab, as a newcomer goes through it.

Run everything, see no error, find the explorer alive, move a slider, solve an exercise.
"""

import nbformat
import pytest

from mrcnn_steps.commands import lab as lab_command
from mrcnn_steps.exercises import exercises, solution
from tests.browser.conftest import TOKEN, Notebook, wait_until
from tests.lessons.execute import WIDGET, lesson_paths

pytestmark = pytest.mark.browser

# Seconds for all cells of a lesson.
RUN_LIMIT = 300

EXPLORER = "[v for v in Out.values() if type(v).__module__.startswith('mrcnn_widgets.')][-1]"
SETTINGS = f"str(getattr({EXPLORER}, 'explorer', {EXPLORER}).settings)"


class Lesson(Notebook):
    """A lesson open in JupyterLab."""

    def cells(self):
        """The cells as they are in the file."""
        return nbformat.read(self.lab.root / self.name, as_version=4).cells

    def run_to_the_end(self):
        """Runs all cells and saves. Off the screen there are no prompts to look at: ask Python."""
        last = sum(cell.cell_type == "code" for cell in self.cells())
        self.menu("Run", "Run All Cells")
        wait_until(
            lambda: self.has_kernel() and self.python("len(In)") > last,
            RUN_LIMIT,
            lambda: f"{last} cells to run",
        )
        self.save()

    def select(self, index):
        """Moves the selection to a cell, and with it the view."""
        page = self.page
        page.keyboard.press("Escape")
        for _ in self.cells():
            page.keyboard.press("ArrowUp")
        for _ in range(index):
            page.keyboard.press("ArrowDown")
        return page.locator(".jp-Notebook .jp-Cell.jp-mod-active")


@pytest.fixture
def open_lesson(lab, open_page, screenshots):
    """Copies the lessons as the command does, and opens one."""
    lab_command.copy_lessons(lab_command.bundled_lessons(), lab.root)
    opened = []

    def open_lesson(name):
        page = open_page(viewport={"width": 1280, "height": 1100})
        page.goto(f"{lab.url}/lab/workspaces/{name[:-6]}/tree/{name}?reset&token={TOKEN}")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=90_000)
        lesson = Lesson(lab, page, name, screenshots)
        opened.append(lesson)
        wait_until(lesson.has_kernel, 90, lambda: "no kernel")
        return lesson

    yield open_lesson
    for lesson in opened:
        lesson.screenshot(f"end-of-{lesson.name[:-6]}")
        for client in lesson.clients:
            client.stop_channels()
        lesson.page.close()


@pytest.mark.parametrize("path", lesson_paths(), ids=lambda path: path.stem)
def test_a_newcomer_goes_through(path, open_lesson):
    lesson = open_lesson(path.name)
    lesson.run_to_the_end()
    cells = lesson.cells()
    outputs = {i: cell.get("outputs", []) for i, cell in enumerate(cells)}
    assert [o for some in outputs.values() for o in some if o.output_type == "error"] == []

    shown = [
        i
        for i, some in outputs.items()
        if any(WIDGET in o.get("data", {}) for o in some)
        and any(f"{kind}(" in cells[i].source for kind in ("Explorer", "Debugger"))
    ]
    for exercise in exercises(path.stem)[:1]:
        check_solutions_are_folded(lesson, cells)
        answer(lesson, exercise.name)
    check_explorer(lesson, lesson.select(shown[-1]))


def check_solutions_are_folded(lesson, cells):
    """Running everything reveals no solution; a click on one opens that one."""
    shown = [i for i, cell in enumerate(cells) if cell.source.startswith("solution(")]
    cell = lesson.select(shown[0])
    source = cell.locator("details pre")
    source.wait_for(state="attached")
    assert not source.is_visible()
    cell.locator("summary").click()
    source.wait_for(state="visible")
    assert lesson.page.locator("details[open] pre").count() == 1


def check_explorer(lesson, cell):
    """The photo is painted, and a control that is moved arrives in Python."""
    lesson.wait_for_canvas()
    colors = cell.locator(".mrv-stage canvas").first.evaluate(
        """(canvas) => {
            const copy = document.createElement('canvas');
            copy.width = copy.height = 64;
            const context = copy.getContext('2d');
            context.drawImage(canvas, 0, 0, 64, 64);
            return new Set(new Uint32Array(context.getImageData(0, 0, 64, 64).data.buffer)).size;
        }"""
    )
    assert colors > 100
    before = lesson.python(SETTINGS)
    handle = cell.locator(".noUi-handle:visible")
    if handle.count():
        handle.first.focus()
        handle.first.press("ArrowLeft")
    else:  # an explorer without sliders has lists
        cell.locator("select:visible").first.select_option(index=2)
    wait_until(lambda: lesson.python(SETTINGS) != before, 60, lambda: "the control moved nothing")
    lesson.screenshot(f"explorer-of-{lesson.name[:-6]}")


def answer(lesson, name):
    """Writes our solution over the cell of an exercise, and runs it."""
    index = next(i for i, cell in enumerate(lesson.cells()) if f"def {name}(" in cell.source)
    cell = lesson.select(index)
    page = lesson.page
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(f"{solution(name)}\n\ncheck({name})")
    page.keyboard.press("Control+Enter")
    cell.get_by_text(f"{name} is right").wait_for()
