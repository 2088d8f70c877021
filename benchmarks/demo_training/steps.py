"""The demo model in training: its weights, optimizers and steps.

First the vision tower alone learns to say what every patch shows, which is quick and without
which answers stay at chance; then all weights learn to answer as well.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from demo_training.checkpoint_files import hugging_face_config
from demo_training.packing import (
    CAPTION,
    COLOUR,
    PRESENCE,
    SLOTS,
    Batch,
    Packing,
    make_packing,
)
from eagle_jax.demo.asking import GRID, image_patches
from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.models.families.qwen2_5_vl import FAMILY
from eagle_jax.models.families.qwen_vl import QwenVL

BATCH = 32
HELD_OUT_SEED = 10_000_000
# Fraction of the images that have parts blacked out; fewer at the end, or captions become
# shy of naming what is hard to see.
BLACKOUT, LATE_BLACKOUT = 0.5, 0.15


class TrainState(NamedTuple):
    """Everything that training changes.

    Attributes:
      weights: the model's parameters and two throw-away linear maps from a patch's features
        to the kind and the colour it shows.
      vision: optimizer state of the first phase.
      all: optimizer state of the second phase.
    """

    weights: dict[str, Any]
    vision: optax.OptState
    all: optax.OptState


class Setup(NamedTuple):
    """What stays the same throughout training."""

    graph: Any
    packing: Packing
    layout: Any
    optimizer: optax.GradientTransformation


def make_setup(
    tokenizer, seed: int, config: dict[str, Any] | None = None
) -> tuple[Setup, TrainState]:
    """Sets up a fresh model and its optimizers.

    Args:
      tokenizer: from `build_tokenizer`.
      seed: seed of the initial weights.
      config: a Hugging Face configuration; None for the demo model's.
    """
    config = config or hugging_face_config(tokenizer.convert_tokens_to_ids)
    model = QwenVL(FAMILY.read_config(config), rngs=nnx.Rngs(seed))
    embedding = model.decoder.embedding.embedding
    # A tied embedding is the head as well: at unit scale its logits would start far too large.
    embedding[...] = 0.05 * jax.random.normal(jax.random.key(seed), embedding[...].shape)
    graph, state = nnx.split(model)
    features = model.config.vision.embed
    weights = {
        "model": nnx.to_pure_dict(state),
        "kind": jnp.zeros((features, len(KINDS) + 1)),
        "colour": jnp.zeros((features, len(COLOURS) + 1)),
    }
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.inject_hyperparams(optax.adamw)(
            learning_rate=0.0, b2=0.98, weight_decay=0.05, mask=_decayed
        ),
    )
    setup = Setup(
        graph, make_packing(tokenizer, model.positions), model.layout(GRID), optimizer
    )
    train_state = TrainState(
        weights, optimizer.init(_vision_part(weights)), optimizer.init(weights)
    )
    return setup, train_state


def make_steps(setup: Setup):
    """Compiles the two training steps and the scoring of held-out scenes.

    Returns:
      `vision_step(train_state, batch, rate)` and
      `full_step(train_state, batch, rate, patch_weight)`, each giving (train_state, loss), and
      `best_tokens(weights, batch)`, the most probable token at each row of the packing.
    """

    @functools.partial(jax.jit, donate_argnums=0)
    def vision_step(train_state, batch, rate):
        def loss_of(part):
            weights = _with_vision(train_state.weights, part)
            model = nnx.merge(setup.graph, weights["model"])
            return _patch_loss(weights, patch_features(model, setup, batch), setup, batch)

        part = _vision_part(train_state.weights)
        loss, grads = jax.value_and_grad(loss_of)(part)
        part, state = _update(setup, part, train_state.vision, grads, rate)
        weights = _with_vision(train_state.weights, part)
        return train_state._replace(weights=weights, vision=state), loss

    @functools.partial(jax.jit, donate_argnums=0)
    def full_step(train_state, batch, rate, patch_weight):
        def loss_of(weights):
            model = nnx.merge(setup.graph, weights["model"])
            features = patch_features(model, setup, batch)
            logits = answer_logits(model, features, setup, batch)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
            answers = (loss * batch.weights).sum() / batch.weights.sum()
            patches = _patch_loss(weights, features, setup, batch)
            return answers + patch_weight * patches, answers

        (_, loss), grads = jax.value_and_grad(loss_of, has_aux=True)(train_state.weights)
        weights, state = _update(setup, train_state.weights, train_state.all, grads, rate)
        return train_state._replace(weights=weights, all=state), loss

    @jax.jit
    def best_tokens(weights, batch):
        model = nnx.merge(setup.graph, weights["model"])
        return answer_logits(model, patch_features(model, setup, batch), setup, batch).argmax(
            -1
        )

    return vision_step, full_step, best_tokens


def accuracies(
    best_tokens: Callable[[Any, Batch], Any],
    weights: Any,
    batches: Sequence[Batch],
    packing: Packing,
) -> dict[str, float]:
    """Fraction of right tokens among those that the image decides, answers given up to them.

    Args:
      best_tokens: function from weights and a batch to the most probable tokens.
      weights: its first argument.
      batches: held-out scenes.
      packing: from `make_packing`.

    Returns:
      The fraction for each kind of question.
    """
    best = np.concatenate([best_tokens(weights, batch) for batch in batches])
    whole = Batch(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))
    right, decided = best == whole.targets, whole.weights == 1
    fractions = {}
    for sort in (PRESENCE, COLOUR, CAPTION):
        parts = [part for slot, part in zip(SLOTS, packing.slots, strict=True) if slot == sort]
        hits = np.concatenate([right[:, part][decided[:, part]] for part in parts])
        fractions[sort] = float(hits.mean())
    return fractions


def patch_features(model, setup: Setup, batch: Batch):
    """What the vision tower makes of each patch of the pictures."""
    return model.vision.features(image_patches(batch.images), setup.layout)


def answer_logits(model, features, setup: Setup, batch: Batch):
    """Logits at the rows of the packing, from `patch_features`."""
    packing, layout = setup.packing, setup.layout
    positions, rows, mask = map(jnp.asarray, (packing.positions, packing.rows, packing.mask))
    visual = model.vision.merger(features)[:, layout.inverse]
    x = model.decoder.embed(batch.ids)
    x = jax.lax.dynamic_update_slice_in_dim(x, visual, packing.image_start, axis=1)
    hidden = model.decoder.hidden_states(x, positions, rows, mask)
    return model.decoder.logits(hidden)


def _patch_loss(weights, features, setup: Setup, batch: Batch):
    shown = batch.patches[:, setup.layout.order]
    losses = [
        optax.softmax_cross_entropy_with_integer_labels(
            features @ weights[name], shown[..., place].astype(jnp.int32)
        )
        for place, name in enumerate(("kind", "colour"))
    ]
    # Most patches show the background, which is the easy part.
    importance = jnp.where(shown[..., 0] > 0, 3.0, 1.0)
    return ((losses[0] + losses[1]) * importance).sum() / importance.sum()


def _vision_part(weights):
    return {"vision": weights["model"]["vision"], **{k: weights[k] for k in ("kind", "colour")}}


def _with_vision(weights, part):
    model = {**weights["model"], "vision": part["vision"]}
    return {"model": model, "kind": part["kind"], "colour": part["colour"]}


def _decayed(weights):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, weights)


def _update(setup: Setup, weights, state, grads, rate):
    state[1].hyperparams["learning_rate"] = jnp.asarray(rate, jnp.float32)
    updates, state = setup.optimizer.update(grads, state, weights)
    return optax.apply_updates(weights, updates), state
