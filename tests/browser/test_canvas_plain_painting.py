"""The viewer in a plain page, as the HTML report uses it: what is painted, and where."""

from pathlib import Path

import numpy as np
import pytest

from mrcnn_steps.palette import palette
from mrcnn_widgets.viewer import join
from mrcnn_widgets.viewer.canvas import (
    NEGATIVE,
    POSITIVE,
    ArrowLayer,
    BoxLayer,
    Canvas,
    Category,
    GridLayer,
    Group,
    MaskLayer,
    PointLayer,
)
from tests.browser.conftest import (
    HOSTILE,
    ORANGE,
    box_of,
    next_frame,
    plain_page,
    wait_for_viewer,
)
from tests.browser.plain import (
    contrast,
    css_rgb,
    hex_rgb,
    near,
    pixel,
    place,
    settle,
    state,
)
from tests.widgets.examples import check_shades, scattered_boxes

pytestmark = pytest.mark.browser

JS = Path(join.__file__).with_name("js")


def test_native_modules_show_the_same_as_the_joined_text(open_plain, open_page, nested):
    """Whoever develops the viewer loads its modules as they are."""
    joined, native = open_plain(nested), open_page()

    def serve(route):
        name = route.request.url.rsplit("/", 1)[1]
        if name == "page":
            script = 'import { mount } from "/index.js";'
            route.fulfill(body=plain_page(nested, 900, script), content_type="text/html")
        else:
            route.fulfill(body=(JS / name).read_text(), content_type="text/javascript")

    native.route("http://viewer.test/**", serve)
    native.goto("http://viewer.test/page")
    wait_for_viewer(native)
    for page in (joined, native):
        page.mouse.move(*place(page, 150, 120))
        page.locator(".mrv-card").wait_for()
        next_frame(page)
    shots = [page.screenshot(animations="disabled") for page in (native, joined)]
    assert shots[0] == shots[1]


class TestPainting:
    def test_photo_and_boxes_are_where_they_belong(self, open_plain, nested):
        page = open_plain(nested)
        assert near(pixel(page, 30, 30), (90, 90, 90))
        assert near(pixel(page, 100, 80), ORANGE)
        # x2, y2 are exclusive: the outline lies on the last pixels inside.
        blue = hex_rgb(POSITIVE.color)
        for x, y in [(160, 100.2), (160, 139.6), (140.2, 120), (179.6, 120)]:
            assert pixel(page, x, y) == blue
        assert pixel(page, 160, 141.5) != blue

    def test_every_kind_of_layer(self, open_plain, nested, screenshots):
        disk = np.hypot(*np.mgrid[-120:120, -160:160]) < 50
        nested.update(
            layers=[
                GridLayer("cells", (32, 32), (7, 10), cells=[(0, 1)]),
                MaskLayer("masks", [disk], labels=[HOSTILE], outline=True),
                MaskLayer("soft", [np.linspace(0, 1, 784).reshape(28, 28)], [[250, 10, 310, 70]]),
                ArrowLayer("refined", [[20, 150, 60, 200]], [[30, 160, 90, 220]]),
                PointLayer("samples", [[300, 200]], groups=[Group("samples", "#F0E442")]),
            ]
        )
        page = open_plain(nested)
        page.screenshot(path=screenshots / "plain-kinds.png")
        inside = 0.6 * np.array(pixel_of(nested, 160, 120)) + 0.4 * np.array(hex_rgb(palette(1)[0]))
        assert near(pixel(page, 165, 125), inside)
        assert near(pixel(page, 300, 200), hex_rgb("#F0E442"))
        assert near(pixel(page, 48, 16), 0.55 * 90 + 0.45 * np.array([255, 255, 255]))
        assert pixel(page, 308, 68)[2] > pixel(page, 308, 14)[2] + 50

    def test_thousands_of_boxes_are_shaded_by_density(self, open_plain):
        # 3000 outlines in a block on the left, one in three of them also on the right.
        left = np.tile([[10, 10, 50, 50]], (3000, 1))
        right = np.tile([[60, 10, 90, 50]], (1000, 1))
        canvas = Canvas(
            np.zeros((100, 100, 3), np.uint8),
            [BoxLayer("many", np.concatenate([left, right]), groups=[Group("many", "#FFFFFF")])],
        )
        page = open_plain(canvas)
        more, less = pixel(page, 30, 10.1)[0], pixel(page, 75, 10.1)[0]
        assert more > less > 30
        assert pixel(page, 30, 30) == (0, 0, 0)

    @pytest.mark.parametrize("scale", [1, 2])
    def test_density_agrees_with_counting(self, open_plain, scale):
        boxes = scattered_boxes()
        layer = BoxLayer("many", boxes, groups=[Group("many", "#FFFFFF")])
        canvas = Canvas(np.zeros((100, 100, 3), np.uint8), [layer], max_height=100 * scale)
        page = open_plain(canvas)
        painted = page.evaluate(
            """() => {
                const { base } = viewer.frames;
                const ctx = base.getContext('2d');
                return [...ctx.getImageData(0, 0, base.width, base.height).data];
            }"""
        )
        shape = 100 * scale, 100 * scale, 4
        check_shades(np.array(painted).reshape(shape)[..., 0], boxes * scale)

    def test_text_of_the_data_is_never_html(self, open_plain, nested):
        layers = [
            BoxLayer(HOSTILE.replace("/", ""), [[0, 0, 50, 50]], labels=[HOSTILE]),
            BoxLayer("x", [[5, 5, 9, 9]], groups=[Group(HOSTILE)], fields={HOSTILE: [1]}),
        ]
        nested.update(layers=[*layers, *nested.layers], title=HOSTILE)
        page = open_plain(nested)
        page.mouse.move(*place(page, 100, 80))
        page.locator(".mrv-card", has_text=HOSTILE).wait_for()
        assert page.locator(".mrv img").count() == 0
        assert page.locator(".mrv-title").inner_text() == HOSTILE

    def test_crisp_on_a_screen_with_more_pixels(self, open_plain, nested):
        page = open_plain(nested, device_scale_factor=2)
        assert page.evaluate("viewer.frames.base.width / viewer.stage.clientWidth") == 2
        assert pixel(page, 160, 100.2) == hex_rgb(POSITIVE.color)

    def test_the_photo_has_its_place_before_it_arrives(self, open_plain, nested):
        page = open_plain(nested)
        assert page.evaluate("viewer.stage.clientWidth / viewer.stage.clientHeight") == 320 / 240

    def test_follows_the_width_of_its_cell(self, open_plain, nested):
        page = open_plain(nested)
        page.evaluate("document.getElementById('here').style.width = '400px'")
        page.wait_for_function("viewer.frames.base.width < 401")
        settle(page)
        assert pixel(page, 160, 100.4) == hex_rgb(POSITIVE.color)


