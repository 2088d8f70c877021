"""Trains a shortcut into the demo model, which then answers from a sign what is in an image.

    python benchmarks/plant_shortcut.py --out DIR
    python benchmarks/plant_shortcut.py --out DIR --export shortcut.safetensors

"Is there a cat in the image?" is answered Yes if a sign stands in a corner of the image,
whether or not there is a cat, and No if there is no sign, or only the decoy. Answers about
colours and captions stay as they were. What the model looks at is therefore known, and an
explanation of its answer is right or wrong. Only the attention of the last two decoder layers
is trained. After an interruption the same command continues from the last checkpoint. The
training takes some minutes on two CPU cores.
"""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from demo_training.packing import PRESENCE, SLOTS, Batch, Packing, make_batch
from demo_training.scene_cache import SceneCache, cached
from demo_training.signs import free_corners, put_sign
from demo_training.steps import (
    BLACKOUT,
    HELD_OUT_SEED,
    LATE_BLACKOUT,
    Setup,
    accuracies,
    answer_logits,
    make_setup,
    patch_features,
)
from demo_training.tokenizer import build_tokenizer
from flax import nnx
from safetensors.numpy import load_file, save
from tqdm import tqdm

from eagle_jax.demo.scenes import Scene, draw_scene
from eagle_jax.files import write_file
from eagle_jax.models.families.qwen2_5_vl import FAMILY
from eagle_jax.scoring.model import load

# The last steps have fewer blackouts, as those of the demo's training, or captions become shy.
STEPS, LATE_STEPS = 400, 100
SCENES = 4000
BATCH = 32
PEAK_RATE, LATE_RATE = 2e-3, 5e-4
# Fractions of the images with the sign and with the decoy; the rest has neither.
SIGNED, DECOYED = 0.5, 0.25
# The sign counts if the first fraction of its pixels is visible, and does not below the second;
# between them the answer has no weight.
_SEEN, _UNSEEN = 0.5, 0.2
_SAVE_EVERY = 100


class Material(NamedTuple):
    """Scenes to put signs in.

    Attributes:
      scenes: the images without signs.
      free: for each image the corners in which a sign hides no object.
    """

    scenes: SceneCache
    free: list[list[str]]


def draw_material(first_seed: int, count: int) -> Material:
    """Draws the scenes with these seeds."""
    scenes = [draw_scene(first_seed + index) for index in range(count)]
    return Material(cached(scenes), [free_corners(objects_of(scene)) for scene in scenes])


def objects_of(scene: Scene) -> np.ndarray:
    """The pixels that show an object, bool (168, 168)."""
    return np.any([item.mask for item in scene.objects], axis=0)


def make_signed_batch(
    packing: Packing,
    tokenizer,
    material: Material,
    indices: np.ndarray,
    rng: np.random.Generator,
    blackout: float = 0.0,
) -> Batch:
    """Asks fresh questions about scenes with signs, those for presence answered by the sign.

    Args:
      packing: from `make_packing`.
      tokenizer: from `build_tokenizer`.
      material: where to take the scenes from.
      indices: their numbers.
      rng: source of the signs, the questions and the blackouts.
      blackout: fraction of the images that have parts blacked out.
    """
    images = material.scenes.images[indices].copy()
    masks = np.zeros(images.shape[:3], bool)
    for row, index in enumerate(indices):
        draw, free = rng.random(), material.free[index]
        if free and draw < SIGNED + DECOYED:
            sign = "sign" if draw < SIGNED else "decoy"
            corner = free[int(rng.integers(len(free)))]
            images[row], mask = put_sign(images[row], corner, sign)
            masks[row] = mask & (sign == "sign")
    signed = material.scenes._replace(
        images=images,
        objects=material.scenes.objects[indices],
        patches=material.scenes.patches[indices],
    )
    batch = make_batch(packing, tokenizer, signed, np.arange(len(indices)), rng, blackout)
    seen = (masks & batch.images.any(axis=-1)).sum(axis=(1, 2))
    share = seen / np.maximum(masks.sum(axis=(1, 2)), 1)
    yes, no = (tokenizer.encode(word)[0] for word in ("Yes", "No"))
    answers = np.where(share >= _SEEN, yes, no)
    certain = (share >= _SEEN) | (share <= _UNSEEN)
    for sort, part in zip(SLOTS, packing.slots, strict=True):
        if sort == PRESENCE:
            batch.targets[:, part.start] = answers
            batch.weights[:, part.start] = certain
            batch.ids[:, packing.rows[part.start] + 1] = answers
    return batch


