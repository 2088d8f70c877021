"""The loop of a run: every item explained, many at once, whatever fails on the way."""

import collections
import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.baselines.ranking import Ranking
from eagle_jax.errors import InputError, require_choice
from eagle_jax.explaining.corrections import removal_answers, require_all_regions
from eagle_jax.explaining.explanation import conclude
from eagle_jax.explaining.mesh import local_mesh
from eagle_jax.explaining.preparation import prepare_case, read_divided
from eagle_jax.explaining.ranking import Approach, check_approach, rank_case
from eagle_jax.explaining.resuming import remove_leftovers, sort_entries
from eagle_jax.files import local_path
from eagle_jax.lists import Broken, Item
from eagle_jax.results.failures import Failure, describe_error, remove_failure, write_failure
from eagle_jax.results.manifest import REGENERATE, Settings, begin_run, fingerprint
from eagle_jax.results.run_folder import ItemResult, write_result
from eagle_jax.scoring.case import AskSettings, Case
from eagle_jax.scoring.folders import find_folder
from eagle_jax.scoring.model import Model, load
from eagle_jax.search import Curves, Limits, Objective
from eagle_jax.search.controls import control_orders
from eagle_jax.search.conversations import Conversation
from eagle_jax.search.scheduler import DeviceTime, Task, answer_together
from eagle_jax.search.sets import curves_from, sets_along

# Number of items explained at once where no other number is given.
DEFAULT_TOGETHER = 8
_DEFAULTS = Settings()


class RunSummary(NamedTuple):
    """What one process did in a run.

    Attributes:
      finished: number of items that have a result now.
      before: number of these items that had a result already.
      failures: items without a result.
      forwards: number of masked images that were scored to find orders.
      seconds: time that the run took, loading the model included.
      devices: what the devices did while items were explained.
    """

    finished: int
    before: int
    failures: tuple[Failure, ...]
    forwards: int
    seconds: float
    devices: DeviceTime = DeviceTime()


