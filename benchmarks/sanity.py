"""Tests of methods that need no ground truth: an order must change when weights are shuffled,
and change little with the seed."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx
from jaxtyping import Int32

from eagle_jax.baselines.methods import Option, chosen_method
from eagle_jax.baselines.ranking import rank_regions
from eagle_jax.errors import InputError
from eagle_jax.scoring.case import Case, ask
from eagle_jax.scoring.model import Model
from eagle_jax.search import find_orders


def shuffled(model: Model, layers: int, seed: int = 0) -> Model:
    """The model with the weights of its last decoder layers shuffled.

    Args:
      model: from `eagle_jax.load`; it stays as it is.
      layers: number of layers, counted from the last.
      seed: equal seeds shuffle a layer equally, whatever the number of layers.

    Returns:
      A model whose tensors hold the same numbers in another order, each within its layer.

    Raises:
      InputError: the decoder has fewer layers.

    References:
      Adebayo et al., arXiv 1810.03292, section 3.1: cascading randomisation.
    """
    depth = model.network.config.decoder.layers
    if not 0 <= layers <= depth:
        raise InputError(f"layers is {layers}; the decoder has {depth}")
    network = nnx.clone(model.network)
    decoder, key = network.decoder, jax.random.key(seed)
    for place in range(depth - layers, depth):
        layer_key = jax.random.fold_in(key, place)

        def mix(leaf, layer_key=layer_key):
            return jax.random.permutation(layer_key, leaf.ravel()).reshape(leaf.shape)

        if place == depth - 1:
            decoder.last = jax.tree.map(mix, decoder.last)
        else:
            decoder.layers = jax.tree.map(
                lambda leaf, place=place, mix=mix: leaf.at[place].set(mix(leaf[place])),
                decoder.layers,
            )
    return dataclasses.replace(model, network=network)


def orders_under_shuffling(
    case: Case, method: str, options: Mapping[str, Option] | None = None, seed: int = 0
) -> list[Int32[np.ndarray, "n"]]:
    """The orders a method finds as more and more layers are shuffled.

    Args:
      case: the question; its answer and its target stay.
      method: a name of `eagle_jax.methods`.
      options: options of the method.
      seed: seed of the shuffling.

    Returns:
      The order with the weights as they are, with one layer shuffled, with two, and so on.
    """
    orders = []
    for layers in range(case.model.network.config.decoder.layers + 1):
        other = ask(
            shuffled(case.model, layers, seed),
            case.image,
            case.prompt,
            answer=case.answer_ids,
            target=case.positions,
            target_ids=case.token_ids,
            regions=case.labels,
            batch_size=case.scorer.batch_size,
        )
        if method == "eagle":
            (result,) = find_orders([other.scorer], "exact")
        else:
            (ranked,) = rank_regions([other], method, options)
            result = ranked.result
        orders.append(result.curves.order)
    return orders


def orders_under_seeds(
    case: Case,
    method: str,
    options: Mapping[str, Option] | None = None,
    *,
    seeds: int = 3,
) -> list[Int32[np.ndarray, "n"]]:
    """The orders of a method that draws random numbers, with several seeds.

    Args:
      case: the question.
      method: a name of `eagle_jax.methods`, with an option "seed".
      options: other options of the method.
      seeds: number of seeds, from 0 on.

    Raises:
      InputError: the method draws no random numbers.
    """
    if "seed" not in chosen_method(method).options:
        raise InputError(f"{method} draws no random numbers: its order is the same every time")
    return [
        rank_regions([case], method, {**(options or {}), "seed": seed})[0].result.curves.order
        for seed in range(seeds)
    ]


def rank_correlation(first: Int32[np.ndarray, "n"], second: Int32[np.ndarray, "n"]) -> float:
    """Spearman's correlation of the ranks that two orders give the regions.

    Args:
      first: region numbers.
      second: the same numbers in any order.

    Returns:
      1 for equal orders, -1 for opposite orders, about 0 for unrelated orders; 1 for a single
      region.
    """
    difference = np.argsort(first) - np.argsort(second)
    n = len(first)
    return 1.0 if n == 1 else float(1 - 6 * (difference**2).sum() / (n * (n**2 - 1)))
