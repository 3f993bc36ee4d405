"""The viewer in a plain page, as the HTML report uses it: what is painted, and what people do."""

from pathlib import Path

import numpy as np
import pytest

from mrcnn_steps.palette import palette
from mrcnn_widgets.viewer import join
from mrcnn_widgets.viewer.canvas import (
    NEGATIVE,
    NEUTRAL,
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
from tests.browser.conftest import box_of, next_frame, plain_page, wait_for_viewer
from tests.widgets.examples import check_shades, scattered_boxes

pytestmark = pytest.mark.browser

JS = Path(join.__file__).with_name("js")

HOSTILE = "<img src=x onerror=alert(1)>"
ORANGE = (200, 120, 40)


@pytest.fixture
def nested() -> Canvas:
    """Three boxes inside each other on a photo of 320 × 240, shown at twice its size."""
    photo = np.full((240, 320, 3), 90, np.uint8)
    photo[60:180, 80:240] = ORANGE
    boxes = [[10, 10, 310, 230], [80, 60, 240, 180], [140, 100, 180, 140]]
    layer = BoxLayer(
        "boxes",
        boxes,
        groups=[NEUTRAL, NEGATIVE, POSITIVE],
        group_index=[0, 1, 2],
        fields={"score": [0.1, 0.5, 0.9], "class": Category([0, 1, 0], ["cat", HOSTILE])},
        threshold="score",
    )
    return Canvas(photo, [layer], title="Nested", max_height=480)


def pixel(page, x, y):
    """The color on screen at a point of the photo."""
    return tuple(
        page.evaluate(
            """([x, y]) => {
                const t = viewer.view.transform();
                const [X, Y] = [Math.floor(x * t.s + t.x), Math.floor(y * t.s + t.y)];
                const ctx = viewer.frames.base.getContext('2d');
                return [...ctx.getImageData(X, Y, 1, 1).data].slice(0, 3);
            }""",
            [x, y],
        )
    )


def settle(page):
    """Waits until the last change is on screen."""
    next_frame(page)
    page.wait_for_function("!viewer.loader.loading && viewer.frames.finished")


def place(page, x, y):
    """Where on the page a point of the photo is."""
    return page.evaluate(
        """([x, y]) => {
            const { dpr } = viewer.view, t = viewer.view.transform();
            const { left, top } = viewer.stage.getBoundingClientRect();
            return [left + (x * t.s + t.x) / dpr, top + (y * t.s + t.y) / dpr];
        }""",
        [x, y],
    )


def state(page, name):
    return page.evaluate("(name) => viewer.model.get(name)", name)


def near(found, expected, tolerance=12):
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


def hex_rgb(color):
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


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


class TestPointer:
    def test_hover_shows_the_smallest_and_click_picks_it(self, open_plain, nested, screenshots):
        page = open_plain(nested)
        page.mouse.move(*place(page, 150, 120))
        card = page.locator(".mrv-card")
        card.wait_for()
        page.screenshot(path=screenshots / "plain-hover.png")
        assert "boxes #2" in card.inner_text()
        assert "0.900" in card.inner_text()
        assert "1 of 3 here" in card.inner_text()
        assert state(page, "hovered") == ["boxes", 2]
        page.mouse.down()
        page.mouse.up()
        assert state(page, "selected") == ["boxes", 2]
        assert near(state(page, "clicked"), (150, 120), 0.6)
        assert "group" in card.inner_text()
        page.mouse.move(5, 5)
        page.wait_for_function("viewer.model.get('hovered') === null")
        assert card.is_hidden()

    def test_a_group_that_a_field_names_is_said_once(self, open_plain):
        groups = [Group("cat"), Group("dog")]
        layer = BoxLayer(
            "boxes",
            [[0, 0, 40, 40], [50, 0, 90, 40]],
            groups=groups,
            group_index=[1, 0],
            fields={"class": Category([1, 1], ["cat", "dog"])},
        )
        page = open_plain(Canvas(np.zeros((60, 100, 3), np.uint8), [layer]))
        said = []
        for x in (20, 70):
            page.mouse.move(*place(page, x, 20))
            page.locator(".mrv-card", has_text=f"boxes #{len(said)}").wait_for()
            said.append(page.locator(".mrv-lines span").all_inner_texts()[:4])
        assert said == [["class", "dog", "box", "0, 0, 40, 40"], ["group", "cat", "class", "dog"]]

    def test_a_click_beside_everything_lets_go(self, open_plain, nested):
        nested.selected = ("boxes", 1)
        page = open_plain(nested)
        page.mouse.click(*place(page, 3, 120))
        assert state(page, "selected") is None
        assert near(state(page, "clicked"), (3, 120), 0.6)

    def test_wheel_zooms_at_the_cursor(self, open_plain, nested):
        page = open_plain(nested)
        x, y = place(page, 80, 60)
        page.mouse.move(x, y)
        page.keyboard.down("Control")
        page.mouse.wheel(0, -300)
        page.wait_for_function("viewer.view.k > 1.5")
        settle(page)
        assert near(place(page, 80, 60), (x, y), 1)
        for _ in range(4):
            page.mouse.wheel(0, 300)
        page.wait_for_function("viewer.view.k === 1")
        page.keyboard.up("Control")
        assert state(page, "hovered") == ["boxes", 1]

    def test_wheel_scrolls_the_page_until_the_photo_is_clicked(
        self, open_plain, nested, screenshots
    ):
        page = open_plain(nested, viewport={"width": 1000, "height": 300})
        page.evaluate("window.scrollTo(0, 200)")
        page.mouse.move(*place(page, 160, 120))
        hint = page.locator(".mrv-hint")
        assert hint.is_hidden()
        page.mouse.wheel(0, -60)
        page.wait_for_function("window.scrollY < 160")
        hint.wait_for()
        assert 0 < box_of(hint)["y"] < 300, "it is on the screen"
        page.screenshot(path=screenshots / "plain-wheel-hint.png")
        assert page.evaluate("viewer.view.k") == 1
        page.mouse.down()
        page.mouse.up()
        before = page.evaluate("window.scrollY")
        page.mouse.wheel(0, -60)
        page.wait_for_function("viewer.view.k > 1.1")
        assert page.evaluate("window.scrollY") == before
        hint.wait_for(state="hidden")

    def test_tab_is_offered_where_it_works(self, open_plain, nested):
        page = open_plain(nested)
        page.mouse.move(*place(page, 150, 120))
        card = page.locator(".mrv-card", has_text="1 of 3 here")
        card.wait_for()
        assert "Tab" not in card.inner_text()
        page.mouse.down()
        page.mouse.up()
        page.locator(".mrv-card", has_text="Tab for the next").wait_for()
        page.keyboard.press("Tab")
        page.locator(".mrv-card", has_text="2 of 3 here").wait_for()

    def test_the_buttons_cover_no_small_photo(self, open_plain, nested):
        page = open_plain(nested)
        page.mouse.move(*place(page, 150, 120))
        tools = page.locator(".mrv-tools")
        assert tools.is_visible()
        page.evaluate("viewer.model.set('max_height', 120)")
        tools.wait_for(state="hidden")

    def test_wheel_scrolls_the_page_where_there_is_nothing_to_zoom_out_of(self, open_plain, nested):
        page = open_plain(nested, viewport={"width": 1000, "height": 300})
        page.mouse.move(*place(page, 160, 60))
        page.mouse.wheel(0, 120)
        page.wait_for_function("window.scrollY > 50")

    def test_drag_pans_without_picking_and_double_click_resets(self, open_plain, nested):
        page = open_plain(nested)
        page.mouse.move(*place(page, 160, 120))
        page.keyboard.down("Control")
        page.mouse.wheel(0, -300)
        page.wait_for_function("viewer.view.k > 1.5")
        page.keyboard.up("Control")
        x, y = place(page, 160, 120)
        page.mouse.down()
        page.mouse.move(x + 40, y + 25, steps=4)
        page.mouse.up()
        settle(page)
        assert near(place(page, 160, 120), (x + 40, y + 25), 1)
        assert state(page, "selected") is None
        page.mouse.dblclick(x, y)
        page.wait_for_function("viewer.view.k === 1")

    def test_pinch_zooms_between_the_fingers(self, open_plain, nested):
        page = open_plain(nested, has_touch=True)
        session = page.context.new_cdp_session(page)
        x, y = place(page, 160, 120)

        def touch(kind, apart):
            points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
            points = [] if kind == "touchEnd" else points
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", 40)
        for apart in (60, 80, 100, 120):
            touch("touchMove", apart)
        touch("touchEnd", 0)
        page.wait_for_function("viewer.view.k > 2.5 && viewer.view.k < 3.5")
        assert near(place(page, 160, 120), (x, y), 3)
        assert state(page, "selected") is None

    def test_the_photo_never_leaves_the_view(self, open_plain, nested):
        page = open_plain(nested)
        page.evaluate("viewer.view.zoomBy(2); viewer.view.panBy(9999, -9999)")
        settle(page)
        assert page.evaluate("[viewer.view.cx, viewer.view.cy]") == [80, 180]


class TestLegend:
    def test_chips_count_and_toggle(self, open_plain, nested, screenshots):
        page = open_plain(nested)
        chip = page.get_by_role("button", name="positive 1")
        assert chip.get_attribute("aria-pressed") == "true"
        chip.click()
        settle(page)
        assert state(page, "hidden") == ["boxes/positive"]
        assert chip.get_attribute("aria-pressed") == "false"
        assert near(pixel(page, 160, 100.2), ORANGE)
        page.mouse.move(*place(page, 150, 120))
        page.locator(".mrv-card", has_text="boxes #1").wait_for()
        page.screenshot(path=screenshots / "plain-legend.png")
        chip.click()
        settle(page)
        assert state(page, "hidden") == []
        assert pixel(page, 160, 100.2) == hex_rgb(POSITIVE.color)

    def test_an_empty_group_is_muted_and_keeps_its_place(self, open_plain, nested):
        page = open_plain(nested)
        chip = page.locator(".mrv-chip", has_text="neutral")
        before = box_of(page.locator(".mrv-legend")), box_of(chip)
        page.get_by_label("boxes: least score").fill("0.6")
        settle(page)
        assert chip.inner_text().split() == ["neutral", "0"]
        assert "mrv-none" in chip.get_attribute("class")
        assert (box_of(page.locator(".mrv-legend")), box_of(chip)) == before

    def test_a_chip_keeps_its_width_and_the_legend_its_height(self, open_plain):
        names = [f"a class with a long name, {i}" for i in range(12)]
        many = np.tile([[10, 10, 50, 50]], (1200, 1))
        layer = BoxLayer(
            "boxes",
            many,
            groups=[Group(name) for name in names],
            group_index=np.arange(1200) % 12,
            fields={"score": np.linspace(0, 1, 1200)},
            threshold="score",
        )
        other = BoxLayer("other", many[:1])
        page = open_plain(Canvas(np.zeros((60, 60, 3), np.uint8), [other, layer]), width=500)
        first, legend = page.locator(".mrv-chip").nth(2), page.locator(".mrv-legend")
        width, height = box_of(first)["width"], box_of(legend)["height"]
        page.get_by_label("boxes: least score").fill("0.95")
        settle(page)
        assert first.inner_text().split()[-1] == "5"
        assert box_of(first)["width"] == pytest.approx(width, abs=0.5)
        assert box_of(legend)["height"] == height
        # With one chip left its room stays: what lies below must not jump.
        page.evaluate(
            """() => {
                const scene = structuredClone(viewer.model.get('_scene'));
                scene.layers.pop();
                viewer.model.set('_scene', scene);
            }"""
        )
        page.wait_for_function("document.querySelectorAll('.mrv-chip').length === 1")
        assert box_of(legend)["height"] == height

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("color", ["#FFFFFF", "#0D1117"])
    def test_every_color_shows_on_both_themes(self, open_plain, scheme, color):
        layer = BoxLayer("boxes", [[2, 2, 9, 9]], groups=[Group("boxes", color)])
        photo = np.zeros((20, 20, 3), np.uint8)
        page = open_plain(Canvas(photo, [layer]), color_scheme=scheme)
        chip = page.locator(".mrv-chip")
        paper = css_rgb(chip.evaluate("(node) => getComputedStyle(node).backgroundColor"))
        rim = css_rgb(chip.locator("rect").first.evaluate("(n) => getComputedStyle(n).stroke"))
        assert max(contrast(paper, ink) for ink in (rim, hex_rgb(color))) >= 3
        assert contrast(paper, rim) >= 3

    def test_alt_click_shows_only_this_and_then_all_again(self, open_plain, nested):
        page = open_plain(nested)
        chip = page.get_by_role("button", name="negative 1")
        chip.click(modifiers=["Alt"])
        assert sorted(state(page, "hidden")) == ["boxes/neutral", "boxes/positive"]
        chip.click(modifiers=["Alt"])
        assert state(page, "hidden") == []

    def test_slider_thresholds(self, open_plain, nested):
        page = open_plain(nested)
        page.get_by_label("boxes: least score").fill("0.6")
        settle(page)
        assert state(page, "thresholds")["boxes"]["score"] == [0.6, None]
        assert page.get_by_role("button", name="boxes 1").is_visible()
        page.mouse.move(*place(page, 85, 65))
        settle(page)
        assert page.locator(".mrv-card").is_hidden()


class TestKeyboard:
    def test_pan_zoom_and_reset(self, open_plain, nested):
        page = open_plain(nested)
        page.locator(".mrv-stage").focus()
        page.keyboard.press("+")
        page.keyboard.press("+")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("viewer.view.k") == pytest.approx(2.25)
        assert page.evaluate("viewer.view.cx") > 160
        page.keyboard.press("-")
        page.keyboard.press("0")
        assert page.evaluate("[viewer.view.cx, viewer.view.cy, viewer.view.k]") == [160, 120, 1]

    def test_without_a_pointer_the_crosshair_points(self, open_plain, nested, screenshots):
        page = open_plain(nested)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === viewer.stage")
        for row in (2, 1, 0):
            page.keyboard.press("Tab")
            assert state(page, "hovered") == ["boxes", row]
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        assert state(page, "selected") == ["boxes", 1]
        page.locator(".mrv-status", has_text="boxes #1 · group negative").wait_for()
        page.screenshot(path=screenshots / "plain-keyboard.png")
        page.keyboard.press("Escape")
        assert state(page, "selected") is None
        assert state(page, "hovered") is None

    def test_tab_cycles_under_the_pointer_and_the_click_picks_that(self, open_plain, nested):
        page = open_plain(nested)
        page.mouse.move(*place(page, 150, 120))
        page.locator(".mrv-card").wait_for()
        page.locator(".mrv-stage").focus()
        page.keyboard.press("Tab")
        assert "2 of 3" in page.locator(".mrv-card").inner_text()
        page.mouse.down()
        page.mouse.up()
        assert state(page, "selected") == ["boxes", 1]

    def test_tab_is_no_trap(self, open_plain, nested):
        page = open_plain(nested)
        for _ in range(5):
            page.keyboard.press("Tab")
        assert page.evaluate("viewer.tools.element.contains(document.activeElement)")
        for _ in range(4):
            page.keyboard.press("Tab")
        assert page.evaluate("viewer.legend.element.contains(document.activeElement)")
        page.keyboard.press("Space")
        assert len(state(page, "hidden")) == 1

    def test_names_for_screen_readers(self, open_plain, nested):
        page = open_plain(nested)
        assert page.get_by_role("application", name="Nested, 320 by 240 pixels").is_visible()
        assert page.get_by_role("group", name="Legend").is_visible()
        assert page.get_by_role("button", name="Zoom in").count() == 1
        assert page.locator("[aria-live=polite]").count() == 1


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


def css_rgb(css):
    """`rgb(1, 2, 3)` as numbers."""
    return [int(part) for part in css[4:-1].split(",")]


def contrast(a, b):
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(luminance([c / 255 for c in color]) for color in (a, b))
    return (high + 0.05) / (low + 0.05)


def test_a_viewer_that_was_removed_leaves_nothing(open_plain, nested):
    page = open_plain(nested)
    page.evaluate("viewer.view.zoomBy(2); viewer.destroy()")
    next_frame(page)
    assert page.locator("#here > *").count() == 0
    assert page.evaluate("[...viewer.model.listeners.values()].every((set) => set.size === 0)")
