"""How much of a run's time the devices compute: a run replayed against a device that sleeps.

The demo model's scores of a list of drawn scenes are recorded once. They are then replayed in
a run that does everything that a run does (reads, divides, asks, searches, writes), while the
"device" sleeps for a given time for each batch, as long as an accelerator would compute.

    python benchmarks/throughput.py                        # captions; one chip of 1.17 ms
    python benchmarks/throughput.py --list words --ms 9.4  # words; a slower device
    python benchmarks/throughput.py --together 4           # questions in flight at once
    python benchmarks/throughput.py --measure              # no replay: the device that is here

The busy share is the fraction of the run's time in which the device computes. The time of the
host is that of all its threads: reading and dividing images, asking (tokens, plan of the
image), searching, and what remains.
"""

import argparse
import contextlib
import dataclasses
import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import eagle_jax
from eagle_jax.demo.lists import draw_list
from eagle_jax.explaining import loop, preparation
from eagle_jax.lists import Broken, Item, read_list
from eagle_jax.results.manifest import Settings
from eagle_jax.scoring.scorer import MaskedImageScorer
from eagle_jax.search import scheduler

Known = dict[bytes, np.ndarray]


def main() -> int:
    """Records a list unless that was done before, replays it and prints a table."""
    options = _parser().parse_args()
    regions = "" if options.regions == "64" else "-" + options.regions.replace(":", "-")
    folder = options.folder / f"{options.list}-{options.items}{regions}"
    entries = read_list(draw_list(options.list, options.items, folder))
    model = eagle_jax.load("demo")
    settings = Settings(regions=options.regions, regenerate="no")
    if options.measure:
        device, wrap = None, lambda name, scorer: scorer
    else:
        known = _recorded(folder / "scores.pkl", entries, model, settings)
        device = SleepingDevice(options.ms / 1000, options.batch)
        wrap = lambda name, scorer: Replayed(scorer, known[name], device)  # noqa: E731
    host = HostTime()
    cpu = time.process_time()
    summary = _run(entries, model, settings, options.together, wrap, host)
    cpu = time.process_time() - cpu
    busy = summary.devices.scoring if device is None else device.busy
    rows = summary.forwards if device is None else device.rows
    print(f"{'items':<12}{summary.finished} in {summary.seconds:.1f} s", end=", ")
    print(f"{3600 * summary.finished / summary.seconds:,.0f} an hour")
    print(f"{'device':<12}busy {busy / summary.seconds:.0%}, {rows:,} masked images", end="")
    if device is not None:
        print(
            f", {rows / (device.batches * options.batch):.0%} of the places in batches", end=""
        )
    print(f"\n{'host':<12}{cpu:.1f} s of processor time, load {os.getloadavg()[0]:.1f}")
    for stage, seconds in host.seconds.items():
        print(f"  {stage:<10}{seconds:6.1f} s in {len(host.threads[stage])} threads", end="")
        print(f", {seconds / max(1, summary.finished):.2f} s an item")
    return 1 if summary.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--list", default="captions", help="list of the storybook (default: %(default)s)")
    add("--items", default=32, type=int, help="number of items (default: %(default)s)")
    add("--regions", default="64", help="regions of the images (default: %(default)s)")
    add("--ms", default=1.17, type=float, help="milliseconds a masked image (default: 1.17)")
    add("--batch", default=16, type=int, help="masked images per batch (default: 16)")
    add(
        "--together",
        default=loop.DEFAULT_TOGETHER,
        type=int,
        help="number of questions in flight (default: %(default)s)",
    )
    add("--measure", action="store_true", help="measure the device of this machine instead")
    add(
        "--folder",
        default=Path(tempfile.gettempdir(), "eagle-jax-throughput"),
        type=Path,
        help="folder of the list and of its recorded scores (default: %(default)s)",
    )
    return parser


class SleepingDevice:
    """A device that needs the same time for every batch, one batch after the other.

    Attributes:
      seconds: time for a batch.
      busy: time for which it has computed.
      batches: number of batches.
      rows: number of masked images in them.
    """

    def __init__(self, seconds: float, batch: int):
        """Makes a device that is free.

        Args:
          seconds: time for a masked image.
          batch: number of masked images in a batch.
        """
        self.batch, self.seconds = batch, seconds * batch
        self.busy, self.batches, self.rows = 0.0, 0, 0
        self._free_at = 0.0

    def begin(self, rows: int) -> Callable[[], None]:
        """Begins a batch behind those before it; returns what waits for its end."""
        self._free_at = max(self._free_at, time.perf_counter()) + self.seconds
        self.busy, self.batches, self.rows = (
            self.busy + self.seconds,
            self.batches + 1,
            self.rows + rows,
        )
        end = self._free_at
        return lambda: time.sleep(max(0.0, end - time.perf_counter()))


