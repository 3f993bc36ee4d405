"""Every figure is a page that can be drawn: of any photo, in any session, with any name."""

import io
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import matplotlib.style
import pytest
from PIL import Image

from mrcnn_steps import draw, fonts, trace
from mrcnn_steps.data import Sample
from mrcnn_steps.draw import style
from mrcnn_steps.model.network import tiny
from tests.draw.scenes import (
    blobs,
    check_labels,
    images,
    labels_of,
    lively,
    small_faster_rcnn,
    written,
)

FIGURES = {name: getattr(draw, name) for name in draw.__all__ if name.startswith("figure_")}


# A photo, and how its model differs from the usual one.
CASES = {
    "no annotations": (lambda: blobs(1, 90, 120).image, {}),
    "no detections": (lambda: blobs(2, 80, 60), {"score_thresh": 1.0}),
    "one object": (lambda: blobs(1, 300, 200), {}),
    "300 objects": (lambda: blobs(300, 200, 256), {}),
    "40 × 30": (lambda: blobs(2, 30, 40), {}),
    "6000 × 4000": (lambda: blobs(1, 4000, 6000), {"detections_per_img": 2}),
    "panorama": (lambda: blobs(1, 20, 900), {}),
    "Faster R-CNN": (lambda: blobs(3, 120, 90), None),
}


@pytest.fixture(scope="module", params=CASES)
def odd(request, model):
    """A photo or model that is out of the ordinary."""
    photo, changes = CASES[request.param]
    if changes is None:
        return trace(lively(small_faster_rcnn()), photo())
    usual = {name: getattr(model.roi_heads, name) for name in changes}
    for name, value in changes.items():
        setattr(model.roi_heads, name, value)
    found = trace(model, photo())
    for name, value in usual.items():
        setattr(model.roi_heads, name, value)
    return found


def test_the_network_plan_leads_the_feature_maps_to_both_roi_aligns(traced):
    [ax] = draw.figure_network(traced).axes
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    ends = sorted(arrow.xy[1] for arrow in arrows if arrow.xyann[0] < 0)
    aligns = sorted(text.get_position()[1] for text in ax.texts if text.get_text() == "RoIAlign")
    assert len(ends) == len(aligns) == 2
    assert all(abs(end - align) < 30 for end, align in zip(ends, aligns, strict=True))


class TestEveryFigure:
    @pytest.mark.parametrize("name", FIGURES)
    def test_is_a_page_of_900_pixels_with_a_title(self, traced, name):
        figure = FIGURES[name](traced)
        width, height = Image.open(io.BytesIO(figure._repr_png_())).size
        assert width == 900
        assert height < 1000
        assert figure.texts[0].get_text() in figure.heading
        if name != "figure_network":
            check_labels(figure)

    @pytest.mark.parametrize("name", FIGURES)
    def test_copes_with_any_photo(self, odd, name):
        figure = FIGURES[name](odd)
        file = io.BytesIO()
        figure.savefig(file, dpi=40)
        assert Image.open(file).size[0] == 360
        assert not any(text.get_parse_math() for text in written(figure) if "$" in text.get_text())
        # Pictures of large photos are small: 6000 × 4000 pixels are never handed to matplotlib.
        assert all(max(shown.get_array().shape) <= 2000 for shown in images(figure))

    def test_does_not_depend_on_the_style_of_the_session(self, traced):
        plain = draw.figure_letterbox(traced)._repr_png_()
        with matplotlib.style.context(["dark_background", "ggplot"]):
            assert draw.figure_letterbox(traced)._repr_png_() == plain

    def test_can_be_drawn_in_threads(self, traced):
        def png(_):
            return draw.figure_sample(traced)._repr_png_()

        with ThreadPoolExecutor(2) as pool:
            assert len(set(pool.map(png, range(4)))) == 1

    def test_needs_no_pyplot(self, traced):
        from matplotlib import _pylab_helpers

        draw.figure_sample(traced)
        assert not _pylab_helpers.Gcf.figs


HOSTILE = (
    "background",
    r"$\frac{$",
    "<b>bold</b>",
    "two\nlines",
    "a name that is very much longer than any label ever should be",
)


class TestText:
    def test_a_category_name_is_text(self, model):
        hostile = blobs(4, 120, 160, HOSTILE)
        found = trace(lively(tiny(HOSTILE, image_size=256)), hostile)
        for draw_figure in FIGURES.values():
            draw_figure(found).savefig(io.BytesIO(), dpi=40)
        names = {text.get_text() for text in labels_of(draw.figure_sample(found).axes[0])}
        assert names == {r"$\frac{$", "<b>bold</b>", "two lines", "a name that is very much lo…"}

    def test_a_sample_may_be_called_anything(self):
        photo = blobs(1, 50, 60)
        figure = draw.figure_sample(Sample(**vars(photo) | {"name": r"$\frac{$"}))
        assert figure.texts[0].get_text() == r"$\frac{$: 1 object"
        assert figure._repr_png_()

    def test_a_name_in_another_script_is_legible_or_told_of(self):
        """One warning in words; matplotlib has one for each letter, and a warning is an error."""
        photo = blobs(1, 50, 60)
        figure = draw.figure_sample(Sample(**vars(photo) | {"name": "Мяч, ελιά"}))
        assert figure.texts[0].get_text() == "Мяч, ελιά: 1 object"
        assert figure._repr_png_()
        # Of the private use area, which no font has.
        with pytest.warns(UserWarning, match="a\ue123: no font here has \ue123; install one"):
            figure = draw.figure_sample(Sample(**vars(photo) | {"name": "a\ue123"}))
        assert figure.texts[0].get_text() == "a□: 1 object"
        assert figure._repr_png_()

    def test_letters_come_from_whatever_font_has_them(self, monkeypatch):
        """STIX, which matplotlib brings along, has letters that its usual font has not."""
        families = ("DejaVu Sans", "STIXGeneral")
        monkeypatch.setattr(fonts, "FAMILIES", families)
        monkeypatch.setattr(style, "FAMILIES", families)
        fonts._letters.cache_clear()
        photo = blobs(1, 50, 60)
        figure = draw.figure_sample(Sample(**vars(photo) | {"name": "\u2a3f"}))
        assert figure.texts[0].get_text() == "\u2a3f: 1 object"
        assert figure._repr_png_()
        fonts._letters.cache_clear()
