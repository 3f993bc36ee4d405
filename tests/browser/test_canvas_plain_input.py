"""The viewer in a plain page, as the HTML report uses it: what pointer, legend and keys do."""

import numpy as np
import pytest

from mrcnn_widgets.viewer.canvas import POSITIVE, BoxLayer, Canvas, Category, Group
from tests.browser.conftest import ORANGE, box_of
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

pytestmark = pytest.mark.browser


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