class Wrapped(MaskedImageScorer):
    """A scorer under observation; what it has not itself is the scorer's own."""

    def __init__(self, scorer: Any, known: Known):
        self._scorer, self.known = scorer, known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)


class Recorded(Wrapped):
    """A scorer whose scores are kept."""

    batch_key = None

    def __call__(self, sets: np.ndarray) -> np.ndarray:
        """Scores sets, and keeps the scores."""
        scores = self._scorer(sets)
        self.known |= {row.tobytes(): each for row, each in zip(sets, scores, strict=True)}
        return scores

    def begin(self, sets: np.ndarray) -> Callable[[], np.ndarray]:
        """Scores sets when asked for them."""
        return lambda: self(sets)


class Replayed(Wrapped):
    """A scorer that knows all scores, for which a device sleeps."""

    def __init__(self, scorer: Any, known: Known, device: SleepingDevice):
        super().__init__(scorer, known)
        self.device, self.batch_size = device, device.batch

    def open_batches(self, places: int) -> "ReplayedBatches":
        """Batches that this scorer shares with others."""
        return ReplayedBatches(self.device)

    def begin(self, sets: np.ndarray) -> Callable[[], np.ndarray]:
        """Begins to score sets that share no batches."""
        for first in range(0, len(sets), self.batch_size):
            wait = self.device.begin(len(sets[first : first + self.batch_size]))
        return lambda: wait() or self(sets)

    def __call__(self, sets: np.ndarray) -> np.ndarray:
        """Scores sets at once, without the device."""
        return np.stack([self.known[row.tobytes()] for row in sets])


class ReplayedBatches:
    """What `eagle_jax.scoring.scorer.SharedBatches` is for real scorers."""

    def __init__(self, device: SleepingDevice):
        self.device, self.batch_size = device, device.batch

    def begin(self, parts: Sequence[tuple[Replayed, np.ndarray]]) -> Callable[[], list]:
        """Begins a batch."""
        wait = self.device.begin(sum(len(sets) for _, sets in parts))

        def fetch() -> list[np.ndarray]:
            wait()
            return [scorer(sets) for scorer, sets in parts]

        return fetch

    def leave(self, scorer: Replayed) -> None:
        """There is nothing to free."""


class HostTime:
    """Processor time of the host's threads, by stage.

    Attributes:
      seconds: processor time by stage.
      threads: threads that were seen in each stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.threads: dict[str, set[int]] = {}
        self._lock = threading.Lock()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose processor time counts for a stage."""

        def call(*arguments: Any, **options: Any) -> Any:
            begin = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                with self._lock:
                    taken = time.thread_time() - begin
                    self.seconds[stage] = self.seconds.get(stage, 0.0) + taken
                    self.threads.setdefault(stage, set()).add(threading.get_ident())

        return call


def _recorded(
    path: Path, entries: Sequence[Item | Broken], model: Any, settings: Settings
) -> dict[str, Known]:
    if path.exists():
        return pickle.loads(path.read_bytes())
    known: dict[str, Known] = {}
    summary = _run(
        entries,
        model,
        settings,
        2,
        lambda name, scorer: Recorded(scorer, known.setdefault(name, {})),
        HostTime(),
    )
    print(f"recorded {summary.forwards:,} masked images in {summary.seconds:.0f} s: {path}")
    path.write_bytes(pickle.dumps(known))
    return known


def _run(
    entries: Sequence[Item | Broken],
    model: Any,
    settings: Settings,
    together: int,
    wrap: Callable[[str, Any], Any],
    host: HostTime,
) -> loop.RunSummary:
    prepare = host.timed("asking", preparation.prepare_case)

    def prepared(model: Any, item: Item, *rest: Any) -> Any:
        case = prepare(model, item, *rest)
        return dataclasses.replace(case, scorer=wrap(item.name, case.scorer))

    with contextlib.ExitStack() as changes:
        for module, name, value in (
            (loop, "load", lambda *_, **__: model),
            (loop, "prepare_case", prepared),
            (loop, "read_divided", host.timed("reading", preparation.read_divided)),
            (loop, "write_result", host.timed("writing", loop.write_result)),
            (scheduler, "advance", host.timed("searching", scheduler.advance)),
        ):
            changes.enter_context(_replaced(module, name, value))
        out = changes.enter_context(tempfile.TemporaryDirectory())
        return loop.run_list(entries, Path(out, "run"), settings, together=together)


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


if __name__ == "__main__":
    raise SystemExit(main())
