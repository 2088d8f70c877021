"""Explanations of a whole list: in lockstep, resumed after a kill, failures kept apart."""

import collections
import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from eagle_jax.errors import InputError, reason
from eagle_jax.explanation import Approach, conclude
from eagle_jax.inputs.images import read_image
from eagle_jax.inputs.regions import segment
from eagle_jax.lists import Broken, Item
from eagle_jax.lists.prompts import prompt_difference
from eagle_jax.metrics.hallucination import yes_or_no
from eagle_jax.results.failures import (
    Failure,
    read_failures,
    remove_failure,
    write_failure,
)
from eagle_jax.results.manifest import Settings, begin_run, fingerprint
from eagle_jax.results.run_folder import (
    ITEMS,
    Result,
    is_finished,
    read_item,
    write_result,
)
from eagle_jax.scoring.answers import regenerate
from eagle_jax.scoring.case import Case, ask
from eagle_jax.scoring.model import Model, find_folder, load
from eagle_jax.search import Limits, Objective, Progress, SearchResult, curves_along
from eagle_jax.search.controls import control_orders
from eagle_jax.search.correction import correct_by_bisection, correct_by_scan
from eagle_jax.search.lockstep import lockstep_kind

_DEFAULTS = Settings()
# Pictures that are read and divided while the devices are busy with others.
_AHEAD = 4


class RunSummary(NamedTuple):
    """What one process did.

    Attributes:
      finished: items that have a result now.
      before: items of these that had one already.
      failures: items without a result.
      forwards: masked images scored by the searches.
      seconds: that the run took, loading included.
    """

    finished: int
    before: int
    failures: tuple[Failure, ...]
    forwards: int
    seconds: float


