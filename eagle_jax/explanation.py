"""From an image and a prompt to an attribution: the whole story."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from eagle_jax.baselines import rank_regions
from eagle_jax.baselines.methods import Option, full_options
from eagle_jax.errors import InputError
from eagle_jax.inputs.images import ImageSource
from eagle_jax.inputs.regions import Regions
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring.case import Answer, Case, Target, TargetIds, ask
from eagle_jax.scoring.model import Model
from eagle_jax.search import Limits, Objective, Progress, SearchResult, find_orders
from eagle_jax.search.interrupts import first_interrupt_waits, never
from eagle_jax.search.methods import chosen_search


@overload
def explain(
    asked: Case,
    *,
    method: str = ...,
    options: Mapping[str, Option] | None = ...,
    search: str = ...,
    budget: int | None = ...,
    seconds: float | None = ...,
    top_k: int | None = ...,
    stop: float | None = ...,
    insight_weight: float = ...,
    necessity_weight: float = ...,
    progress: bool = ...,
) -> Attribution: ...


@overload
def explain(
    asked: Model,
    image: ImageSource,
    prompt: str,
    *,
    answer: Answer | None = ...,
    target: Target | None = ...,
    target_ids: TargetIds | None = ...,
    regions: Regions = ...,
    max_new_tokens: int = ...,
    batch_size: int | None = ...,
    published_rounding: bool = ...,
    method: str = ...,
    options: Mapping[str, Option] | None = ...,
    search: str = ...,
    budget: int | None = ...,
    seconds: float | None = ...,
    top_k: int | None = ...,
    stop: float | None = ...,
    insight_weight: float = ...,
    necessity_weight: float = ...,
    progress: bool = ...,
) -> Attribution: ...


def explain(
    asked: Case | Model,
    image: ImageSource | None = None,
    prompt: str | None = None,
    *,
    method: str = "eagle",
    options: Mapping[str, Option] | None = None,
    search: str = "auto",
    budget: int | None = None,
    seconds: float | None = None,
    top_k: int | None = None,
    stop: float | None = None,
    insight_weight: float = 1.0,
    necessity_weight: float = 1.0,
    progress: bool = False,
    **question: Any,
) -> Attribution:
    """Finds which regions of an image an answer rests on.

    The image is cut into regions, and a search orders them so that early regions both
    suffice for the target tokens and cannot be spared: each step adds the region that most
    raises the mean over targets of
    ``insight_weight * p(token | chosen) + necessity_weight * (1 - p(token | rest))``.

    Methods other than EAGLE give each region a number instead, most of them by a map over the
    pixels; the curves are those along the order of the numbers.

    A search that is cut short, by its limits or by Ctrl-C, returns what it has.

    Args:
      asked: a case from `eagle_jax.ask`; or a model from `eagle_jax.load`, which is then asked.
      image: a path, a PIL image, or an array of uint8 pixels; none for a case.
      prompt: the question or instruction; none for a case.
      method: a name of `eagle_jax.methods`.
      options: what a method other than EAGLE is told, by name, such as ``{"samples": 1000}``;
        `eagle_jax.methods` lists them with their defaults.
      search: a name of `eagle_jax.search.SEARCHES`, for EAGLE, as are the limits below.
      budget: most masked images that are scored; None for as many as the search takes.
      seconds: time after which the search concludes.
      top_k: number of leading regions that are wanted exactly, see `eagle_jax.search.Limits`.
      stop: share of the full image's score at which the order may end.
      insight_weight: lambda 1, weight of sufficiency.
      necessity_weight: lambda 2, weight of indispensability.
      progress: show a progress bar.
      **question: the other arguments of `eagle_jax.ask`; none for a case.

    Returns:
      The attribution.

    Raises:
      InputError: something in the arguments cannot be used; the message says what to do.

    References:
      EAGLE, arXiv 2509.22496, section 3.
    """
    approach = Approach(
        method,
        options or {},
        search,
        Objective(insight_weight, necessity_weight),
        Limits(budget, seconds, top_k, stop),
    )
    _ = approach.options  # refused before the model is asked
    begin = time.perf_counter()
    case = _case(asked, image, prompt, question)
    # Only a search has something to show for the time until Ctrl-C.
    waits = first_interrupt_waits() if method == "eagle" else contextlib.nullcontext(never)
    with (
        waits as interrupted,
        tqdm(disable=not progress, unit=" forwards", leave=False) as bar,
    ):

        def on_progress(state: Progress) -> None:
            bar.total = state.planned
            if state.area is not None:
                bar.set_postfix_str(f"insertion - deletion {state.area:.3f}", refresh=False)
            bar.update(state.forwards - bar.n)

        (found,) = approach.find([case], on_progress=on_progress, interrupted=interrupted)
    return conclude(case, approach, *found, time.perf_counter() - begin)


class Approach(NamedTuple):
    """How orders are found.

    Attributes:
      method: a name of `eagle_jax.methods`.
      told: what a method other than EAGLE is told.
      search: of EAGLE.
      objective: of EAGLE.
      limits: of EAGLE's search.
    """

    method: str
    told: Mapping[str, Option]
    search: str
    objective: Objective
    limits: Limits = Limits()

    @property
    def options(self) -> dict[str, Option]:
        """What is known of the approach beforehand.

        Raises:
          InputError: there is no such method, search or option, or a limit is given to a
            method that has none.
        """
        chosen_search(self.search)
        told = full_options(self.method, self.told)
        if self.method == "eagle":
            return {"search": self.search}
        for name, value in vars(self.limits).items():
            if value is not None:
                raise InputError(
                    f"{name} limits the searches of eagle; {self.method} is told what to spend "
                    f"by its options: {', '.join(told) or 'it has none'}"
                )
        return told

    def find(
        self,
        cases: Sequence[Case],
        together: int | None = None,
        on_progress: Callable[[Progress], Any] = lambda progress: None,
        interrupted: Callable[[], bool] = never,
    ) -> list[tuple[SearchResult, Float32[np.ndarray, "H W"] | None, int]]:
        """What is found for each case, the map it was found by, if by one, and how many passes
        the gradient was taken of."""
        if self.method != "eagle":
            seen = 0

            def count(forwards: int) -> None:
                nonlocal seen
                seen += forwards
                on_progress(Progress(seen, None, None, (None,) * len(cases)))

            ranked = rank_regions(
                cases, self.method, self.told, together=together, on_progress=count
            )
            return [(one.found, one.heat, one.backwards) for one in ranked]
        found = find_orders(
            [case.scorer for case in cases],
            self.search,
            objective=self.objective,
            limits=self.limits,
            together=together,
            on_progress=on_progress,
            interrupted=interrupted,
        )
        return [(one, None, 0) for one in found]


def _case(
    asked: Case | Model,
    image: ImageSource | None,
    prompt: str | None,
    question: dict[str, Any],
) -> Case:
    if isinstance(asked, Model):
        if image is None or prompt is None:
            raise InputError("a model is explained about an image and a prompt: give both")
        return ask(asked, image, prompt, **question)
    given = {"image": image, "prompt": prompt} | question
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name} is part of a case already: give it to eagle_jax.ask")
    return asked


def conclude(
    case: Case,
    approach: Approach,
    found: SearchResult,
    heat: Float32[np.ndarray, "H W"] | None,
    backwards: int,
    seconds: float,
) -> Attribution:
    """The attribution that was found.

    Args:
      case: what is explained.
      approach: how.
      found: of `Approach.find`.
      heat: likewise.
      backwards: likewise.
      seconds: that it took.

    Returns:
      The attribution, with its image.
    """
    options = approach.options
    if approach.method == "eagle":
        options = {"search": found.search}
        if approach.search != found.search:
            options["chosen_by"] = approach.search
        limits = vars(approach.limits).items()
        options |= {name: one for name, one in limits if one is not None}
        if found.ended is not None:
            options["ended"] = found.ended
    estimates = {} if found.estimates is None else found.estimates._asdict()
    return Attribution(
        image=case.image,
        labels=case.labels,
        **found.curves._asdict(),
        prompt=case.prompt,
        answer=case.answer,
        answer_ids=case.answer_ids,
        answer_tokens=case.answer_tokens,
        positions=case.positions,
        token_ids=case.token_ids,
        tokens=case.scorer.tokens,
        insight_weight=float(approach.objective.insight_weight),
        necessity_weight=float(approach.objective.necessity_weight),
        model=case.model.name,
        forwards=found.forwards,
        backwards=backwards,
        seconds=seconds,
        method=approach.method,
        options=options,
        heat=heat,
        **estimates,
    )
