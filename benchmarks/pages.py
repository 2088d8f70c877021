"""Times how long a browser takes to open the pages, with headless Chromium.

Made-up results of the size that people have: a report of 64 regions of a 640 x 480 photograph
and 128 tokens, and an index of 10,000 items. The time is from the start of navigation to the
second frame after the page has drawn itself, the best and the median of some openings.

    python benchmarks/pages.py
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from chromium import CHROMIUM, FLAGS
from made_attributions import made_attribution
from playwright.sync_api import sync_playwright

from eagle_jax.reports.page import report
from eagle_jax.reports.page.run_pages import IndexEntry, index_page
from eagle_jax.results.measures import MEASURES

_OPENINGS = 7
_DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def main() -> int:
    """Runs the benchmark and prints its table; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        print(f"{'browser':<14}Chromium {browser.version}")
        for name, path in (("report", _report(Path(folder))), ("index", _index(Path(folder)))):
            times = sorted(_open(browser, path) for _ in range(_OPENINGS))
            size, median = path.stat().st_size / 1e6, statistics.median(times)
            print(
                f"{name:<14}{size:.2f} MB, drawn after {times[0]:.0f} ms at best, "
                f"{median:.0f} ms in the median of {_OPENINGS}"
            )
        browser.close()
    return 0


def _open(browser, path: Path) -> float:
    page = browser.new_page()
    page.goto(path.as_uri())
    page.evaluate(_DRAWN)
    taken = page.evaluate("performance.now()")
    page.close()
    return taken


def _report(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    # Noise, which no format can compress, in ragged regions.
    image = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    rows, columns = np.arange(480)[:, None], np.arange(640)
    row = (rows + 3 * np.sin(columns / 2)).astype(int).clip(0, 479) // 60
    column = (columns + 3 * np.sin(rows / 2)).astype(int).clip(0, 639) // 80
    answer = tuple(f" word{i}" for i in range(128))
    labels = (row * 8 + column).astype(np.int32)
    report(
        made_attribution((480, 640), answer=answer, image=image, labels=labels),
        folder / "report.html",
    )
    return folder / "report.html"


def _index(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    entries = [
        IndexEntry(
            name=f"item-{i:05}",
            kind="word",
            prompt="Is there a cat in the image? Answer with one word, and say why. " * 2,
            answer="Yes, there is a small grey cat on the red sofa. " * 3,
            wrong=i % 7 == 0,
            values={name: float(rng.random()) for name in MEASURES},
        )
        for i in range(10_000)
    ]
    (folder / "index.html").write_bytes(index_page("run", entries, []))
    return folder / "index.html"


if __name__ == "__main__":
    sys.exit(main())
