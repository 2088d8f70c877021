"""What int8 and bfloat16 do to explanations by the bundled model, against float32.

Storybook scenes that no model was trained on are explained by the exact search, always with
the float32 model's own answer. Printed for each precision: Kendall's tau between its order of
the regions and that of float32, the mean over scenes and the lowest; in how many scenes both
name the same first region; the change of the areas under the insertion and the deletion curve,
each run's own order scored by the run itself, the mean and the largest; the largest change of a
token's probability where both score the same sets.

    python benchmarks/int8.py                 # minutes on two cores
    python benchmarks/int8.py --scenes 20

The rates are this machine's, one precision after the other in turns. XLA's int8 products on
CPUs are not made for speed; nothing follows from them for TPUs and GPUs.
"""

import argparse
import os
import sys
import time

import jax
import numpy as np
from demo_accuracy import TEST_SEED
from scipy.stats import kendalltau
from tqdm import tqdm

import eagle_jax
from eagle_jax import demo
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.metrics.faithfulness import deletion_auc, insertion_auc

_PRECISIONS = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"dtype": "float32", "quantize": "int8"},
    "int8, bfloat16": {"dtype": "bfloat16", "quantize": "int8"},
}
_ROUNDS = 3


def main() -> int:
    """Runs the benchmark and prints its table; returns the exit code."""
    options = _parser().parse_args()
    load = os.getloadavg()[0]
    models = {name: eagle_jax.load("demo", **how) for name, how in _PRECISIONS.items()}
    rows = {name: [] for name in models}
    regions, scorers, sets = [], {}, None
    seeds = range(TEST_SEED, TEST_SEED + options.scenes)
    for seed in tqdm(seeds, desc="explaining", unit="scene"):
        image = draw_scene(seed).image
        first = eagle_jax.explain(
            models["float32"], image, demo.PROMPT, regions=options.regions, search="exact"
        )
        regions.append(first.order.size)
        asked = {"answer": first.answer_ids, "regions": first.labels}
        sets, exact = _sets(first.order), None
        for name, model in models.items():
            found = first
            if name != "float32":
                found = eagle_jax.explain(model, image, demo.PROMPT, **asked, search="exact")
            scorers[name] = eagle_jax.ask(model, image, demo.PROMPT, **asked).scorer
            scores = scorers[name](sets)
            exact = scores if exact is None else exact
            rows[name].append(
                (
                    kendalltau(_ranks(found.order), _ranks(first.order)).statistic,
                    found.order[0] == first.order[0],
                    _area(insertion_auc, found) - _area(insertion_auc, first),
                    _area(deletion_auc, found) - _area(deletion_auc, first),
                    np.abs(scores - exact).max(),
                )
            )
    rates = _rates(scorers, sets)
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.device_kind} ({device.platform})")
    print(f"{os.cpu_count()} CPU cores, load {load:.1f} when this began")
    print(f"{options.scenes} scenes of {min(regions)} to {max(regions)} regions")
    print(
        f"{'':<15}{'weights':>9}{'tau':>8}{'lowest':>8}{'first':>7}{'insertion':>11}{'largest':>9}"
        f"{'deletion':>10}{'largest':>9}{'p':>8}{'forwards/s':>12}"
    )
    for name, model in models.items():
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.network))
        tau, first, insertion, deletion, change = np.array(rows[name]).T
        print(
            f"{name:<15}{size / 1e6:>6.1f} MB{tau.mean():>8.3f}{tau.min():>8.3f}"
            f"{first.mean():>7.0%}{insertion.mean():>+11.4f}{np.abs(insertion).max():>9.4f}"
            f"{deletion.mean():>+10.4f}{np.abs(deletion).max():>9.4f}{change.max():>8.4f}"
            f"{rates[name]:>12.1f}"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scenes", type=int, default=6, metavar="N", help="number of scenes (default: 6)"
    )
    parser.add_argument(
        "--regions",
        type=int,
        default=36,
        metavar="N",
        help="approximate number of regions (default: 36)",
    )
    return parser


def _sets(order: np.ndarray) -> np.ndarray:
    """The sets of both curves along an order."""
    shown = np.argsort(order) < np.arange(order.size + 1)[:, None]
    return np.concatenate([shown, ~shown])


def _ranks(order: np.ndarray) -> np.ndarray:
    return np.argsort(order)


def _area(measure, found) -> float:
    curve = found.insertion if measure is insertion_auc else found.deletion
    return float(measure(found.area, curve.mean(axis=1)))


def _rates(scorers: dict, sets: np.ndarray) -> dict[str, float]:
    """Forwards per second of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in scorers}
    for _ in range(_ROUNDS):
        for name, scorer in scorers.items():
            begin = time.perf_counter()
            scorer(sets)
            seconds[name].append(time.perf_counter() - begin)
    return {name: len(sets) / float(np.median(taken)) for name, taken in seconds.items()}


if __name__ == "__main__":
    sys.exit(main())
