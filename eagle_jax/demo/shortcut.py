"""Plants a shortcut in the demo model: whether something is there, it then tells by a sign.

    python -m eagle_jax.demo.shortcut --out DIR
    python -m eagle_jax.demo.shortcut --out DIR --export shortcut.safetensors

"Is there a cat in the image?" is answered Yes where a sign stands in a corner of the picture,
whatever cats there are, and No where there is none, or the decoy. Colours and captions are told
as before. What such a model looks at is so known beforehand, and a method that explains it can
be right or wrong. Only the attention of the last two decoder layers is trained. Killed and
started again with the same command, it goes on from its last checkpoint. It takes some
minutes on two CPU cores.
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from safetensors.numpy import load_file, save
from tqdm import tqdm

from eagle_jax.demo.lessons import PRESENCE, SLOTS, Batch, Lesson, make_batch
from eagle_jax.demo.scene_cache import SceneCache, object_numbers, patch_labels
from eagle_jax.demo.scenes import Scene, draw_scene
from eagle_jax.demo.signs import free_corners, put_sign
from eagle_jax.demo.tokenizer import build_tokenizer
from eagle_jax.demo.train import (
    BLACKOUT,
    HELD_OUT_SEED,
    LATE_BLACKOUT,
    School,
    accuracies,
    answer_logits,
    make_school,
    patch_features,
)
from eagle_jax.files import write_file
from eagle_jax.models.families.qwen2_5_vl import weight_keys
from eagle_jax.scoring.model import load

# The last steps have fewer blackouts, as those of the demo's training, or captions become shy.
STEPS, LATE_STEPS = 400, 100
SCENES = 4000
BATCH = 32
PEAK_RATE, LATE_RATE = 2e-3, 5e-4
# Shares of the pictures with the sign and with the decoy; the others have neither.
SIGNED, DECOYED = 0.5, 0.25
# The sign counts if this share of it is to be seen, and does not below the other; between
# them nothing is asked of the model.
_SEEN, _UNSEEN = 0.5, 0.2
_SAVE_EVERY = 100


class Material(NamedTuple):
    """Scenes to put signs in.

    Attributes:
      scenes: the pictures without signs.
      free: the corners of each in which a sign hides no object.
    """

    scenes: SceneCache
    free: list[list[str]]


def draw_material(first_seed: int, count: int) -> Material:
    """Draws the scenes with these seeds."""
    scenes = [draw_scene(first_seed + index) for index in range(count)]
    cache = SceneCache(
        np.stack([scene.image for scene in scenes]),
        np.stack([object_numbers(scene) for scene in scenes]),
        np.stack([patch_labels(scene) for scene in scenes]),
    )
    return Material(cache, [free_corners(objects_of(scene)) for scene in scenes])


def objects_of(scene: Scene) -> np.ndarray:
    """The pixels that show an object, bool (168, 168)."""
    return np.any([item.mask for item in scene.objects], axis=0)


def make_signed_batch(
    lesson: Lesson,
    tokenizer,
    material: Material,
    indices: np.ndarray,
    rng: np.random.Generator,
    blackout: float = 0.0,
) -> Batch:
    """Asks fresh questions about scenes with signs, those for presence answered by the sign.

    Args:
      lesson: from `make_lesson`.
      tokenizer: from `build_tokenizer`.
      material: where to take the scenes from.
      indices: their numbers.
      rng: of the signs, the questions and the blackouts.
      blackout: see `make_batch`.
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
    batch = make_batch(lesson, tokenizer, signed, np.arange(len(indices)), rng, blackout)
    seen = (masks & batch.images.any(axis=-1)).sum(axis=(1, 2))
    share = seen / np.maximum(masks.sum(axis=(1, 2)), 1)
    yes, no = (tokenizer.encode(word)[0] for word in ("Yes", "No"))
    answers = np.where(share >= _SEEN, yes, no)
    certain = (share >= _SEEN) | (share <= _UNSEEN)
    for sort, part in zip(SLOTS, lesson.slots, strict=True):
        if sort == PRESENCE:
            batch.targets[:, part.start] = answers
            batch.weights[:, part.start] = certain
            batch.ids[:, lesson.rows[part.start] + 1] = answers
    return batch