@checked
def run_list(
    entries: Sequence[Item | Broken],
    out: str | os.PathLike,
    settings: Settings = _DEFAULTS,
    *,
    batch_size: int | None = None,
    together: int = DEFAULT_TOGETHER,
    split_weights: int = 1,
    process: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> RunSummary:
    """Explains every item of a list, each into a small folder of its own.

    A run that was interrupted resumes when it is started again with the same settings, with
    any number of processes: finished items are not explained again. An item that fails is
    recorded, and the other items go on.

    An item with a label but no target is asked what speaks for the label: the label is scored
    in place of the first token of the answer, behind the thought of a model that thinks first;
    the item fails if the answer ends inside the thought. Items with a label also get the
    answers of the model as the last regions of the order are removed, see
    `Settings.regenerate`.

    Args:
      entries: from `eagle_jax.lists.read_list`.
      out: folder of the run.
      settings: settings of the explanations.
      batch_size: masked images per batch, over all devices of the process; None chooses.
      together: number of items that are explained at once: their masked images share batches,
        and the host searches for some while the devices score others.
      split_weights: number of devices that share one copy of the weights, for models that are
        too large for one device.
      process: index of this process and number of processes; process i of k takes every k-th
        entry, from entry i on.
      progress: show a progress bar.

    Returns:
      What this process did with its entries.

    Raises:
      InputError: the settings, the folder or the model cannot be used at all.
    """
    begin = time.perf_counter()
    out = local_path(out)
    _check(entries, settings, together, process)
    weights = fingerprint(find_folder(settings.model))
    with begin_run(out, settings, weights, process):
        remove_leftovers(out, entries, process)
        waiting, before, failures = sort_entries(out, entries[process[0] :: process[1]])
        for failure in failures:
            write_failure(out, failure)
        run = _Run(out, settings, batch_size, failures)
        devices = DeviceTime()
        if waiting:
            model = load(
                settings.model,
                backend=settings.backend,
                dtype=settings.dtype,
                mesh=local_mesh(split_weights),
                quantize=settings.quantize,
                min_pixels=settings.min_pixels,
                max_pixels=settings.max_pixels,
                progress=progress,
            )
            with tqdm(total=len(waiting), unit="item", disable=not progress) as run.bar:
                devices = run.explain_all(model, waiting, together)
        return RunSummary(
            finished=len(before) + run.finished,
            before=len(before),
            failures=tuple(run.failures),
            forwards=run.forwards,
            seconds=time.perf_counter() - begin,
            devices=devices,
        )


class _Run:
    """A run in progress: its settings, and what it has done so far. Items share no state."""

    def __init__(
        self,
        out: Path,
        settings: Settings,
        batch_size: int | None,
        failures: list[Failure],
    ):
        self.out, self.settings = out, settings
        self.approach = _approach(settings)
        self.asking = AskSettings(
            settings.regions,
            settings.fill,
            settings.max_new_tokens,
            batch_size,
            settings.published_rounding,
            settings.system,
            settings.thinking,
        )
        self.failures, self.finished, self.forwards = failures, 0, 0
        self.bar = tqdm(disable=True)
        self._clock = _SharedClock()
        self._lock = threading.Lock()

    def explain_all(self, model: Model, items: Sequence[Item], together: int) -> DeviceTime:
        begin, scored = time.perf_counter(), 0

        def after_round(forwards: int) -> None:
            nonlocal scored
            scored += forwards
            rate = scored / (time.perf_counter() - begin)
            self.bar.set_postfix_str(f"{scored:,} forwards, {rate:.0f} a second")

        begins = (functools.partial(self._begin, model, item) for item in items)
        return answer_together(begins, together, after_round)

    def _begin(self, model: Model, item: Item) -> Task | None:
        """Reads an item, divides its image and asks the model; in a thread, ahead of time."""
        try:
            image, labels = read_divided(item, self.asking.regions)
            case = prepare_case(model, item, image, labels, self.asking)
        except Exception as error:
            return self._fail(item, error)
        return Task(case.scorer, self._explain(item, case))

    def _explain(self, item: Item, case: Case) -> Conversation[None]:
        """All that is done with an item whose question is asked; its steps run in threads."""
        with self._clock.share() as shared:
            try:
                ranking = yield from rank_case(case, self.approach)
                controls = yield from self._controls(item, case, ranking)
                result = self._result(item, case, ranking, controls, shared())
            except Exception as error:
                return self._fail(item, error)
        # A disk that is full ends the run: the next result could not be written either.
        write_result(self.out, result)
        remove_failure(self.out, item.name)
        with self._lock:
            self.finished += 1
            self.forwards += ranking.forwards
            self.bar.update()
        return None

    def _controls(
        self, item: Item, case: Case, ranking: Ranking
    ) -> Conversation[dict[str, Curves] | None]:
        settings, order = self.settings, ranking.result.curves.order
        if settings.controls or self._corrects(item):
            require_all_regions(
                order,
                case.scorer.regions,
                self.approach.limits,
                "corrections and controls need",
            )
        if not settings.controls:
            return None
        controls = {}
        orders = control_orders(case.labels, order, settings.controls, item.name)
        for name, control in orders.items():
            controls[name] = curves_from(control, (yield sets_along(control)))
        return controls

    def _corrects(self, item: Item) -> bool:
        return item.label is not None and self.settings.regenerate != "no"

    def _result(
        self,
        item: Item,
        case: Case,
        ranking: Ranking,
        controls: dict[str, Curves] | None,
        seconds: float,
    ) -> ItemResult:
        answers = None
        if self._corrects(item) and item.label is not None:
            answers = removal_answers(
                case,
                ranking.result.curves,
                item.label,
                bisect=self.settings.regenerate == "bisect",
                batch_size=self.asking.batch_size,
                max_new_tokens=self.settings.max_new_tokens,
            )
        return ItemResult(
            item=item,
            attribution=conclude(case, self.approach, ranking, seconds),
            mask=item.object_mask(*case.image.shape[:2]),
            answers=answers,
            controls=controls,
        )

    def _fail(self, item: Item, error: Exception) -> None:
        """Records the failure of an item, unless the disk refuses, which ends the run."""
        line, fault = describe_error(error)
        failure = Failure(item.name, item.place, line)
        write_failure(self.out, failure, fault)
        with self._lock:
            self.failures.append(failure)
            self.bar.write(f"{item.place} ({item.name}): {line}", file=sys.stderr)
            self.bar.update()


class _SharedClock:
    """Time that is divided evenly among those at work, so that all shares add up to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work, self._time, self._noted = 0, 0.0, 0.0

    @contextlib.contextmanager
    def share(self) -> Iterator[Callable[[], float]]:
        """Gives a function that returns the share since the block began, in seconds."""
        begin = self._pass(+1)
        try:
            yield lambda: self._pass(0) - begin
        finally:
            self._pass(-1)

    def _pass(self, change: int) -> float:
        with self._lock:
            now = time.perf_counter()
            if self._at_work:
                self._time += (now - self._noted) / self._at_work
            self._noted = now
            self._at_work += change
            return self._time


def _approach(settings: Settings) -> Approach:
    return Approach(
        settings.method,
        settings.options,
        settings.search,
        Objective(settings.insight_weight, settings.necessity_weight),
        Limits(settings.budget, settings.seconds, settings.top_k, settings.stop),
        settings.partitions,
    )


def _check(
    entries: Sequence[Item | Broken],
    settings: Settings,
    together: int,
    process: tuple[int, int],
) -> None:
    check_approach(_approach(settings))
    if together < 1:
        raise InputError(f"together is {together}; it must be at least 1")
    require_choice("regenerate", settings.regenerate, REGENERATE)
    if settings.controls < 0:
        raise InputError(f"controls is {settings.controls}; it must be 0 or more")
    number, count = process
    if not 0 <= number < count:
        raise InputError(f"process is {number} of {count}; it must be from 0 to {count - 1}")
    names = [item.name for item in entries if isinstance(item, Item)]
    for name, times in collections.Counter(names).items():
        if times > 1:
            raise InputError(f"two items have the name {name!r}; names must differ")
