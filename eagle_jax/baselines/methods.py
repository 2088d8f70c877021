"""The table of methods: EAGLE, and what it is compared with."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from eagle_jax.baselines.attention import relevance, rollout
from eagle_jax.baselines.conversations import Conversation, Estimate, answer_all
from eagle_jax.baselines.igos import igos
from eagle_jax.baselines.integrated_gradients import integrated_gradients
from eagle_jax.baselines.llava_cam import llava_cam
from eagle_jax.baselines.maps import Heat, pooled
from eagle_jax.baselines.occlusion import leave_one_out, occlusion, random
from eagle_jax.baselines.rise import rise
from eagle_jax.baselines.surrogates import kernelshap, lime
from eagle_jax.baselines.tam import tam
from eagle_jax.errors import InputError
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search import SearchResult, curves_along
from eagle_jax.search.sets import Curves, curves_from, sets_along

Option = str | int | float | bool | None
VARIANTS = ("paper", "published")


class Method(NamedTuple):
    """A method that can be chosen by name.

    Attributes:
      summary: what it does.
      needs: "probabilities" of the targets, which any scorer gives, or the "weights" of a
        model.
      forwards: images the model sees, for n regions; the 2 n along the order, which every
        method's curves take, not counted.
      backwards: of these, how many the gradient is taken of.
      reference: the paper.
      estimate: from a scorer to its conversation, of methods that need probabilities.
      look: from a case to its map, of those that need weights.
    """

    summary: str
    needs: str
    forwards: str
    backwards: str
    reference: str
    estimate: Callable[..., Estimate] | None = None
    look: Callable[..., Heat] | None = None

    @property
    def options(self) -> dict[str, Option]:
        """What the method can be told, and what it takes otherwise."""
        function = self.estimate or self.look
        if function is None:
            return {}
        parameters = inspect.signature(function).parameters.values()
        return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def _asks(summary: str, forwards: str, reference: str, estimate: Callable) -> Method:
    return Method(summary, "probabilities", forwards, "0", reference, estimate=estimate)


def _looks(
    summary: str, forwards: str, backwards: str, reference: str, look: Callable
) -> Method:
    return Method(summary, "weights", forwards, backwards, reference, look=look)


METHODS = {
    "eagle": Method(
        "regions in the order of a greedy search",
        "probabilities",
        "n (n + 1) with the exact search",
        "0",
        "Chen et al., arXiv 2509.22496",
    ),
    "llava-cam": _looks(
        "activation and gradient of one decoder layer, under noise",
        "50",
        "50, from the layer on",
        "Zhang et al., arXiv 2406.06579",
        llava_cam,
    ),
    "igos++": _looks(
        "a deletion and an insertion mask, by integrated gradients",
        "202",
        "200",
        "Khorram et al., arXiv 2012.15783; Xing et al., arXiv 2503.13891",
        igos,
    ),
    "tam": _looks(
        "logits of the words at the visual tokens, less those of earlier words",
        "1",
        "0",
        "Li et al., arXiv 2506.23270",
        tam,
    ),
    "rise": _asks(
        "mean score when a region happens to be visible",
        "4000",
        "Petsiuk et al., arXiv 1806.07421",
        rise,
    ),
    "lime": _asks(
        "ridge regression on random sets near the whole image",
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
        "loss when a region and those that touch it are hidden",
        "n + 1",
        "Zeiler and Fergus, arXiv 1311.2901",
        occlusion,
    ),
    "leave-one-out": _asks(
        "loss when a region is hidden",
        "n + 1",
        "Zeiler and Fergus, arXiv 1311.2901",
        leave_one_out,
    ),
    "random": _asks("a random order, as a control", "0", "", random),
    "integrated-gradients": _looks(
        "gradients along the way from the black image",
        "50",
        "50",
        "Sundararajan et al., arXiv 1703.01365",
        integrated_gradients,
    ),
    "rollout": _looks(
        "products of the decoder's attention",
        "1",
        "0",
        "Abnar and Zuidema, arXiv 2005.00928",
        rollout,
    ),
    "relevance": _looks(
        "the decoder's attention, weighed by its gradient",
        "1",
        "one per target",
        "Chefer et al., arXiv 2103.15679",
        relevance,
    ),
}


class Ranked(NamedTuple):
    """The regions of an image by a method that gives each a number.

    Attributes:
      scores: of each region; higher is more important.
      heat: the map whose means over the regions they are, or the scores painted on the
        regions; None where nobody knows where the regions are.
      found: the order, the curves along it, and the forwards of both.
      backwards: passes the gradient was taken of.
    """

    scores: Float64[np.ndarray, " n"]
    heat: Float32[np.ndarray, "H W"] | None
    found: SearchResult
    backwards: int


def methods() -> dict[str, Method]:
    """All methods by name: what each does, needs and costs, its options and its reference."""
    return dict(METHODS)


def chosen_method(name: str) -> Method:
    """The method of a name.

    Raises:
      InputError: there is none; the message lists those that there are.
    """
    if name not in METHODS:
        raise InputError(f"method is {name!r}; it must be one of {', '.join(METHODS)}")
    return METHODS[name]


def full_options(name: str, options: Mapping[str, Option]) -> dict[str, Option]:
    """All options of a method, those that were not given with their defaults.

    Args:
      name: of the method.
      options: that were given.

    Raises:
      InputError: there is no such method or option, or an option has no such value.
    """
    known = chosen_method(name).options
    for option, value in options.items():
        if option not in known:
            those = ", ".join(known) or "no options"
            raise InputError(f"{name} has no option {option!r}; it has {those}")
        if option in ("samples", "steps", "iterations") and (
            not isinstance(value, int) or isinstance(value, bool) or value < 1
        ):
            raise InputError(f"{option} is {value!r}; it must be a whole number of at least 1")
    found = known | dict(options)
    if found.get("variant", "paper") not in VARIANTS:
        raise InputError(f"variant is {found['variant']!r}; it must be paper or published")
    return found


def rank_regions(
    asked: Sequence[Case | Scorer],
    method: str,
    options: Mapping[str, Option] | None = None,
    *,
    together: int | None = None,
    on_progress: Callable[[int], Any] = lambda forwards: None,
) -> list[Ranked]:
    """Ranks the regions of images by a method other than EAGLE.

    Args:
      asked: cases; or scorers of any kind, for methods that need probabilities alone.
      method: its name.
      options: what it is told, by name, see `Method.options`.
      together: number of images that programs are compiled for, see
        `eagle_jax.search.lockstep.Lockstep`.
      on_progress: called now and then with the number of images the model saw since.

    Returns:
      What was found for each.

    Raises:
      InputError: the method does not exist, is EAGLE, cannot be told this, or needs the
        weights of a model where there are none.
    """
    chosen, told = chosen_method(method), full_options(method, options or {})
    scorers = [one.scorer if isinstance(one, Case) else one for one in asked]
    if chosen.estimate is not None:
        talks = [_ranked(chosen.estimate(scorer, **told)) for scorer in scorers]
        return [
            _painted(method, scorer, *one)
            for scorer, one in zip(
                scorers, answer_all(talks, scorers, together, on_progress), strict=True
            )
        ]
    if chosen.look is None:
        raise InputError("eagle finds an order by a search: see eagle_jax.search.find_orders")
    ranked = []
    for one in asked:
        if not isinstance(one, Case):
            those = [name for name, other in METHODS.items() if other.needs == "probabilities"]
            raise InputError(
                f"{method} looks into the network, and this scorer is no model's: take one of "
                f"{', '.join(those)}"
            )
        ranked.append(_pooled(method, one, chosen.look(one, **told)))
        on_progress(ranked[-1].found.forwards)
    return ranked


def _ranked(estimate: Estimate) -> Conversation[tuple[Float64[np.ndarray, "n"], Curves]]:
    """An estimate, and then the curves along the order that it makes."""
    scores = yield from estimate
    order = _order(scores)
    along = yield sets_along(order)
    return scores, curves_from(order, along)


def _painted(method: str, scorer: Scorer, outcome: tuple, forwards: int, rounds: int) -> Ranked:
    scores, curves = outcome
    labels = getattr(scorer, "labels", None)
    heat = None if labels is None else scores.astype(np.float32)[labels]
    return Ranked(scores, heat, SearchResult(curves, forwards, rounds, method), 0)


def _pooled(method: str, case: Case, found: Heat) -> Ranked:
    scores = pooled(case.labels, found.heat)
    curves = curves_along(case.scorer, _order(scores))
    forwards = found.forwards + 2 * case.scorer.regions
    return Ranked(
        scores, found.heat, SearchResult(curves, forwards, 2, method), found.backwards
    )


def _order(scores: np.ndarray) -> np.ndarray:
    # The first of equals comes first, as in a search.
    return np.argsort(-scores, kind="stable").astype(np.int32)
