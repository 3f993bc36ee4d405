"""How a speed is measured: both sides in turns in one run, and the ratio of their medians."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import CHROMIUM, FLAGS

UNLIMITED = ["--disable-frame-rate-limit", "--disable-gpu-vsync"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium without a GPU that paints as many frames as it can."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS + UNLIMITED)
        yield browser
        browser.close()


@pytest.fixture
def times_as_fast(benchmark) -> Callable[..., float]:
    """Measure how many times as fast ours is as its peer; the peer runs before each of our rounds.

    Neighbors on the machine then slow both sides down alike.
    """

    def measure(ours: Callable, peer: Callable, rounds: int = 9) -> float:
        spent = []

        def run_peer() -> None:
            start = time.perf_counter()
            peer()
            spent.append(time.perf_counter() - start)

        benchmark.pedantic(ours, setup=run_peer, rounds=rounds, warmup_rounds=1)
        of_peer, of_ours = statistics.median(spent[1:]), benchmark.stats.stats.median
        ratio = of_peer / of_ours
        benchmark.extra_info |= {"peer_ms": of_peer * 1e3, "times_as_fast": ratio}
        print(f"\nours {of_ours * 1e3:.1f} ms, peer {of_peer * 1e3:.1f} ms: {ratio:.2f} times")
        return ratio

    return measure
