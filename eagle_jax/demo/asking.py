"""Asks a model several questions about one scene at once.

A batch shares one image and one prompt length; apart from that each question is a conversation
of its own.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.prompt import build_prompt
from eagle_jax.models.layers.decoding import generate
from eagle_jax.models.layers.rope import image_start
from eagle_jax.scoring.model import Model

GRID = (12, 12)
"""Rows and columns of patches of a scene."""

VISUAL_TOKENS = 36
"""Number of visual tokens of a scene."""

_MAX_NEW_TOKENS = 32


def image_patches(
    images: UInt8[Array, "b 168 168 3"] | UInt8[np.ndarray, "b 168 168 3"],
) -> Float[Array, "b 144 588"]:
    """Normalised patches of scenes, which need no resize, in the image processor's order."""
    mean, std = jnp.asarray(ImageSettings.mean), jnp.asarray(ImageSettings.std)
    pixels = (jnp.asarray(images, jnp.float32) / 255 - mean) / std
    blocks = pixels.reshape(-1, 6, 2, 14, 6, 2, 14, 3).transpose(0, 1, 4, 2, 5, 7, 3, 6)
    return blocks.reshape(-1, 144, 588)


def see(model: Model, image: UInt8[np.ndarray, "168 168 3"]) -> Float[Array, "1 v e"]:
    """The visual tokens of a scene, for `answer` and `yes_or_no`."""
    return _see(model.network, image)


def answer(model: Model, visual: Float[Array, "1 v e"], questions: Sequence[str]) -> list[str]:
    """Greedy answers.

    Args:
      model: a model that reads scenes as the demo model does.
      visual: from `see`.
      questions: questions of equal length in tokens.
    """
    tokens = _answer(model.network, visual, *_prompts(model, questions), end_ids=model.end_ids)
    return [
        model.tokenizer.decode(row[row >= 0], skip_special_tokens=True)
        for row in np.asarray(tokens)
    ]


def yes_or_no(
    model: Model, visual: Float[Array, "1 v e"], questions: Sequence[str]
) -> tuple[list[str], Float[np.ndarray, "b"]]:
    """The most likely first token of each answer, and the probability of Yes.

    Args:
      model: a model that reads scenes as the demo model does.
      visual: from `see`.
      questions: questions of equal length in tokens.
    """
    yes = model.tokenizer.encode("Yes")[0]
    tokens, probability = _first_token(
        model.network, visual, *_prompts(model, questions), yes=yes
    )
    answers = [model.tokenizer.decode([token]) for token in np.asarray(tokens)]
    return answers, np.asarray(probability)


def _prompts(model: Model, questions: Sequence[str]) -> tuple[Any, ...]:
    """Token ids, rotary positions, and where the visual tokens begin."""
    image_token = model.network.config.image_token_id
    ids = np.stack(
        [
            build_prompt(model.tokenizer, question, VISUAL_TOKENS, image_token)
            for question in questions
        ]
    ).astype(np.int32)
    start = np.int32(image_start(ids[0], image_token))
    return ids, model.network.positions(ids[0], GRID), start


@jax.jit
def _see(network, image):
    return network.visual_tokens(image_patches(image[None]), network.layout(GRID))


@functools.partial(jax.jit, static_argnames="end_ids")
def _answer(network, visual, ids, positions, start, end_ids):
    embeddings = _embed(network, visual, ids, start)
    length = jnp.int32(ids.shape[1])
    ends = jnp.asarray(end_ids, jnp.int32)
    return generate(network, embeddings, positions, length, ends, _MAX_NEW_TOKENS)


@functools.partial(jax.jit, static_argnames="yes")
def _first_token(network, visual, ids, positions, start, yes):
    embeddings = _embed(network, visual, ids, start)
    last = jnp.asarray([ids.shape[1] - 1])
    hidden = network.hidden_states(embeddings, positions, last)
    logits = network.decoder.logits(hidden[:, 0])
    return logits.argmax(-1), jax.nn.softmax(logits)[:, yes]


def _embed(network, visual, ids, start):
    embeddings = network.decoder.embed(ids)
    visual = jnp.broadcast_to(visual, (len(ids), *visual.shape[1:]))
    return jax.lax.dynamic_update_slice_in_dim(embeddings, visual, start, axis=1)
