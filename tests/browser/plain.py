"""What the tests of the viewer in a plain page share: where it shows what, and in which color."""

from tests.browser.conftest import next_frame


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