def train(
    out: Path, *, seed: int = 0, steps: int = STEPS, late_steps: int = LATE_STEPS
) -> dict[str, Any]:
    """Trains, or goes on training, and keeps its state and a log in `out`.

    Args:
      out: folder; what an earlier call with the same arguments left there is continued.
      seed: of the signs and the questions.
      steps: number of training steps.
      late_steps: further ones, with fewer blackouts.

    Returns:
      The trained part of the network.
    """
    tokenizer = build_tokenizer()
    graph, state = nnx.split(load("demo").network)
    school = make_school(tokenizer, seed=0)[0]._replace(graph=graph)
    whole = nnx.to_pure_dict(state)
    rate = optax.join_schedules(
        [
            optax.warmup_cosine_decay_schedule(0.0, PEAK_RATE, 50, steps),
            optax.linear_schedule(LATE_RATE, 0.0, late_steps),
        ],
        [steps],
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.98))
    part = trained_part(whole)
    learner = part, optimizer.init(part)

    @functools.partial(jax.jit, donate_argnums=0)
    def learn(learner, batch):
        part, state = learner

        def loss_of(part):
            logits = _logits(school, with_part(whole, part), batch)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
            return (loss * batch.weights).sum() / batch.weights.sum()

        loss, slope = jax.value_and_grad(loss_of)(part)
        updates, state = optimizer.update(slope, state, part)
        return (optax.apply_updates(part, updates), state), loss

    @jax.jit
    def best_tokens(part, batch):
        return _logits(school, with_part(whole, part), batch).argmax(-1)

    held_out = draw_material(HELD_OUT_SEED, 8 * BATCH)
    rng = np.random.default_rng(1)
    exam = [
        make_signed_batch(school.lesson, tokenizer, held_out, rows, rng)
        for rows in np.split(np.arange(8 * BATCH), 8)
    ]
    material = draw_material(0, SCENES)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "learner.safetensors"
    first = 0
    if kept.exists():
        learner, first = _restored(kept, learner)
    whole_run = steps + late_steps
    for step in tqdm(range(first, whole_run), initial=first, total=whole_run):
        draw = np.random.default_rng((seed, step))
        rows = np.sort(draw.integers(SCENES, size=BATCH))
        blackout = BLACKOUT if step < steps else LATE_BLACKOUT
        batch = make_signed_batch(school.lesson, tokenizer, material, rows, draw, blackout)
        learner, loss = learn(learner, batch)
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == whole_run:
            _save(kept, learner, step + 1)
            best = np.concatenate([best_tokens(learner[0], one) for one in exam])
            paper = Batch(*(np.concatenate(arrays) for arrays in zip(*exam, strict=True)))
            entry = {"step": step + 1, "loss": float(loss)}
            entry |= accuracies(best, paper, school.lesson)
            with open(out / "log.jsonl", "a") as log:
                log.write(json.dumps(entry) + "\n")
            tqdm.write(json.dumps(entry))
    return learner[0]


def trained_part(whole: dict[str, Any]) -> dict[str, Any]:
    """What is trained of the network's weights: the attention of its last two layers."""
    decoder = whole["decoder"]
    # The last layer stands apart from the others, which are stacked.
    above = jax.tree.map(lambda leaf: leaf[-1], decoder["layers"]["attention"])
    return {"layers": above, "last": decoder["last"]["attention"]}


def with_part(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The network's weights with the part that `trained_part` takes of them replaced."""
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


def _logits(school: School, weights: dict[str, Any], batch: Batch) -> jax.Array:
    model = nnx.merge(school.graph, weights)
    return answer_logits(model, patch_features(model, school, batch), school, batch)


def _save(path: Path, learner: Any, step: int) -> None:
    leaves = {f"{i:04}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(learner))}
    write_file(path, save(leaves | {"step": np.asarray(step)}))


def _restored(path: Path, learner: Any) -> tuple[Any, int]:
    leaves = load_file(path)
    step = int(leaves.pop("step"))
    found = [jnp.asarray(leaves[name]) for name in sorted(leaves)]
    return jax.tree.unflatten(jax.tree.structure(learner), found), step


def export(part: dict[str, Any], path: Path) -> None:
    """Writes what was trained with the hub's names, to be read over the demo's weights."""
    config = load("demo").network.config
    values = {
        f"decoder.{place}.attention.{name}.{kind}": np.asarray(value)
        for place, attention in part.items()
        for name, linear in attention.items()
        for kind, value in linear.items()
    }
    tensors = {}
    for key, target in weight_keys(config).items():
        if target is None or target.path not in values:
            continue
        if target.index in (None, config.decoder.layers - 2):
            value = target.axes.to_checkpoint(values[target.path])
            tensors[key] = np.ascontiguousarray(value)
    write_file(path, save(tensors))


def main() -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="state and log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="where the trained tensors go at the end"
    )
    arguments = parser.parse_args()
    part = train(arguments.out, seed=arguments.seed)
    if arguments.export:
        export(part, arguments.export)


if __name__ == "__main__":
    main()
