"""Trains the demo model from nothing, on drawn scenes.

    python -m eagle_jax.demo.train --out DIR --minutes 75
    python -m eagle_jax.demo.train --out DIR --export FOLDER

Killed and started again with the same command, it goes on from its last checkpoint. The
schedule follows the clock (`--minutes`) or, for a run that repeats another, `--steps`.
First the vision tower alone learns to say what every patch shows, which is quick and
without which answers stay at chance; then everything learns to answer as well.
"""

import argparse
import functools
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tqdm import tqdm

from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.export import hugging_face_config, write_text_side
from eagle_jax.demo.lessons import (
    CAPTION,
    COLOUR,
    PRESENCE,
    SLOTS,
    Batch,
    Lesson,
    image_patches,
    make_batch,
    make_lesson,
)
from eagle_jax.demo.scene_cache import draw_scenes, open_cache, ready, wait
from eagle_jax.demo.tokenizer import build_tokenizer
from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.weights import save_weights as write_weights
from eagle_jax.models.families.qwen2_5_vl import read_config, weight_keys
from eagle_jax.models.families.qwen_vl import QwenVL

BATCH = 32
SCENES = 40_000
HELD_OUT_SEED = 10_000_000
PEAK_RATE = 1e-3
# Share of the run in which the vision tower learns alone.
VISION_SHARE = 0.2
# Share of the pictures that have parts blacked out; fewer at the end, or captions become
# shy of naming what is hard to see.
BLACKOUT, LATE_BLACKOUT = 0.5, 0.15
_LATE = 0.9
_WARM_UP = 100


class Learner(NamedTuple):
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


class School(NamedTuple):
    """What stays the same throughout training."""

    graph: Any
    lesson: Lesson
    layout: Any
    optimizer: optax.GradientTransformation


def make_school(
    tokenizer, seed: int, config: dict[str, Any] | None = None
) -> tuple[School, Learner]:
    """Sets up a fresh model and its optimizers.

    Args:
      tokenizer: from `build_tokenizer`.
      seed: of the initial weights.
      config: a Hugging Face configuration; None for the demo model's.
    """
    config = config or hugging_face_config(tokenizer.convert_tokens_to_ids)
    model = QwenVL(read_config(config), rngs=nnx.Rngs(seed))
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
    school = School(
        graph, make_lesson(tokenizer, model.positions), model.layout((12, 12)), optimizer
    )
    learner = Learner(weights, optimizer.init(_vision_part(weights)), optimizer.init(weights))
    return school, learner


def make_steps(school: School):
    """Compiles the two training steps and the scoring of held-out scenes.

    Returns:
      `vision_step(learner, batch, rate)` and
      `full_step(learner, batch, rate, patch_weight)`, each giving (learner, loss), and
      `best_tokens(weights, batch)`, the most probable token at each row of the lesson.
    """

    @functools.partial(jax.jit, donate_argnums=0)
    def vision_step(learner, batch, rate):
        def loss_of(part):
            weights = _with_vision(learner.weights, part)
            model = nnx.merge(school.graph, weights["model"])
            return _patch_loss(weights, patch_features(model, school, batch), school, batch)

        part = _vision_part(learner.weights)
        loss, grads = jax.value_and_grad(loss_of)(part)
        part, state = _update(school, part, learner.vision, grads, rate)
        weights = _with_vision(learner.weights, part)
        return learner._replace(weights=weights, vision=state), loss

    @functools.partial(jax.jit, donate_argnums=0)
    def full_step(learner, batch, rate, patch_weight):
        def loss_of(weights):
            model = nnx.merge(school.graph, weights["model"])
            features = patch_features(model, school, batch)
            logits = answer_logits(model, features, school, batch)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
            answers = (loss * batch.weights).sum() / batch.weights.sum()
            patches = _patch_loss(weights, features, school, batch)
            return answers + patch_weight * patches, answers

        (_, loss), grads = jax.value_and_grad(loss_of, has_aux=True)(learner.weights)
        weights, state = _update(school, learner.weights, learner.all, grads, rate)
        return learner._replace(weights=weights, all=state), loss

    @jax.jit
    def best_tokens(weights, batch):
        model = nnx.merge(school.graph, weights["model"])
        return answer_logits(model, patch_features(model, school, batch), school, batch).argmax(
            -1
        )

    return vision_step, full_step, best_tokens


