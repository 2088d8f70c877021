"""From an image and a prompt to an attribution: the whole story."""

import time
from typing import Any, overload

from tqdm import tqdm

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import ImageSource
from eagle_jax.inputs.regions import Regions
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring.case import Answer, Case, Target, TargetIds, ask
from eagle_jax.scoring.model import Model
from eagle_jax.search import Found, Objective, Progress, find_orders
from eagle_jax.search.methods import chosen_search


@overload
def explain(
    asked: Case,
    *,
    search: str = ...,
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
    search: str = ...,
    insight_weight: float = ...,
    necessity_weight: float = ...,
    progress: bool = ...,
) -> Attribution: ...


def explain(
    asked: Case | Model,
    image: ImageSource | None = None,
    prompt: str | None = None,
    *,
    search: str = "exact",
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

    Args:
      asked: a case from `eagle_jax.ask`; or a model from `eagle_jax.load`, which is then asked.
      image: a path, a PIL image, or an array of uint8 pixels; none for a case.
      prompt: the question or instruction; none for a case.
      search: a name of `eagle_jax.search.SEARCHES`.
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
    chosen_search(search)
    objective = Objective(insight_weight, necessity_weight)
    begin = time.perf_counter()
    case = _case(asked, image, prompt, question)
    with tqdm(disable=not progress, unit=" forwards", leave=False) as bar:

        def report(state: Progress) -> None:
            bar.total = state.planned
            if state.area is not None:
                bar.set_postfix_str(f"insertion - deletion {state.area:.3f}", refresh=False)
            bar.update(state.forwards - bar.n)

        (found,) = find_orders([case.scorer], search, objective=objective, report=report)
    return conclude(case, found, search, objective, time.perf_counter() - begin)


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
    case: Case, found: Found, search: str, objective: Objective, seconds: float
) -> Attribution:
    """The attribution that a search found.

    Args:
      case: what was explained.
      found: what the search returned.
      search: its name.
      objective: what it sought.
      seconds: that it took.

    Returns:
      The attribution, with its image.
    """
    return Attribution(
        image=case.image,
        labels=case.labels,
        **found.curves._asdict(),
        prompt=case.prompt,
        answer=case.answer,
        answer_ids=case.answer_ids,
        answer_tokens=case.answer_tokens,
        target=case.target,
        token_ids=case.token_ids,
        tokens=case.scorer.tokens,
        insight_weight=float(objective.insight_weight),
        necessity_weight=float(objective.necessity_weight),
        model=case.model.name,
        options={"search": search},
        forwards=found.forwards,
        seconds=seconds,
    )
