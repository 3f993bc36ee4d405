"""The picture: what its bars and curves say is what the figures say."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.plot import plot
from tests.debug.funnel.made import a_detection, a_photo, an_object, at_random

# Without the class whose name no font here may have.
PHOTOS = [a_photo(p.image_id, tuple(o for o in p.objects if o.name != "犬")) for p in at_random(40)]
FIGURES = Figures(
    [
        *PHOTOS,
        a_photo(99, (an_object(0), an_object(1, "nms")), (a_detection(0), a_detection(1, "both"))),
    ]
)


def bars(ax) -> list[Rectangle]:
    return [each for each in ax.patches if isinstance(each, Rectangle)]


def texts(ax) -> list[str]:
    return [each.get_text().strip() for each in ax.texts]


def test_a_bar_for_each_gate_that_loses():
    ax = plot(FIGURES).axes[0]
    lossy = [gate for gate in FIGURES.gates if gate.lost]
    assert [bar.get_width() for bar in bars(ax)] == pytest.approx([gate.share for gate in lossy])
    assert texts(ax)[: len(lossy)] == [f"{gate.title}: {gate.lost}" for gate in lossy]
    whiskers = [line.get_xdata() for line in ax.lines]
    assert np.allclose(whiskers, [gate.interval for gate in lossy])


def test_bars_of_sizes_are_whole():
    ax = plot(FIGURES).axes[1]
    whole: dict[float, float] = {}
    for bar in bars(ax):
        whole[bar.get_y()] = whole.get(bar.get_y(), 0) + bar.get_width()
    assert list(whole.values()) == pytest.approx([1, 1, 1])
    [small, medium, _] = FIGURES.slices["size"]
    assert f"small: {small.found} of {small.objects} objects found" in texts(ax)
    assert f"medium: {medium.found} of {medium.objects} objects found" in texts(ax)


def test_a_curve_holds_until_the_next_score():
    objects = (an_object(0), an_object(1))
    detections = (a_detection(0, score=0.8), a_detection(1, "both", score=0.4))
    ax = plot(Figures([a_photo(1, objects, detections)])).axes[2]
    path = ax.lines[0].get_path().vertices
    # Between 0.8 and 0.4 one detection counts, and it is right: P 1, R 1/2.
    assert path.tolist() == [
        [0.8, pytest.approx(2 / 3)],
        [0.4, pytest.approx(2 / 3)],
        [0.4, pytest.approx(0.5)],
    ]


def test_bars_of_reliability():
    ax = plot(FIGURES).axes[3]
    known = [each.precision for each in FIGURES.reliability if each.precision is not None]
    assert [bar.get_height() for bar in bars(ax)] == pytest.approx(known)


@pytest.mark.parametrize(
    "photos", [[], [a_photo(1)], [a_photo(1, (an_object(0, "nms"),))]], ids=str
)
def test_little_can_be_drawn_too(photos):
    assert plot(Figures(photos))._repr_png_()[:4] == b"\x89PNG"


def test_names_are_no_formulas():
    photo = a_photo(1, (an_object(0, name="$x_1^"),), (a_detection(0, name="$x_1^"),))
    figure = plot(Figures([photo]))
    assert figure._repr_png_()
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == ["$x_1^"]