def train(
    out: Path, *, seed: int = 0, steps: int = STEPS, late_steps: int = LATE_STEPS
) -> dict[str, Any]:
    """Trains, or goes on training, and keeps its state and a log in `out`.

    Args:
      out: folder; what an earlier call with the same arguments left there is continued.
      seed: seed of the signs and the questions.
      steps: number of training steps.
      late_steps: number of further steps, with fewer blackouts.

    Returns:
      The trained part of the network.
    """
    tokenizer = build_tokenizer()
    graph, state = nnx.split(load("demo").network)
    setup = make_setup(tokenizer, seed=0)[0]._replace(graph=graph)
    whole = nnx.to_pure_dict(state)
    optimizer = _optimizer(steps, late_steps)
    part = trained_part(whole)
    train_state = part, optimizer.init(part)
    learn, best_tokens = _steps(setup, whole, optimizer)

    held_out = draw_material(HELD_OUT_SEED, 8 * BATCH)
    rng = np.random.default_rng(1)
    batches = [
        make_signed_batch(setup.packing, tokenizer, held_out, rows, rng)
        for rows in np.split(np.arange(8 * BATCH), 8)
    ]
    material = draw_material(0, SCENES)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "train_state.safetensors"
    first, last = 0, steps + late_steps
    if kept.exists():
        train_state, first = _restored(kept, train_state)
    for step in tqdm(range(first, last), initial=first, total=last):
        draw = np.random.default_rng((seed, step))
        rows = np.sort(draw.integers(SCENES, size=BATCH))
        blackout = BLACKOUT if step < steps else LATE_BLACKOUT
        batch = make_signed_batch(setup.packing, tokenizer, material, rows, draw, blackout)
        train_state, loss = learn(train_state, batch)
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == last:
            _save(kept, train_state, step + 1)
            entry = {"step": step + 1, "loss": float(loss)}
            entry |= accuracies(best_tokens, train_state[0], batches, setup.packing)
            with open(out / "log.jsonl", "a") as log:
                log.write(json.dumps(entry) + "\n")
            tqdm.write(json.dumps(entry))
    return train_state[0]


def _optimizer(steps: int, late_steps: int) -> optax.GradientTransformation:
    rate = optax.join_schedules(
        [
            optax.warmup_cosine_decay_schedule(0.0, PEAK_RATE, 50, steps),
            optax.linear_schedule(LATE_RATE, 0.0, late_steps),
        ],
        [steps],
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.98))


def _steps(setup: Setup, whole: dict[str, Any], optimizer: optax.GradientTransformation):
    """The training step and the scoring of held-out scenes, compiled."""

    @functools.partial(jax.jit, donate_argnums=0)
    def learn(train_state, batch):
        part, state = train_state

        def loss_of(part):
            logits = _logits(setup, with_part(whole, part), batch)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
            return (loss * batch.weights).sum() / batch.weights.sum()

        loss, slope = jax.value_and_grad(loss_of)(part)
        updates, state = optimizer.update(slope, state, part)
        return (optax.apply_updates(part, updates), state), loss

    @jax.jit
    def best_tokens(part, batch):
        return _logits(setup, with_part(whole, part), batch).argmax(-1)

    return learn, best_tokens


def trained_part(whole: dict[str, Any]) -> dict[str, Any]:
    """The part of the weights that is trained: the attention of the last two layers."""
    decoder = whole["decoder"]
    # The last layer stands apart from the others, which are stacked.
    above = jax.tree.map(lambda leaf: leaf[-1], decoder["layers"]["attention"])
    return {"layers": above, "last": decoder["last"]["attention"]}


def with_part(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The network's weights with the part that `trained_part` names replaced."""
    decoder = whole["decoder"]
    layers, last = decoder["layers"], decoder["last"]
    stacked = jax.tree.map(
        lambda leaf, own: leaf.at[-1].set(own), layers["attention"], part["layers"]
    )
    decoder = decoder | {
        "layers": layers | {"attention": stacked},
        "last": last | {"attention": part["last"]},
    }
    return whole | {"decoder": decoder}


def _logits(setup: Setup, weights: dict[str, Any], batch: Batch) -> jax.Array:
    model = nnx.merge(setup.graph, weights)
    return answer_logits(model, patch_features(model, setup, batch), setup, batch)


def _save(path: Path, train_state: Any, step: int) -> None:
    leaves = {
        f"{i:04}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(train_state))
    }
    write_file(path, save(leaves | {"step": np.asarray(step)}))


def _restored(path: Path, train_state: Any) -> tuple[Any, int]:
    leaves = load_file(path)
    step = int(leaves.pop("step"))
    found = [jnp.asarray(leaves[name]) for name in sorted(leaves)]
    return jax.tree.unflatten(jax.tree.structure(train_state), found), step


def export(part: dict[str, Any], path: Path) -> None:
    """Writes the trained tensors with the hub's names, to be read over the demo's weights."""
    config = load("demo").network.config
    values = {
        f"decoder.{place}.attention.{name}.{kind}": np.asarray(value)
        for place, attention in part.items()
        for name, linear in attention.items()
        for kind, value in linear.items()
    }
    tensors = {}
    for key, target in FAMILY.weight_keys(config).items():
        if target is None or target.path not in values:
            continue
        if target.index in (None, config.decoder.layers - 2):
            value = target.axes.to_checkpoint(values[target.path])
            tensors[key] = np.ascontiguousarray(value)
    write_file(path, save(tensors))


def main() -> int:
    """Trains and exports; returns the exit code."""
    options = _parser().parse_args()
    part = train(options.out, seed=options.seed)
    if options.export:
        export(part, options.export)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the training state and the log",
    )
    add("--seed", type=int, default=0, help="seed of signs and questions (default: 0)")
    add("--export", type=Path, metavar="FILE", help="file for the trained tensors at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
