"""TAM, the token activation map: what the visual tokens' last states say of a word."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from eagle_jax.baselines.maps import Heat, as_published, frames_of, grids, painted, stretched
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import final_states, whole_patches


def tam(case: Case, *, variant: str = "paper") -> Heat:
    """Activation maps of the target tokens, freed of the words before them.

    The activation of a word at a position is its logit there, whatever the position predicts,
    where that is positive. From the map of a target those of the words before it are
    subtracted, as far as they are active for the target (estimated causal inference); the
    rest is scaled together with these words' activations and smoothed by rank. All from one
    forward.

    Args:
      case: what is explained.
      variant: "paper"; "published" for what the EAGLE repository makes of it: nothing is
        subtracted, grids are those of `eagle_jax.baselines.maps.as_published`, the map is
        whole numbers, and for the first token of an answer it is that of a prompt token.

    Returns:
      The mean of the targets' maps.

    References:
      Li et al., "Token Activation Map", arXiv 2506.23270, section 3.
    """
    published, question = variant == "published", case.question
    ids = np.concatenate([case.prompt_ids, case.answer_ids])
    found = activations(case.model.network, question.padded)
    states, visual, greedy = (np.asarray(one, np.float64) for one in found)
    behind = int(question.start) + question.plan.tokens
    merge, shape = question.plan.merge_size, case.image.shape[:2]
    maps = []
    for i, (place, token) in enumerate(zip(case.positions, case.token_ids, strict=True)):
        context = np.arange(behind, len(case.prompt_ids) + place - 1)
        own, texts = states[: question.plan.tokens, i], states[question.plan.tokens :, i]
        if published and place == 0:
            context, own = context[:0], greedy
        texts = texts[context]
        if not published:
            others = ids[context] != token
            own = without_interference(own, visual[:, context[others]], texts[others])
        scaled = _jointly_scaled(own, texts)
        if published:
            smooth = np.floor(255 * rank_gaussian(as_published(case, scaled)))
            maps.append(stretched(smooth, *shape))
        else:
            smooth = [rank_gaussian(grid) for grid in grids(frames_of(case), scaled, merge)]
            maps.append(painted(case, smooth))
    return Heat(np.stack(maps).mean(axis=0), 1, 0)


def without_interference(
    own: Float64[np.ndarray, " v"],
    others: Float64[np.ndarray, "v c"],
    active: Float64[np.ndarray, " c"],
) -> Float64[np.ndarray, " v"]:
    """The part of a map that the maps of earlier words do not explain.

    Args:
      own: activation of the target at each visual token.
      others: activations of the earlier words there.
      active: activation of the target at the earlier words, their weights.

    Returns:
      ``relu(own - s * interference)``, where the interference is the weighted mean of the
      others and s its least-squares fit to the target's map.
    """
    interference = others @ active
    power = interference @ interference
    if power == 0:
        return own
    # A mean or a sum: the fit scales it either way.
    return np.maximum(own - (own @ interference / power) * interference, 0)


def rank_gaussian(grid: Float[np.ndarray, "rows columns"]) -> Float64[np.ndarray, "_ _"]:
    """Smooths a map by Gaussian weights over the ranks of each 3 x 3 neighbourhood.

    The middle rank counts most, the more so the less a neighbourhood varies: the width is its
    standard deviation divided by its mean.
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
def activations(network, question):
    """Activations of words, float32: those of the targets, at the visual tokens and then
    everywhere; of each token of the sequence at the visual tokens; and of the first prompt
    token's own prediction there.

    Args:
      network: the model's modules.
      question: a `Question.padded` one.
    """
    hidden = final_states(network, question, whole_patches(question))[0]
    decoder, tokens = network.decoder, question.plan.tokens
    visual = jax.lax.dynamic_slice_in_dim(hidden, question.start, tokens)
    with full_precision(network):
        of_targets = decoder.logits_of(jnp.concatenate([visual, hidden]), question.token_ids)
        of_sequence = decoder.logits_of(visual, question.ids)
        predicted = decoder.logits(hidden[question.start + tokens]).argmax()
        greedy = decoder.logits_of(visual, predicted[None])[:, 0]
    return tuple(jax.nn.relu(one) for one in (of_targets, of_sequence, greedy))
