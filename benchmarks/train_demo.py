"""Trains the demo model from scratch, on drawn scenes.

    python benchmarks/train_demo.py --out DIR --minutes 75
    python benchmarks/train_demo.py --out DIR --export FOLDER

After an interruption the same command continues from the last checkpoint. The schedule follows
the clock (`--minutes`) or, to repeat another training exactly, the number of steps (`--steps`).
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from demo_training.checkpoint_files import write_text_side
from demo_training.packing import Batch, make_batch
from demo_training.scene_cache import SceneCache, draw_scenes, open_cache, ready, wait
from demo_training.steps import (
    BATCH,
    BLACKOUT,
    HELD_OUT_SEED,
    LATE_BLACKOUT,
    Setup,
    TrainState,
    accuracies,
    make_setup,
    make_steps,
)
from demo_training.tokenizer import build_tokenizer
from flax import nnx
from tqdm import tqdm

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.weights import save_weights
from eagle_jax.models.families.qwen2_5_vl import FAMILY

SCENES = 40_000
_PEAK_RATE = 1e-3
_WARM_UP = 100
# Fraction of the run in which the vision tower learns alone.
_VISION = 0.2
# After this fraction of the run fewer images have parts blacked out.
_LATE = 0.9
_SECONDS_BETWEEN_CHECKPOINTS = 120
_BAR = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}"


@dataclasses.dataclass
class _Clock:
    """How far the run is.

    Attributes:
      steps: number of steps of the whole run; 0 if it follows the time.
      minutes: time of the whole run, spent in steps.
      step: steps taken.
      seconds: time spent in them.
      switched: step with which all weights began to learn; -1 before.
    """

    steps: int
    minutes: float
    step: int = 0
    seconds: float = 0.0
    switched: int = -1

    @property
    def progress(self) -> float:
        return self.step / self.steps if self.steps else self.seconds / (60 * self.minutes)


def train(
    out: Path,
    *,
    seed: int = 0,
    minutes: float = 0,
    steps: int = 0,
    scenes: int = SCENES,
    batch_size: int = BATCH,
    config: dict[str, Any] | None = None,
) -> None:
    """Trains, or goes on training, and keeps scenes, checkpoints and a log in `out`.

    Args:
      out: folder; what an earlier call with the same arguments left there is continued.
      seed: seed of the weights, the scenes and the questions.
      minutes: time to spend in training steps; or
      steps: number of training steps.
      scenes: number of different scenes to train on.
      batch_size: scenes of a step.
      config: a Hugging Face configuration; None for the demo model's.
    """
    tokenizer = build_tokenizer()
    setup, train_state = make_setup(tokenizer, seed, config)
    vision_step, full_step, best_tokens = make_steps(setup)
    held_out = _held_out(setup, tokenizer, batch_size)
    cache, process = open_cache(out / "scenes", scenes, seed * scenes)
    clock = _Clock(steps, minutes)
    with _checkpoints(out, max_to_keep=2) as manager:
        if manager.latest_step() is not None:
            train_state, clock = _restored(manager, train_state, clock)
        bar = tqdm(total=1.0, initial=min(1.0, clock.progress), unit="run", bar_format=_BAR)
        saved = clock.seconds
        while (progress := clock.progress) < 1:
            began = time.monotonic()
            rng = np.random.default_rng((seed, clock.step))
            # Early steps draw from few scenes, so that what they see depends on the step alone.
            reach = min(scenes, 500 + 64 * clock.step)
            while ready(out / "scenes") < reach:
                wait(process)
            batch = _drawn(setup, tokenizer, cache, rng, reach, batch_size, progress)
            if progress < _VISION:
                rate = _PEAK_RATE * _warmth(clock.step)
                train_state, loss = vision_step(train_state, batch, rate)
            else:
                clock.switched = clock.step if clock.switched < 0 else clock.switched
                left = (progress - _VISION) / (1 - _VISION)
                rate = _PEAK_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * left)))
                rate *= _warmth(clock.step - clock.switched)
                train_state, loss = full_step(train_state, batch, rate, 1 - 0.9 * left)
            clock.step += 1
            if clock.step % 10 == 0:
                bar.set_postfix_str(f"step {clock.step}, loss {float(loss):.3f}")
            clock.seconds += time.monotonic() - began
            bar.update(min(1.0, clock.progress) - bar.n)
            late = clock.seconds - saved > _SECONDS_BETWEEN_CHECKPOINTS
            if late or clock.progress >= 1:
                saved = clock.seconds
                _save(manager, train_state, clock)
                found = accuracies(best_tokens, train_state.weights, held_out, setup.packing)
                bar.write(_logged(out, clock, {"loss": float(loss), **found}))
        bar.close()
    process.terminate()
    process.wait()


def export(out: Path, folder: Path) -> None:
    """Writes the latest checkpoint in `out` as a Hugging Face folder."""
    tokenizer = build_tokenizer()
    setup, train_state = make_setup(tokenizer, seed=0)
    with _checkpoints(out) as manager:
        if manager.latest_step() is None:
            raise InputError(f"{out} has no checkpoint yet; train for some minutes first")
        train_state, _ = _restored(manager, train_state, _Clock(0, 0))
    model = nnx.merge(setup.graph, train_state.weights["model"])
    write_text_side(folder, tokenizer.convert_tokens_to_ids)
    save_weights(folder, model, FAMILY.weight_keys(model.config))


def _held_out(setup: Setup, tokenizer, batch_size: int) -> list[Batch]:
    scenes = draw_scenes(HELD_OUT_SEED, 8 * batch_size)
    return [
        make_batch(setup.packing, tokenizer, scenes, part, np.random.default_rng(1))
        for part in np.split(np.arange(8 * batch_size), 8)
    ]


def _drawn(
    setup: Setup,
    tokenizer,
    cache: SceneCache,
    rng: np.random.Generator,
    reach: int,
    batch_size: int,
    progress: float,
) -> Batch:
    blackout = BLACKOUT if progress < _LATE else LATE_BLACKOUT
    indices = np.sort(rng.integers(reach, size=batch_size))
    return make_batch(setup.packing, tokenizer, cache, indices, rng, blackout)


def _warmth(step: int) -> float:
    return min(1, (step + 1) / _WARM_UP)


def _logged(out: Path, clock: _Clock, values: dict[str, float]) -> str:
    entry = {"step": clock.step, "minutes": clock.seconds / 60, **values}
    with open(out / "log.jsonl", "a") as log:
        log.write(json.dumps(entry) + "\n")
    return json.dumps({name: round(value, 4) for name, value in entry.items()})


def _checkpoints(out: Path, **options: Any) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        (out / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(**options)
    )


def _leaves(train_state: TrainState) -> dict[str, Any]:
    return {f"{number:04}": leaf for number, leaf in enumerate(jax.tree.leaves(train_state))}


def _save(manager: ocp.CheckpointManager, train_state: TrainState, clock: _Clock) -> None:
    times = {"seconds": clock.seconds, "switched": clock.switched}
    manager.save(
        clock.step,
        args=ocp.args.Composite(
            train_state=ocp.args.StandardSave(_leaves(train_state)),
            clock=ocp.args.JsonSave(times),
        ),
    )
    manager.wait_until_finished()


def _restored(
    manager: ocp.CheckpointManager, train_state: TrainState, clock: _Clock
) -> tuple[TrainState, _Clock]:
    step = manager.latest_step()
    kept = manager.restore(
        step,
        args=ocp.args.Composite(
            train_state=ocp.args.StandardRestore(_leaves(train_state)),
            clock=ocp.args.JsonRestore(),
        ),
    )
    leaves = [kept.train_state[name] for name in sorted(kept.train_state)]
    train_state = jax.tree.unflatten(jax.tree.structure(train_state), leaves)
    return train_state, dataclasses.replace(clock, step=step, **kept.clock)


def main() -> int:
    """Trains or exports; returns the exit code."""
    options = _parser().parse_args()
    length = {"minutes": options.minutes, "steps": options.steps}
    try:
        if options.export:
            export(options.out, options.export)
        else:
            train(options.out, seed=options.seed, **length)
    except InputError as error:
        print("benchmarks/train_demo.py:", error, file=sys.stderr)
        return 2
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
        help="folder of the scenes, the checkpoints and the log",
    )
    add("--seed", type=int, default=0, help="seed of weights, scenes, questions (default: 0)")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, default=0, help="time spent in training steps")
    length.add_argument("--steps", type=int, default=0, help="number of training steps")
    length.add_argument(
        "--export", type=Path, metavar="FOLDER", help="write the latest checkpoint and stop"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
