"""TAM, the token activation map: what the last states of the visual tokens say of a word."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from eagle_jax.baselines.maps import Heat, as_published, frames_of, grids, painted, stretched
from eagle_jax.inputs.patches import AnyArray
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import final_states, whole_patches
from eagle_jax.scoring.question import Question


class Activations(NamedTuple):
    """Activations of words: the positive part of their logits, whatever a position predicts.

    Attributes:
      targets: activation of each target at each visual token, then at each position.
      words: activation of each token of the sequence at each visual token.
      greedy: activation at each visual token of the word that the model would put after the
        first prompt token behind the image.
    """

    targets: Float[AnyArray, "v+s t"]
    words: Float[AnyArray, "v s"]
    greedy: Float[AnyArray, " v"]


def tam(case: Case, *, variant: str = "paper") -> Heat:
    """Activation maps of the target tokens, without the activation of earlier words.

    The activation of a word at a position is the positive part of its logit there. The maps
    of earlier words are subtracted from the map of a target, as far as these words are active
    for the target (estimated causal inference). The rest is scaled together with the
    activations at these words and smoothed by rank. All this takes a single forward.

    Args:
      case: the case to explain.
      variant: "paper"; "published" for the variant in the EAGLE repository: nothing is
        subtracted, grids are those of `eagle_jax.baselines.maps.as_published`, the values are
        rounded to integers, and the map of an answer's first token is that of a prompt token.

    Returns:
      The mean of the targets' maps.

    References:
      Li et al., "Token Activation Map", arXiv 2506.23270, section 3.
    """
    published, merge = variant == "published", case.question.plan.merge_size
    words = activations(case.model.network, case.question.padded)
    words = Activations(*(np.asarray(values, np.float64) for values in words))
    maps = []
    for target in range(len(case.positions)):
        values = _scaled_map(case, words, target, published)
        if published:
            smooth = np.floor(255 * rank_gaussian(as_published(case, values)))
            maps.append(stretched(smooth, *case.image.shape[:2]))
        else:
            smooth = [rank_gaussian(grid) for grid in grids(frames_of(case), values, merge)]
            maps.append(painted(case, smooth))
    return Heat(np.stack(maps).mean(axis=0), 1, 0)


def _scaled_map(
    case: Case, words: Activations, target: int, published: bool
) -> Float64[np.ndarray, " v"]:
    """The map of a target at the visual tokens, scaled together with the words before it."""
    position, tokens = int(case.positions[target]), case.question.plan.tokens
    image, texts = np.split(words.targets[:, target], [tokens])
    if published and position == 0:
        return _jointly_scaled(words.greedy, texts[:0])
    context = np.arange(int(case.question.start) + tokens, len(case.prompt_ids) + position - 1)
    texts = texts[context]
    if not published:
        ids = np.concatenate([case.prompt_ids, case.answer_ids])[context]
        others = ids != case.token_ids[target]
        image = without_interference(image, words.words[:, context[others]], texts[others])
    return _jointly_scaled(image, texts)


def without_interference(
    target: Float64[np.ndarray, " v"],
    earlier: Float64[np.ndarray, "v c"],
    weights: Float64[np.ndarray, " c"],
) -> Float64[np.ndarray, " v"]:
    """The part of a map that the maps of earlier words do not explain.

    Args:
      target: activation of the target at each visual token.
      earlier: activation of each earlier word at each visual token.
      weights: activation of the target at each earlier word.

    Returns:
      ``relu(target - s * interference)``, where the interference is the weighted sum of the
      earlier words' maps and s its least-squares fit to the target's map.
    """
    interference = earlier @ weights
    power = interference @ interference
    if power == 0:
        return target
    return np.maximum(target - (target @ interference / power) * interference, 0)


def rank_gaussian(grid: Float[np.ndarray, "rows columns"]) -> Float64[np.ndarray, "_ _"]:
    """Smooths a map by Gaussian weights over the ranks of each 3 x 3 neighbourhood.

    The middle rank has the largest weight. The width of the Gaussian is the standard deviation
    of the neighbourhood divided by its mean.
    """
    edged = np.pad(grid.astype(np.float64), 1, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(edged, (3, 3))
    values = np.sort(windows.reshape(*grid.shape, 9), axis=-1)
    mean, deviation = values.mean(axis=-1), values.std(axis=-1)
    flat = (mean <= 0) | (deviation == 0)
    width = np.divide(deviation, mean, out=np.ones_like(mean), where=~flat)
    weights = np.exp(-((np.arange(9) - 4) ** 2) / (2 * width[..., None] ** 2))
    smooth = (weights * values).sum(axis=-1) / weights.sum(axis=-1)
    return np.where(flat, values[..., 4], smooth)


def _jointly_scaled(image: np.ndarray, texts: np.ndarray) -> np.ndarray:
    together = np.concatenate([image, texts])
    low, high = together.min(), together.max()
    return (image - low) / (high - low if high > low else 1)


@jax.jit
def activations(network: Network, question: Question) -> Activations:
    """Activations of the targets and of the words of the sequence, float32.

    Args:
      network: the model's modules.
      question: a `Question.padded`.
    """
    hidden = final_states(network, question, whole_patches(question))[0]
    decoder, tokens = network.decoder, question.plan.tokens
    visual = jax.lax.dynamic_slice_in_dim(hidden, question.start, tokens)
    with full_precision(network):
        targets = decoder.logits_of(jnp.concatenate([visual, hidden]), question.token_ids)
        words = decoder.logits_of(visual, question.ids)
        predicted = decoder.logits(hidden[question.start + tokens]).argmax()
        greedy = decoder.logits_of(visual, predicted[None])[:, 0]
    return Activations(*map(jax.nn.relu, (targets, words, greedy)))
