"""The loop of a run: every item explained, in lockstep, whatever fails on the way."""

import collections
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.baselines.methods import Ranking
from eagle_jax.errors import InputError, require_choice
from eagle_jax.explaining.corrections import removal_answers, require_all_regions
from eagle_jax.explaining.explanation import Approach, check_approach, conclude, rank_cases
from eagle_jax.explaining.mesh import local_mesh
from eagle_jax.explaining.preparation import prepare_case, read_ahead
from eagle_jax.explaining.resuming import remove_leftovers, sort_entries
from eagle_jax.files import local_path
from eagle_jax.lists import Broken, Item
from eagle_jax.results.failures import Failure, describe_error, remove_failure, write_failure
from eagle_jax.results.manifest import REGENERATE, Settings, begin_run, fingerprint
from eagle_jax.results.run_folder import ItemResult, write_result
from eagle_jax.scoring.case import AskSettings, Case
from eagle_jax.scoring.folders import find_folder
from eagle_jax.scoring.model import Model, load
from eagle_jax.search import Limits, Objective, Progress, curves_along
from eagle_jax.search.controls import control_orders
from eagle_jax.search.lockstep import lockstep_kind

# Number of images searched in lockstep where no other number is given.
DEFAULT_TOGETHER = 4
_DEFAULTS = Settings()
Outcome = TypeVar("Outcome")


class RunSummary(NamedTuple):
    """What one process did in a run.

    Attributes:
      finished: number of items that have a result now.
      before: number of these items that had a result already.
      failures: items without a result.
      forwards: number of masked images that were scored to find orders.
      seconds: time that the run took, loading the model included.
    """

    finished: int
    before: int
    failures: tuple[Failure, ...]
    forwards: int
    seconds: float


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
      together: number of images that are searched in lockstep.
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
        run = _Run(out, settings, batch_size, together, failures)
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
                run.explain_all(model, waiting)
        return RunSummary(
            finished=len(before) + run.finished,
            before=len(before),
            failures=tuple(run.failures),
            forwards=run.forwards,
            seconds=time.perf_counter() - begin,
        )


class _Run:
    """A run in progress: its settings, and what it has done so far."""

    def __init__(
        self,
        out: Path,
        settings: Settings,
        batch_size: int | None,
        together: int,
        failures: list[Failure],
    ):
        self.out, self.settings, self.together = out, settings, together
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

    def explain_all(self, model: Model, items: Sequence[Item]) -> None:
        groups: dict[object, list[tuple[Item, Case]]] = {}
        for item, divided in read_ahead(items, self.asking.regions):
            case = self._attempt(item, prepare_case, model, item, divided, self.asking)
            if case is None:
                continue
            kind = lockstep_kind(case.scorer)
            groups.setdefault(kind, []).append((item, case))
            if len(groups[kind]) == self.together:
                self._explain(groups.pop(kind))
        for group in groups.values():
            self._explain(group)

    def _explain(self, group: Sequence[tuple[Item, Case]]) -> None:
        cases = [case for _, case in group]
        begin = time.perf_counter()
        try:
            rankings = self._rank(cases)
        except Exception as error:
            if len(group) == 1:
                self._record(group[0][0], error)
                return
            # The fault of one image is not that of the images searched beside it.
            for pair in group:
                self._explain([pair])
            return
        seconds = (time.perf_counter() - begin) / len(group)
        for (item, case), ranking in zip(group, rankings, strict=True):
            result = self._attempt(item, self._result, item, case, ranking, seconds)
            if result is None:
                continue
            # A disk that is full ends the run: the next result could not be written either.
            write_result(self.out, result)
            self.finished += 1
            self.bar.update()
            remove_failure(self.out, item.name)

    def _rank(self, cases: Sequence[Case]) -> list[Ranking]:
        begin, before = time.perf_counter(), self.forwards

        def on_progress(state: Progress) -> None:
            self.forwards = before + state.forwards
            rate = state.forwards / (time.perf_counter() - begin)
            self.bar.set_postfix_str(f"{state.forwards:,} forwards, {rate:.0f} a second")

        return rank_cases(cases, self.approach, together=self.together, on_progress=on_progress)

    def _result(self, item: Item, case: Case, ranking: Ranking, seconds: float) -> ItemResult:
        settings, curves = self.settings, ranking.result.curves
        mask = item.object_mask(*case.image.shape[:2])
        corrects = item.label is not None and settings.regenerate != "no"
        if corrects or settings.controls:
            require_all_regions(
                curves.order,
                case.scorer.regions,
                self.approach.limits,
                "corrections and controls need",
            )
        answers = controls = None
        if corrects and item.label is not None:
            answers = removal_answers(
                case,
                curves,
                item.label,
                bisect=settings.regenerate == "bisect",
                batch_size=self.asking.batch_size,
                max_new_tokens=settings.max_new_tokens,
            )
        if settings.controls:
            orders = control_orders(case.labels, curves.order, settings.controls, item.name)
            controls = {
                name: curves_along(case.scorer, order) for name, order in orders.items()
            }
        return ItemResult(
            item=item,
            attribution=conclude(case, self.approach, ranking, seconds),
            mask=mask,
            answers=answers,
            controls=controls,
        )

    def _attempt(
        self, item: Item, function: Callable[..., Outcome], *arguments: Any
    ) -> Outcome | None:
        """Calls a function; an error is recorded as the failure of the item, and gives None."""
        try:
            return function(*arguments)
        except Exception as error:
            self._record(item, error)
            return None

    def _record(self, item: Item, error: Exception) -> None:
        line, fault = describe_error(error)
        failure = Failure(item.name, item.place, line)
        self.failures.append(failure)
        write_failure(self.out, failure, fault)
        self.bar.write(f"{item.place} ({item.name}): {line}", file=sys.stderr)
        self.bar.update()


def _approach(settings: Settings) -> Approach:
    return Approach(
        settings.method,
        settings.options,
        settings.search,
        Objective(settings.insight_weight, settings.necessity_weight),
        Limits(settings.budget, settings.seconds, settings.top_k, settings.stop),
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