def accuracies(best: np.ndarray, batch: Batch, lesson: Lesson) -> dict[str, float]:
    """Share of right tokens among those that the picture decides, answers given up to them."""
    right = np.asarray(best) == batch.targets
    decided = batch.weights == 1
    shares = {}
    for sort in (PRESENCE, COLOUR, CAPTION):
        parts = [part for slot, part in zip(SLOTS, lesson.slots, strict=True) if slot == sort]
        hits = np.concatenate([right[:, part][decided[:, part]] for part in parts])
        shares[sort] = float(hits.mean())
    return shares


def train(
    out: Path,
    *,
    seed: int = 0,
    minutes: float = 0,
    steps: int = 0,
    scenes: int = SCENES,
    config: dict[str, Any] | None = None,
) -> None:
    """Trains, or goes on training, and keeps scenes, checkpoints and a log in `out`.

    Args:
      out: folder; what an earlier call with the same arguments left there is continued.
      seed: of the weights, the scenes and the questions.
      minutes: time to spend in training steps; or
      steps: number of training steps.
      scenes: how many different scenes to train on.
      config: a Hugging Face configuration; None for the demo model's.
    """
    import orbax.checkpoint as ocp

    tokenizer = build_tokenizer()
    school, learner = make_school(tokenizer, seed, config)
    vision_step, full_step, best_tokens = make_steps(school)
    held_out = draw_scenes(HELD_OUT_SEED, 8 * BATCH)
    exam = [
        make_batch(school.lesson, tokenizer, held_out, part, np.random.default_rng(1))
        for part in np.split(np.arange(8 * BATCH), 8)
    ]
    cache, process = open_cache(out / "scenes", scenes, seed * scenes)
    step, seconds, switched = 0, 0.0, -1
    with ocp.CheckpointManager(
        (out / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2)
    ) as manager:
        if manager.latest_step() is not None:
            learner, step, seconds, switched = _restore(manager, learner)

        def progress_of():
            return step / steps if steps else seconds / (60 * minutes)

        bar = tqdm(total=1.0, initial=min(1.0, progress_of()), unit="run", bar_format=_BAR)
        saved = seconds
        while (progress := progress_of()) < 1:
            began = time.monotonic()
            rng = np.random.default_rng((seed, step))
            # Early steps draw from few scenes, so that what they see depends on the step alone.
            reach = min(scenes, 500 + 64 * step)
            while ready(out / "scenes") < reach:
                wait(process)
            blackout = BLACKOUT if progress < _LATE else LATE_BLACKOUT
            indices = np.sort(rng.integers(reach, size=BATCH))
            batch = make_batch(school.lesson, tokenizer, cache, indices, rng, blackout)
            if progress < VISION_SHARE:
                rate = PEAK_RATE * min(1, (step + 1) / _WARM_UP)
                learner, loss = vision_step(learner, batch, rate)
            else:
                switched = step if switched < 0 else switched
                left = (progress - VISION_SHARE) / (1 - VISION_SHARE)
                rate = PEAK_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * left)))
                rate *= min(1, (step - switched + 1) / _WARM_UP)
                learner, loss = full_step(learner, batch, rate, 1 - 0.9 * left)
            step += 1
            if step % 10 == 0:
                bar.set_postfix_str(f"step {step}, loss {float(loss):.3f}")
            seconds += time.monotonic() - began
            bar.update(min(1.0, progress_of()) - bar.n)
            if seconds - saved > 120 or progress_of() >= 1:
                saved = seconds
                _save(manager, learner, step, seconds, switched)
                best = np.concatenate([best_tokens(learner.weights, part) for part in exam])
                whole = Batch(*(np.concatenate(arrays) for arrays in zip(*exam, strict=True)))
                shares = accuracies(best, whole, school.lesson)
                entry = {"step": step, "minutes": seconds / 60, "loss": float(loss), **shares}
                with open(out / "log.jsonl", "a") as log:
                    log.write(json.dumps(entry) + "\n")
                bar.write(json.dumps({k: round(v, 4) for k, v in entry.items()}))
        bar.close()
    process.terminate()
    process.wait()


