"""From an image and a prompt to an attribution: the whole story."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.baselines.methods import (
    MethodChoice,
    Option,
    chosen_method,
    full_options,
    method_name,
)
from eagle_jax.baselines.ranking import Ranking
from eagle_jax.errors import InputError
from eagle_jax.explaining.ranking import Approach, check_approach, rank_case
from eagle_jax.inputs.fill import Fill
from eagle_jax.inputs.images import ImageSource
from eagle_jax.inputs.regions import Regions
from eagle_jax.interrupts import first_interrupt_waits, never
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring.case import Answer, Case, Target, TargetIds, ask
from eagle_jax.scoring.model import Model
from eagle_jax.search import Limits, Objective, Progress
from eagle_jax.search.conversations import answer_alone
from eagle_jax.search.methods import DEFAULT_SEARCH, SearchFunction, chosen_search


@checked
def explain(
    asked: Case | Model,
    image: ImageSource | None = None,
    prompt: str | None = None,
    *,
    answer: Answer | None = None,
    target: Target | None = None,
    target_ids: TargetIds | None = None,
    regions: Regions | Sequence[Regions] | None = None,
    fill: Fill | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
    published_rounding: bool | None = None,
    system: str | None = None,
    thinking: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    method: MethodChoice = "eagle",
    options: Mapping[str, Option] | None = None,
    search: str | SearchFunction = DEFAULT_SEARCH,
    budget: int | None = None,
    seconds: float | None = None,
    top_k: int | None = None,
    stop: float | None = None,
    insight_weight: float = 1.0,
    necessity_weight: float = 1.0,
    partitions: int = 1,
    progress: bool = False,
) -> Attribution:
    """Finds which regions of an image an answer rests on.

    The image is cut into regions, and a search orders them so that early regions both
    suffice for the target tokens and cannot be spared: each step adds the region that most
    raises the mean over the target tokens of
    ``insight_weight * p(token | chosen) + necessity_weight * (1 - p(token | rest))``.

    Methods other than EAGLE give each region a score instead, most of them by a map over the
    pixels; their curves follow the order of the scores.

    A search that is cut short, by its limits or by Ctrl-C, returns its partial result.

    Args:
      asked: a case from `eagle_jax.ask`, or a model from `eagle_jax.load`. A model also needs
        `image` and `prompt`. A case already holds them, and the arguments from `answer` to
        `max_pixels`, which belong to `eagle_jax.ask`.
      image: a path, a PIL image, or an array of uint8 pixels (H, W, 3).
      prompt: the question or instruction.
      answer: the answer to explain, as text or token ids; None lets the model answer.
      target: what to explain in the answer: None for every token; a word or phrase, which is
        looked for behind the thought of a model that thinks first; or positions of tokens.
      target_ids: tokens to score at these positions instead of the answer's, as ids or texts:
        "No" where the model said "Yes" asks what speaks for the other answer.
      regions: about this number of SLICO regions (default: 64), a form such as "grid:8x8", or
        an integer label map (H, W); or a sequence of partitions, each in one of these forms:
        first the regions, then the further `partitions`.
      fill: what is shown in place of hidden regions: "black" (default), "mean", the image's
        mean colour, "blur", or an image of the same size.
      max_new_tokens: largest number of tokens of an answer that the model generates
        (default: 128).
      batch_size: masked images per batch, a multiple of the devices along the mesh's "data"
        axis; None chooses.
      published_rounding: round pixels, logits and probabilities as the published code does,
        only to compare with its figures.
      system: system message in front of the conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.
      min_pixels, max_pixels: bounds of the number of pixels that the image is resized to, for
        models of Qwen; None keeps the model's.
      method: a name of `eagle_jax.methods`, a `Method`, or a function of your own, from a case
        to a score for each region or to a map (H, W), see `eagle_jax.baselines.rank_regions`.
      options: options of a method other than EAGLE by name, such as ``{"samples": 1000}``;
        `eagle_jax.methods` lists them with their defaults.
      search: how EAGLE finds the order: a name of `eagle_jax.search.SEARCHES`, or a search of
        your own, see `eagle_jax.search.find_orders`. Searches alone heed `budget`, `seconds`,
        `top_k`, `stop` and the two weights.
      budget: largest number of masked images to score; None for no limit.
      seconds: time after which the search ends and returns its partial result; None for no
        limit.
      top_k: number of leading regions to determine exactly; the others are estimated or left
        out, see `eagle_jax.search.Limits`. None for all regions.
      stop: fraction of the full image's score at which the order may end; None for all regions.
      insight_weight: lambda 1 of the paper, weight of sufficiency, p(token | chosen).
      necessity_weight: lambda 2 of the paper, weight of necessity, 1 - p(token | rest).
      partitions: number of partitions of the image: the regions, then superpixels of other
        sizes and shifted grids. The regions alone give the order and its curves; the map is
        made of the values of all partitions. Each further partition takes 3 forwards per
        region; with a budget, all further partitions share half of it.
      progress: show a progress bar, and say beforehand what a search of more than a minute
        costs.

    Returns:
      The attribution.

    Raises:
      InputError: an argument cannot be used; the message says what to do.

    References:
      EAGLE, arXiv 2509.22496, section 3.
    """
    objective = Objective(insight_weight, necessity_weight)
    limits = Limits(budget, seconds, top_k, stop)
    divisions: int | Sequence[Regions] = partitions
    if isinstance(regions, list | tuple):
        if partitions != 1 or not regions:
            raise InputError(
                f"partitions is {partitions} and regions is a sequence of {len(regions)}: name "
                "at least one partition, and leave out their number"
            )
        regions, *divisions = regions
    approach = Approach(method, options or {}, search, objective, limits, divisions)
    check_approach(approach)  # before the model is asked, which takes longer
    question = {
        "answer": answer,
        "target": target,
        "target_ids": target_ids,
        "regions": regions,
        "fill": fill,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
        "published_rounding": published_rounding,
        "system": system,
        "thinking": thinking,
        "min_pixels": min_pixels,
        "max_pixels": max_pixels,
    }
    case = _case(asked, image, prompt, question)
    if progress:
        # Imported when needed: it counts operations, for which few have a use.
        from eagle_jax.explaining.cost import announce_cost

        announce_cost(case, approach)
    return explain_case(case, approach, progress)


def explain_case(case: Case, approach: Approach, progress: bool = False) -> Attribution:
    """Explains a case; Ctrl-C ends a search with its partial result.

    Args:
      case: from `eagle_jax.ask`.
      approach: a method and its settings.
      progress: show a progress bar.

    Returns:
      The attribution.

    Raises:
      InputError: as `check_approach`, or the budget is too small.
    """
    begin = time.perf_counter()
    waits = first_interrupt_waits() if chosen_method(approach.method).searches else None
    interrupted = never
    with (
        contextlib.ExitStack() as stack,
        tqdm(disable=not progress, unit=" forwards", leave=False) as bar,
    ):

        def on_progress(state: Progress) -> None:
            nonlocal waits, interrupted
            # Before the first scores there is no partial result to wait for.
            if waits is not None:
                interrupted, waits = stack.enter_context(waits), None
            bar.total = state.planned
            if state.area is not None:
                bar.set_postfix_str(f"insertion - deletion {state.area:.3f}", refresh=False)
            bar.update(state.forwards - bar.n)

        asking = rank_case(case, approach, on_progress, lambda: interrupted())
        ranking = answer_alone(case.scorer, asking)
    return conclude(case, approach, ranking, time.perf_counter() - begin)


def conclude(case: Case, approach: Approach, ranking: Ranking, seconds: float) -> Attribution:
    """Makes an attribution of a ranking.

    Args:
      case: the case that was explained.
      approach: the method that was used, and its settings.
      ranking: from `rank_case`.
      seconds: time that the explanation took.

    Returns:
      The attribution, with its image.
    """
    result = ranking.result
    estimates = {} if result.estimates is None else result.estimates._asdict()
    return Attribution(
        image=case.image,
        fill=case.fill,
        labels=case.labels,
        **result.curves._asdict(),
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
        forwards=ranking.forwards,
        backwards=ranking.backwards,
        seconds=seconds,
        method=method_name(approach.method),
        options=_recorded_options(approach, ranking),
        heat=ranking.heat,
        cut=case.cut,
        **case.dialogue._asdict(),
        **estimates,
        **_further_arrays(ranking),
    )


def _further_arrays(ranking: Ranking) -> dict[str, Any]:
    """Regions, values and errors of all further partitions, numbered through."""
    if not ranking.further:
        return {}
    labels, results = zip(*ranking.further, strict=True)
    first = np.cumsum([0, *(int(each.max()) + 1 for each in labels[:-1])], dtype=np.int32)
    estimates = [result.estimates for result in results]
    return {
        "further_labels": np.stack(labels) + first[:, None, None],
        "further_values": np.concatenate([each.values for each in estimates], 1),
        "further_errors": np.concatenate([each.errors for each in estimates], 1),
    }


def _case(
    asked: Case | Model, image: ImageSource | None, prompt: str | None, question: dict[str, Any]
) -> Case:
    given = {name: value for name, value in question.items() if value is not None}
    if isinstance(asked, Model):
        if image is None or prompt is None:
            raise InputError("explaining a model needs an image and a prompt: give both")
        return ask(asked, image, prompt, **given)
    for name, value in {"image": image, "prompt": prompt, **given}.items():
        if value is not None:
            raise InputError(f"{name} is part of a case already: give it to eagle_jax.ask")
    return asked


def _recorded_options(approach: Approach, ranking: Ranking) -> dict[str, Option]:
    if not chosen_method(approach.method).searches:
        return full_options(approach.method, approach.options)
    result, (chosen, _) = ranking.result, chosen_search(approach.search)
    options: dict[str, Option] = {"search": result.search}
    if chosen != result.search:
        options["chosen_by"] = chosen
    limits = vars(approach.limits).items()
    options |= {name: value for name, value in limits if value is not None}
    results = result, *(further for _, further in ranking.further)
    if ended := next(filter(None, (each.ended for each in results)), None):
        options["ended"] = ended
    if ranking.further:
        options["partitions"] = len(results)
    return options
