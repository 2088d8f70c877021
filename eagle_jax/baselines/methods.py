"""The table of methods: EAGLE, the methods it is compared with, and methods of your own."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from eagle_jax.argument_types import checked
from eagle_jax.baselines.attention import relevance, rollout
from eagle_jax.baselines.conversations import Conversation, Estimate, answer_all
from eagle_jax.baselines.igos import igos
from eagle_jax.baselines.integrated_gradients import integrated_gradients
from eagle_jax.baselines.llava_cam import llava_cam
from eagle_jax.baselines.maps import Heat
from eagle_jax.baselines.occlusion import leave_one_out, occlusion, random
from eagle_jax.baselines.rise import rise
from eagle_jax.baselines.surrogates import kernelshap, lime
from eagle_jax.baselines.tam import tam
from eagle_jax.errors import InputError, require_choice
from eagle_jax.metrics.localisation import region_means
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search import SearchResult, curves_along
from eagle_jax.search.methods import name_of
from eagle_jax.search.sets import Curves, curves_from, sets_along

Option = str | int | float | bool | None
VARIANTS = ("paper", "published")
# From a case, and options as keywords, to n scores, a map (H, W) or a `Heat`.
MethodFunction = Callable[..., np.ndarray | Heat]


@checked
class Method(NamedTuple):
    """A method that can be chosen by name.

    Attributes:
      summary: what the method does, in one line.
      needs: "probabilities" of the target tokens, which any scorer gives, or the "weights" of
        a model.
      forwards: number of masked images for n regions, without the 2 n along the order that the
        curves of every method take.
      backwards: number of these forwards of which the gradient is taken.
      reference: the paper.
      estimate: for methods that need probabilities: from a scorer to a generator, which yields
        sets of regions, is sent their scores and returns the importance of each region.
      look: for methods that need weights: from a case to a map over the pixels, or to the
        importance of each region.

    EAGLE, which searches for an order instead, has neither `estimate` nor `look`.
    """

    summary: str
    needs: str
    forwards: str
    backwards: str
    reference: str
    estimate: Callable[..., Estimate] | None = None
    look: MethodFunction | None = None

    @property
    def options(self) -> dict[str, Option]:
        """The options of the method with their defaults: its keyword-only arguments."""
        function = self.estimate or self.look
        if function is None:
            return {}
        parameters = inspect.signature(function).parameters.values()
        return {
            each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY
        }

    @property
    def searches(self) -> bool:
        """Whether the method is EAGLE, whose order comes from a search."""
        return self.estimate is None and self.look is None


MethodChoice = str | Method | MethodFunction


def _asks(summary: str, forwards: str, reference: str, estimate: Callable) -> Method:
    return Method(summary, "probabilities", forwards, "0", reference, estimate=estimate)


def _looks(
    summary: str, forwards: str, backwards: str, reference: str, look: Callable
) -> Method:
    return Method(summary, "weights", forwards, backwards, reference, look=look)


METHODS = {
    "eagle": Method(
        "a greedy search for the order of the regions",
        "probabilities",
        "n (n + 1) with the exact search",
        "0",
        "Chen et al., arXiv 2509.22496",
    ),
    "llava-cam": _looks(
        "activations times gradients of one decoder layer, averaged over noise",
        "50",
        "50, from the layer on",
        "Zhang et al., arXiv 2406.06579",
        llava_cam,
    ),
    "igos++": _looks(
        "a soft mask for deletion and insertion, optimised by integrated gradients",
        "202",
        "200",
        "Khorram et al., arXiv 2012.15783; Xing et al., arXiv 2503.13891",
        igos,
    ),
    "tam": _looks(
        "logits of the target at the visual tokens, less those of earlier words",
        "1",
        "0",
        "Li et al., arXiv 2506.23270",
        tam,
    ),
    "rise": _asks(
        "mean score of the random masked images that show a region",
        "4000",
        "Petsiuk et al., arXiv 1806.07421",
        rise,
    ),
    "lime": _asks(
        "ridge regression on random sets of visible regions",
        "1000",
        "Ribeiro et al., arXiv 1602.04938",
        lime,
    ),
    "kernelshap": _asks(
        "Shapley values by weighted least squares",
        "2050",
        "Lundberg and Lee, arXiv 1705.07874",
        kernelshap,
    ),
    "occlusion": _asks(
        "drop of the score when a region and its neighbours are hidden",
        "n + 1",
        "Zeiler and Fergus, arXiv 1311.2901",
        occlusion,
    ),
    "leave-one-out": _asks(
        "drop of the score when a region is hidden",
        "n + 1",
        "Zeiler and Fergus, arXiv 1311.2901",
        leave_one_out,
    ),
    "random": _asks("a random order, as a control", "0", "", random),
    "integrated-gradients": _looks(
        "gradients summed on the way from the fill to the image",
        "50",
        "50",
        "Sundararajan et al., arXiv 1703.01365",
        integrated_gradients,
    ),
    "rollout": _looks(
        "product of the attention matrices of the decoder",
        "1",
        "0",
        "Abnar and Zuidema, arXiv 2005.00928",
        rollout,
    ),
    "relevance": _looks(
        "attention of the decoder, weighted by its gradient",
        "1",
        "one per target",
        "Chefer et al., arXiv 2103.15679",
        relevance,
    ),
}


class Ranking(NamedTuple):
    """The order in which a method puts the regions of an image.

    Attributes:
      result: the order, the curves along it, and the number of forwards of both.
      scores: importance of each region, higher is more important; None for EAGLE, whose
        search gives an order and no scores.
      heat: map over the pixels whose means over the regions are the scores, or the scores
        painted on the regions; None for EAGLE, and for a scorer without a label map.
      backwards: number of forwards of which the gradient was taken.
    """

    result: SearchResult
    scores: Float64[np.ndarray, " n"] | None = None
    heat: Float32[np.ndarray, "H W"] | None = None
    backwards: int = 0


def methods() -> dict[str, Method]:
    """All methods by name, with their requirements, costs, options and references."""
    return dict(METHODS)


def chosen_method(method: MethodChoice) -> Method:
    """The method of a name, or of a function of your own.

    Args:
      method: a name of `METHODS`, a `Method`, or a function as in `rank_regions`.

    Raises:
      InputError: there is no method of this name; the message lists the names.
    """
    if isinstance(method, Method):
        return method
    if callable(method):
        return _looks((method.__doc__ or "").partition("\n")[0], "", "", "", method)
    require_choice("method", method, METHODS)
    return METHODS[method]


def method_name(method: MethodChoice) -> str:
    """The name of a method: the name in `METHODS`, or `__name__` of a function of your own.

    Args:
      method: a name of `METHODS`, a `Method`, or a function as in `rank_regions`.
    """
    if isinstance(method, str):
        return method
    if not isinstance(method, Method):
        return name_of(method)
    for name, known in METHODS.items():
        if known == method:
            return name
    function = method.estimate or method.look
    return "eagle" if function is None else name_of(function)


def full_options(method: MethodChoice, options: Mapping[str, Option]) -> dict[str, Option]:
    """All options of a method: the given values, and the defaults of the others.

    Args:
      method: a name of `METHODS`, a `Method`, or a function as in `rank_regions`.
      options: given values by name.

    Raises:
      InputError: there is no such method or option, or an option has no such value.
    """
    name, known = method_name(method), chosen_method(method).options
    for option, value in options.items():
        if option not in known:
            names = ", ".join(known) or "no options"
            raise InputError(f"{name} has no option {option!r}; it has {names}")
        if option in ("samples", "steps", "iterations") and (
            not isinstance(value, int) or isinstance(value, bool) or value < 1
        ):
            raise InputError(f"{option} is {value!r}; it must be a whole number of at least 1")
        if option == "variant" and known["variant"] in VARIANTS and value not in VARIANTS:
            raise InputError(f"variant is {value!r}; it must be paper or published")
    return known | dict(options)


@checked
def rank_regions(
    asked: Sequence[Case | Scorer],
    method: MethodChoice,
    options: Mapping[str, Option] | None = None,
    *,
    together: int | None = None,
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
      together: number of images that programs are compiled for, see
        `eagle_jax.search.lockstep.Lockstep`.
      on_progress: called now and then with the number of forwards since the last call.

    Returns:
      For each case or scorer the order and the scores of its regions.

    Raises:
      InputError: the method does not exist, is EAGLE, has no such option, needs the weights of
        a model where a scorer was given, or returned neither scores nor a map.
    """
    options = full_options(method, options or {})
    name, chosen = method_name(method), chosen_method(method)
    if chosen.searches:
        raise InputError("eagle finds an order by a search: see eagle_jax.search.find_orders")
    if chosen.estimate is not None:
        scorers = [each.scorer if isinstance(each, Case) else each for each in asked]
        estimates = [_with_curves(chosen.estimate(scorer, **options)) for scorer in scorers]
        answered = answer_all(estimates, scorers, together, on_progress)
        rankings = []
        for scorer, ((scores, curves), forwards, rounds) in zip(scorers, answered, strict=True):
            labels = getattr(scorer, "labels", None)
            heat = None if labels is None else scores.astype(np.float32)[labels]
            result = SearchResult(curves, forwards, rounds, name)
            rankings.append(Ranking(result, scores, heat))
        return rankings
    assert chosen.look is not None
    rankings = []
    for case in asked:
        bridged = isinstance(case, Case) and case.model.backend == "bridge" and name in METHODS
        if bridged or not isinstance(case, Case):
            take = "which the bridge does not show: take a ported model"
            take = take if bridged else "and this scorer has none: give a case of eagle_jax.ask"
            others = ", ".join(k for k, m in METHODS.items() if m.needs == "probabilities")
            raise InputError(f"{name} looks into the network, {take}, or use one of {others}")
        rankings.append(_looked(name, case, chosen.look(case, **options)))
        on_progress(rankings[-1].result.forwards)
    return rankings


def _with_curves(estimate: Estimate) -> Conversation[tuple[Float64[np.ndarray, "n"], Curves]]:
    """An estimate, and then the curves along the order that it makes."""
    scores = yield from estimate
    order = _order(scores)
    along = yield sets_along(order)
    return scores, curves_from(order, along)


def _looked(name: str, case: Case, returned: np.ndarray | Heat) -> Ranking:
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
    curves = curves_along(case.scorer, _order(scores))
    return Ranking(SearchResult(curves, forwards + 2 * n, 2, name), scores, heat, backwards)


def _order(scores: np.ndarray) -> np.ndarray:
    # Among equal scores the lowest region number comes first, as in a search.
    return np.argsort(-scores, kind="stable").astype(np.int32)
