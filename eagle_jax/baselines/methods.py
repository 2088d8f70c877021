"""The table of methods: EAGLE, the methods it is compared with, and methods of your own."""

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from eagle_jax.argument_types import checked
from eagle_jax.baselines.attention import relevance, rollout
from eagle_jax.baselines.conversations import Estimate
from eagle_jax.baselines.igos import igos
from eagle_jax.baselines.integrated_gradients import integrated_gradients
from eagle_jax.baselines.llava_cam import llava_cam
from eagle_jax.baselines.maps import Heat
from eagle_jax.baselines.occlusion import leave_one_out, occlusion, random
from eagle_jax.baselines.options import Option
from eagle_jax.baselines.rise import rise
from eagle_jax.baselines.surrogates import kernelshap, lime
from eagle_jax.baselines.tam import tam
from eagle_jax.errors import InputError, require_choice
from eagle_jax.search.methods import name_of

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
