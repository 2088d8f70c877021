"""From a case and a method to the order of its regions, and the curves along it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from eagle_jax.argument_types import checked
from eagle_jax.baselines.conversations import Conversation, Estimate
from eagle_jax.baselines.maps import Heat
from eagle_jax.baselines.methods import (
    METHODS,
    MethodChoice,
    Option,
    chosen_method,
    full_options,
    method_name,
)
from eagle_jax.errors import InputError
from eagle_jax.metrics.localisation import region_means
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.scorer import DEVICES, Scorer
from eagle_jax.search import SearchResult
from eagle_jax.search.conversations import answer_alone
from eagle_jax.search.sets import curves_from, sets_along


class Ranking(NamedTuple):
    """The order in which a method puts the regions of an image.

    Attributes:
      result: the order, the curves along it, and the number of forwards of both.
      scores: importance of each region, higher is more important; None for EAGLE, whose
        search gives an order and no scores.
      heat: map over the pixels whose means over the regions are the scores, or the scores
        painted on the regions; None for EAGLE, and for a scorer without a label map.
      backwards: number of forwards of which the gradient was taken.
      further: label map and result of each further partition of the image.
    """

    result: SearchResult
    scores: Float64[np.ndarray, " n"] | None = None
    heat: Float32[np.ndarray, "H W"] | None = None
    backwards: int = 0
    further: tuple[tuple[np.ndarray, SearchResult], ...] = ()

    @property
    def forwards(self) -> int:
        """Number of masked images that were scored, on all partitions."""
        return self.result.forwards + sum(result.forwards for _, result in self.further)


@checked
def rank_regions(
    asked: Sequence[Case | Scorer],
    method: MethodChoice,
    options: Mapping[str, Option] | None = None,
    *,
    on_progress: Callable[[int], Any] = lambda forwards: None,
) -> list[Ranking]:
    """Ranks the regions of images by a method other than EAGLE.

    A method of your own is a function of a `Case`. It returns a score for each of the n
    regions, or a map (H, W) over the pixels of the image whose means over the regions are the
    scores; a higher score is more important. Its keyword-only arguments are its options. It may
    return a `eagle_jax.baselines.maps.Heat` instead, a map with the number of forwards and
    gradients that it took, which are otherwise not counted.

    Args:
      asked: cases; or scorers of any kind, for methods that need only probabilities.
      method: a name of `METHODS`, a `Method`, or a function of your own.
      options: options of the method by name, see `Method.options`.
      on_progress: called now and then with the number of forwards since the last call.

    Returns:
      For each case or scorer the order and the scores of its regions.

    Raises:
      InputError: the method does not exist, is EAGLE, has no such option, needs the weights of
        a model where a scorer was given, or returned neither scores nor a map.
    """
    scorers = [each.scorer if isinstance(each, Case) else each for each in asked]
    rankings = [ranking_of(each, method, options) for each in asked]
    return [
        answer_alone(scorer, ranking, on_progress)
        for scorer, ranking in zip(scorers, rankings, strict=True)
    ]


def ranking_of(
    asked: Case | Scorer, method: MethodChoice, options: Mapping[str, Option] | None = None
) -> Conversation[Ranking]:
    """Ranks the regions of an image as `rank_regions` does, as a conversation.

    Args:
      asked: a case; or a scorer of any kind, for methods that need only probabilities.
      method: a name of `METHODS`, a `Method`, or a function of your own.
      options: options of the method by name.

    Returns:
      A generator that asks for scores of sets and returns the ranking.

    Raises:
      InputError: as `rank_regions`, now or within the conversation.
    """
    options = full_options(method, options or {})
    name, chosen = method_name(method), chosen_method(method)
    if chosen.searches:
        raise InputError("eagle finds an order by a search: see eagle_jax.search.find_orders")
    if chosen.estimate is not None:
        scorer = asked.scorer if isinstance(asked, Case) else asked
        return _estimated(name, scorer, chosen.estimate(scorer, **options))
    assert chosen.look is not None
    bridged = isinstance(asked, Case) and asked.model.backend == "bridge" and name in METHODS
    if bridged or not isinstance(asked, Case):
        others = [key for key, known in METHODS.items() if known.needs == "probabilities"]
        why = "this scorer has none: give a case of eagle_jax.ask"
        why = "the bridge does not show it: take a ported model" if bridged else why
        raise InputError(
            f"{name} looks into the network, and {why}, or use one of {', '.join(others)}"
        )
    return _looked(name, asked, functools.partial(chosen.look, asked, **options))


def _estimated(name: str, scorer: Scorer, estimate: Estimate) -> Conversation[Ranking]:
    """An estimate, and then the curves along the order that it makes."""
    forwards = rounds = 0
    answer = None
    while True:
        try:
            sets = estimate.send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            scores = end.value
            break
        answer = yield sets
        forwards, rounds = forwards + len(answer), rounds + 1
    order = _order(scores)
    sets = sets_along(order)
    curves = curves_from(order, (yield sets))
    labels = getattr(scorer, "labels", None)
    heat = None if labels is None else scores.astype(np.float32)[labels]
    return Ranking(SearchResult(curves, forwards + len(sets), rounds + 1, name), scores, heat)


def _looked(
    name: str, case: Case, look: Callable[[], np.ndarray | Heat]
) -> Conversation[Ranking]:
    with DEVICES:
        returned = look()
    n, shape = case.scorer.regions, case.labels.shape
    given = isinstance(returned, Heat)
    values, forwards, backwards = returned if given else (returned, 0, 0)
    values = np.asarray(values)
    if values.shape not in ((n,), shape) or not np.isfinite(values).all():
        case.scorer(np.ones((1, n), bool))  # whose message counts where the model overflows
        raise InputError(
            f"method {name} returned an array of shape {values.shape}; it must return {n} "
            f"finite scores, one for each region, or a finite map of shape {shape}"
        )
    if values.shape == shape:
        heat = values.astype(np.float32)
        scores = region_means(case.labels, heat)
    else:
        scores = values.astype(np.float64)
        heat = scores.astype(np.float32)[case.labels]
    order = _order(scores)
    curves = curves_from(order, (yield sets_along(order)))
    return Ranking(SearchResult(curves, forwards + 2 * n, 2, name), scores, heat, backwards)


def _order(scores: np.ndarray) -> np.ndarray:
    # Among equal scores the lowest region number comes first, as in a search.
    return np.argsort(-scores, kind="stable").astype(np.int32)