def run_list(
    entries: Sequence[Item | Broken],
    out: str | os.PathLike,
    settings: Settings = _DEFAULTS,
    *,
    batch_size: int | None = None,
    together: int = 4,
    split_weights: int = 1,
    process: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> RunSummary:
    """Explains every item of a list, each into a small folder of its own.

    What is finished stays finished: a run that was ended in any way goes on where it stopped
    when it is started again with the same settings, on as many processes as there are now.
    An item that fails is recorded, and the others go on.

    An item with a label but no target is asked for what speaks for that label: its first
    answer token is scored as the label, whatever the model said. Items with a label also get
    the model's answers to smaller and smaller pictures, see `Settings.regenerate`.

    Args:
      entries: from `eagle_jax.lists.read_list`.
      out: folder of the run.
      settings: of the explanations.
      batch_size: masks per forward, over all devices of the process; None chooses.
      together: images that are searched in lockstep.
      split_weights: devices that share one copy of the weights, for models too large for one.
      process: number of this process and of all; each takes its share of the list.
      progress: show a progress bar.

    Returns:
      What this process did with its share.

    Raises:
      InputError: the settings, the folder or the model cannot be used at all.
    """
    begin = time.perf_counter()
    out = Path(out)
    _check(entries, settings, together, process)
    folder = find_folder(settings.model)
    begin_run(out, settings, fingerprint(folder), process[0])
    _tidy(out, entries, process)

    own = entries[process[0] :: process[1]]
    failures = [Failure(_slug(one.place), *one) for one in own if isinstance(one, Broken)]
    waiting, before = [], 0
    for item in own:
        if isinstance(item, Broken):
            continue
        if not is_finished(out, item.name):
            waiting.append(item)
        elif difference := _other_question(out, item):
            failures.append(Failure(item.name, item.place, difference))
        else:
            before += 1
    for failure in failures:
        write_failure(out, failure)
    work = _Work(out, settings, together, batch_size, failures)
    if waiting:
        model = load(
            settings.model,
            dtype=settings.dtype,
            mesh=own_mesh(split_weights),
            quantize=settings.quantize,
            progress=progress,
        )
        with tqdm(total=len(waiting), unit="item", disable=not progress) as bar:
            work.explain_all(model, waiting, bar)
    return RunSummary(
        finished=before + work.finished,
        before=before,
        failures=tuple(work.failures),
        forwards=work.forwards,
        seconds=time.perf_counter() - begin,
    )


@dataclasses.dataclass
class _Work:
    """The state of a run that is going on."""

    out: Path
    settings: Settings
    together: int
    batch_size: int | None
    failures: list[Failure]
    finished: int = 0
    forwards: int = 0

    @property
    def approach(self) -> Approach:
        return _approach(self.settings)

    def explain_all(self, model: Model, items: Sequence[Item], bar: tqdm) -> None:
        groups: dict[object, list[tuple[Item, Case]]] = {}
        for item, pixels in _read_ahead(items, self.settings.regions):
            try:
                case = self._prepare(model, item, pixels)
            except Exception as error:  # whatever it is, the other items go on
                self._fail([item], error, bar)
                continue
            kind = lockstep_kind(case.scorer)
            group = groups.setdefault(kind, [])
            group.append((item, case))
            if len(group) == self.together:
                self._explain(groups.pop(kind), bar)
        for group in groups.values():
            self._explain(group, bar)

    def _prepare(self, model: Model, item: Item, pixels: Future) -> Case:
        settings, target, target_ids = self.settings, item.target, item.target_ids
        if item.label is not None and target is None and target_ids is None:
            target, target_ids = (0,), (item.label,)
        image, labels = pixels.result()
        case = ask(
            model,
            image,
            item.prompt,
            answer=item.answer,
            target=target,
            target_ids=target_ids,
            regions=labels,
            fill=settings.fill,
            max_new_tokens=settings.max_new_tokens,
            batch_size=self.batch_size,
            published_rounding=settings.published_rounding,
        )
        if item.prompt_ids is not None:
            own = case.prompt_ids.tolist()
            if difference := prompt_difference(item.prompt_ids, own, model.tokenizer):
                raise InputError(difference)
        return case

    def _explain(self, group: list[tuple[Item, Case]], bar: tqdm) -> None:
        begin = time.perf_counter()
        scored = 0

        def on_progress(state: Progress) -> None:
            nonlocal scored
            scored = state.forwards
            rate = scored / (time.perf_counter() - begin)
            bar.set_postfix_str(f"{scored:,} forwards, {rate:.0f} a second")

        cases = [case for _, case in group]
        try:
            found = self.approach.find(cases, self.together, on_progress)
        except Exception as error:  # whatever it is, the other groups go on
            self._fail([item for item, _ in group], error, bar)
            return
        finally:
            self.forwards += scored
        seconds = (time.perf_counter() - begin) / len(group)
        for (item, case), one in zip(group, found, strict=True):
            try:
                result = self._result(item, case, one, seconds)
            except Exception as error:  # whatever it is, the other items go on
                self._fail([item], error, bar)
                continue
            # A disk that is full ends the run: the next result could not be written either.
            write_result(self.out, result)
            self.finished += 1
            bar.update()
            remove_failure(self.out, item.name)

    def _result(
        self,
        item: Item,
        case: Case,
        found: tuple[SearchResult, np.ndarray | None, int],
        seconds: float,
    ) -> Result:
        settings, curves = self.settings, found[0].curves
        order = curves.order
        mask = item.object_mask(*case.image.shape[:2])
        attribution = conclude(case, self.approach, *found, seconds)
        asks = item.label is not None and settings.regenerate != "no"
        if order.size < case.scorer.regions and (asks or settings.controls):
            raise InputError(
                f"the budget of {settings.budget} ended the search after {order.size} of "
                f"{case.scorer.regions} regions, and corrections and controls need all: "
                "give a larger one, or --search surrogate"
            )
        answers = None
        if asks:

            def answer(visible):
                return regenerate(
                    case.model, case.image, case.labels, item.prompt, visible, fill=case.fill
                )

            if settings.regenerate == "scan":
                answers = correct_by_scan(answer, curves.order)
            else:
                answers = correct_by_bisection(
                    answer,
                    curves.order,
                    lambda text: yes_or_no(text) == item.label,
                    curves.insertion.mean(axis=1),
                )
        controls = None
        if settings.controls:
            orders = control_orders(case.labels, curves.order, settings.controls, item.name)
            controls = {name: curves_along(case.scorer, one) for name, one in orders.items()}
        return Result(item, attribution, mask, answers, controls)

    def _fail(self, items: Sequence[Item], error: Exception, bar: tqdm) -> None:
        if isinstance(error, InputError):
            line, trace = reason(error), None
        elif "RESOURCE_EXHAUSTED" in str(error):
            line, trace = "the device is out of memory: give a smaller batch size", None
        else:
            line, trace = f"unexpected {type(error).__name__}: {reason(error, 200)}", error
        for item in items:
            failure = Failure(item.name, item.place, line)
            self.failures.append(failure)
            write_failure(self.out, failure, trace)
            bar.write(f"{item.place} ({item.name}): {line}", file=sys.stderr)
        bar.update(len(items))


def _read_ahead(items: Sequence[Item], regions: int | str) -> Iterator[tuple[Item, Future]]:
    """Items with their pictures and label maps, a few of which are made ahead of time."""

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(item.image)
        return image, segment(image, regions)

    with ThreadPoolExecutor(1) as reader:
        ahead: list[tuple[Item, Future]] = []
        try:
            for item in items:
                ahead.append((item, reader.submit(read, item)))
                if len(ahead) > _AHEAD:
                    yield ahead.pop(0)
            while ahead:
                yield ahead.pop(0)
        finally:
            for _, future in ahead:
                future.cancel()


def own_mesh(split_weights: int) -> Mesh | None:
    """All devices of this process, which share nothing with those of another."""
    devices = np.array(jax.local_devices())
    if devices.size % split_weights:
        raise InputError(
            f"split_weights is {split_weights}; it must divide the number of devices of this "
            f"process, {devices.size}"
        )
    if devices.size == 1:
        return None
    return Mesh(devices.reshape(-1, split_weights), ("data", "model"))


def _approach(settings: Settings) -> Approach:
    objective = Objective(settings.insight_weight, settings.necessity_weight)
    return Approach(
        settings.method,
        settings.options,
        settings.search,
        objective,
        Limits(settings.budget),
    )


def _check(entries, settings: Settings, together: int, process: tuple[int, int]) -> None:
    _ = _approach(settings).options
    if together < 1:
        raise InputError(f"together is {together}; it must be at least 1")
    if settings.regenerate not in ("scan", "bisect", "no"):
        raise InputError(
            f"regenerate is {settings.regenerate!r}; it must be scan, bisect or no"
        )
    if settings.controls < 0:
        raise InputError(f"controls is {settings.controls}; it must be 0 or more")
    number, count = process
    if not 0 <= number < count:
        raise InputError(f"process is {number} of {count}; it must be from 0 to {count - 1}")
    names = [item.name for item in entries if isinstance(item, Item)]
    for name, times in collections.Counter(names).items():
        if times > 1:
            raise InputError(f"two items have the name {name!r}; names must differ")


def _other_question(out: Path, item: Item) -> str | None:
    """Why a result is of another question than the item of its name; None when it is not."""
    found = read_item(out, item.name)
    for field in dataclasses.fields(Item):
        # Lists grow, and pictures move.
        if field.name in ("place", "image", "mask"):
            continue
        before, now = getattr(found, field.name), getattr(item, field.name)
        if before != now:
            return (
                f"{out / ITEMS / item.name} is of another question ({field.name} "
                f"{before!r}, now {now!r}): remove it or choose another folder"
            )
    return None


def _tidy(out: Path, entries, process: tuple[int, int]) -> None:
    """Removes what a killed run left of this process's share, and its old failures."""
    number, count = process
    own = {
        one.name if isinstance(one, Item) else _slug(one.place)
        for one in entries[number::count]
    }
    every = {one.name if isinstance(one, Item) else _slug(one.place) for one in entries}
    for name, _ in tuple(read_failures(out)):
        if name in own or (number == 0 and name not in every):
            remove_failure(out, name)
    for path in (out / ITEMS).glob(".*"):
        # ".NAME-0123abcd-new", see `eagle_jax.results.storage.write_folder`.
        if path.name[1:].rsplit("-", 2)[0] in own:
            shutil.rmtree(path, ignore_errors=True)


def _slug(place: str) -> str:
    return place.replace(" ", "-")