def export(out: Path, folder: Path) -> None:
    """Writes the latest checkpoint in `out` as a Hugging Face folder."""
    import orbax.checkpoint as ocp

    tokenizer = build_tokenizer()
    school, learner = make_school(tokenizer, seed=0)
    with ocp.CheckpointManager((out / "checkpoints").absolute()) as manager:
        if manager.latest_step() is None:
            raise InputError(f"{out} has no checkpoint yet; train for some minutes first")
        learner = _restore(manager, learner)[0]
    model = nnx.merge(school.graph, learner.weights["model"])
    write_text_side(folder, tokenizer.convert_tokens_to_ids)
    write_weights(folder, model, weight_keys(model.config))


_BAR = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}"


def patch_features(model, school: School, batch: Batch):
    """What the vision tower makes of each patch of the pictures."""
    return model.vision.features(image_patches(batch.images), school.layout)


def answer_logits(model, features, school: School, batch: Batch):
    """Logits at the rows of the lesson, from `patch_features`."""
    lesson, layout = school.lesson, school.layout
    positions, rows, mask = map(jnp.asarray, (lesson.positions, lesson.rows, lesson.mask))
    visual = model.vision.merger(features)[:, layout.inverse]
    x = model.decoder.embed(batch.ids)
    x = jax.lax.dynamic_update_slice_in_dim(x, visual, lesson.image_start, axis=1)
    hidden = model.decoder.hidden_states(x, positions, rows, mask)
    return model.decoder.logits(hidden)


def _patch_loss(weights, features, school: School, batch: Batch):
    shown = batch.patches[:, school.layout.order]
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


def _update(school: School, weights, state, grads, rate):
    state[1].hyperparams["learning_rate"] = jnp.asarray(rate, jnp.float32)
    updates, state = school.optimizer.update(grads, state, weights)
    return optax.apply_updates(weights, updates), state


def _leaves(learner: Learner) -> dict[str, Any]:
    return {f"{number:04}": leaf for number, leaf in enumerate(jax.tree.leaves(learner))}


def _save(manager, learner: Learner, step: int, seconds: float, switched: int) -> None:
    import orbax.checkpoint as ocp

    clock = {"seconds": seconds, "switched": switched}
    manager.save(
        step,
        args=ocp.args.Composite(
            learner=ocp.args.StandardSave(_leaves(learner)), clock=ocp.args.JsonSave(clock)
        ),
    )
    manager.wait_until_finished()


def _restore(manager, learner: Learner) -> tuple[Learner, int, float, int]:
    import orbax.checkpoint as ocp

    step = manager.latest_step()
    kept = manager.restore(
        step,
        args=ocp.args.Composite(
            learner=ocp.args.StandardRestore(_leaves(learner)), clock=ocp.args.JsonRestore()
        ),
    )
    leaves = [kept.learner[name] for name in sorted(kept.learner)]
    learner = jax.tree.unflatten(jax.tree.structure(learner), leaves)
    return learner, step, kept.clock["seconds"], kept.clock["switched"]


def main() -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="scenes, checkpoints and log")
    parser.add_argument("--seed", type=int, default=0)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, default=0, help="time spent in training steps")
    length.add_argument("--steps", type=int, default=0, help="number of training steps")
    length.add_argument(
        "--export", type=Path, metavar="FOLDER", help="write the latest checkpoint and stop"
    )
    arguments = parser.parse_args()
    if arguments.export:
        export(arguments.out, arguments.export)
        return
    train(arguments.out, seed=arguments.seed, minutes=arguments.minutes, steps=arguments.steps)


if __name__ == "__main__":
    main()