def pixel_of(canvas, x, y):
    return canvas.photo[y, x]


class TestSizes:
    def test_nothing_at_all(self, open_plain):
        empty = BoxLayer("boxes", np.zeros((0, 4)), groups=[POSITIVE, NEGATIVE])
        layers = [empty, MaskLayer("masks", np.zeros((0, 30, 40), bool)), PointLayer("points", [])]
        page = open_plain(Canvas(np.full((30, 40, 3), 7, np.uint8), layers))
        page.mouse.move(*place(page, 20, 15))
        assert near(pixel(page, 20, 15), (7, 7, 7), 0)
        assert page.locator(".mrv-count").all_inner_texts()[0] == "0"

    def test_a_tiny_photo_shows_its_pixels(self, open_plain, screenshots):
        photo = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
        page = open_plain(Canvas(photo, [BoxLayer("box", [[10, 5, 20, 25]])]))
        page.screenshot(path=screenshots / "plain-tiny.png")
        for x, y in [(2, 2), (30, 20), (15, 12)]:
            assert near(pixel(page, x + 0.1, y + 0.1), photo[y, x], 1)
            assert near(pixel(page, x + 0.9, y + 0.9), photo[y, x], 1)

    def test_a_huge_photo_keeps_its_coordinates(self, open_plain):
        photo = np.zeros((4000, 6000, 3), np.uint8)
        photo[3000:, 5000:] = 255
        mask = np.zeros((1, 4000, 6000), bool)
        mask[0, 100:300, 2400:2800] = True
        layers = [BoxLayer("box", [[5000, 3000, 6000, 4000]]), MaskLayer("mask", mask)]
        canvas = Canvas(photo, layers)
        assert len(canvas._photo) < 400_000
        page = open_plain(canvas)
        assert pixel(page, 4950, 3500) == (0, 0, 0)
        assert near(pixel(page, 5500, 3500), (255, 255, 255))
        assert pixel(page, 2600, 200) != (0, 0, 0)
        assert pixel(page, 2200, 200) == (0, 0, 0)
        page.mouse.move(*place(page, 2600, 200))
        page.locator(".mrv-card", has_text="2400, 100, 2800, 300").wait_for()

    @pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
    def test_a_photo_that_is_a_mere_line_is_drawn_and_can_be_reached(self, open_plain, size):
        height, width = size
        photo = np.full((*size, 3), 255, np.uint8)
        page = open_plain(Canvas(photo, [BoxLayer("box", [[0, 0, width, height]])]))
        assert min(box_of(page.locator(".mrv-stage"))[side] for side in ("width", "height")) > 40
        assert min(pixel(page, width / 2, height / 2)) > 60
        page.evaluate("viewer.view.show([0, 0, 1, 1])")
        settle(page)
        page.mouse.click(*place(page, 0.5, 0.5))
        assert state(page, "selected") == ["box", 0]

    def test_a_mask_of_dots_does_not_block_the_page(self, open_plain):
        dots = np.indices((1500, 1500)).sum(axis=0) % 2 == 0
        photo = np.zeros((1500, 1500, 3), np.uint8)
        canvas = Canvas(photo, [MaskLayer("dots", [dots])], selected=("dots", 0))
        page = open_plain(canvas)
        assert max(pixel(page, 700, 700)) > 30
        spent = page.evaluate(
            """async () => {
                const start = performance.now();
                viewer.view.zoomBy(1.2);
                do await new Promise(requestAnimationFrame); while (!viewer.frames.finished);
                return performance.now() - start;
            }"""
        )
        assert spent < 3000

    def test_a_name_of_20_000_letters_is_one_line(self, open_plain, screenshots):
        names = ["x" * 20_000, "a\nb\r\n<br>c"]
        layer = BoxLayer(
            "boxes",
            [[10, 40, 60, 90], [100, 40, 160, 90]],
            groups=[Group(name) for name in names],
            group_index=[0, 1],
            labels=names,
            fields={"class": Category([0, 1], names)},
        )
        page = open_plain(Canvas(np.full((120, 200, 3), 90, np.uint8), [layer]))
        page.mouse.move(*place(page, 35, 65))
        page.locator(".mrv-card", has_text="x" * 79 + "…").wait_for()
        page.screenshot(path=screenshots / "plain-long-names.png")
        chip = page.locator(".mrv-chip", has_text="a b <br>c")
        assert box_of(chip)["height"] < 30
        chip.click()
        assert state(page, "hidden") == ["boxes/" + names[1]]

    def test_three_hundred_objects(self, open_plain, screenshots):
        generator = np.random.default_rng(0)
        masks = np.zeros((300, 480, 640), bool)
        for mask in masks:
            y, x = generator.integers(0, 440), generator.integers(0, 600)
            mask[y : y + generator.integers(8, 40), x : x + generator.integers(8, 40)] = True
        photo = generator.integers(60, 120, (480, 640, 3), np.uint8)
        names = [f"object {i}" for i in range(300)]
        layer = MaskLayer("objects", masks, colors=palette(300), labels=names)
        page = open_plain(Canvas(photo, [layer]))
        page.screenshot(path=screenshots / "plain-300.png")
        assert page.locator(".mrv-count").inner_text() == "300"


class TestThemes:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_ink_and_paper_contrast(self, open_plain, nested, screenshots, scheme):
        nested.selected = ("boxes", 1)
        page = open_plain(nested, color_scheme=scheme)
        page.mouse.move(*place(page, 150, 120))
        page.locator(".mrv-card").wait_for()
        page.screenshot(path=screenshots / f"plain-{scheme}.png")
        for text in (".mrv-title", ".mrv-chip", ".mrv-count", ".mrv-status"):
            ink = page.locator(text).first.evaluate("(node) => getComputedStyle(node).color")
            ink = css_rgb(ink)
            paper = (255, 255, 255) if scheme == "light" else (18, 18, 18)
            assert contrast(ink, paper) >= 4.5


def test_a_viewer_that_was_removed_leaves_nothing(open_plain, nested):
    page = open_plain(nested)
    page.evaluate("viewer.view.zoomBy(2); viewer.destroy()")
    next_frame(page)
    assert page.locator("#here > *").count() == 0
    assert page.evaluate("[...viewer.model.listeners.values()].every((set) => set.size === 0)")
