"""Operations and time that InternVL saves when a masked image reuses results of the last one.

First the operations of an exact search with InternVL3.5-4B are counted: the demo image at
640 x 480 pixels in 64 superpixels, 13 tiles, 24 target tokens. This needs no weights: the sets
are those of a search with the demo model, and the sets alone decide what is computed again. On
several devices each device reads a contiguous part of the sorted sets.

Then one step of that search is timed on this machine with and without reuse, alternately: a
narrow model with random float32 weights and as many tiles, half as wide and high. The largest
difference of a log-probability is printed as well.

    python benchmarks/reuse.py          # minutes on two cores
"""

import dataclasses
import os
import sys
import time

import jax
import numpy as np
from flax import nnx
from PIL import Image

import eagle_jax
from eagle_jax import demo
from eagle_jax.inputs.patches import ImagePlan, plan_image
from eagle_jax.inputs.processors import read_settings
from eagle_jax.inputs.tiles import Tiles
from eagle_jax.models.families.internvl import InternVL, InternVLConfig
from eagle_jax.planning.flops import chained_flops, forward_flops
from eagle_jax.planning.published import published_models
from eagle_jax.planning.step import PROMPT_TOKENS
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.model import abstract_network
from eagle_jax.scoring.question import lay_out
from eagle_jax.scoring.scorer import padded_regions
from eagle_jax.search import find_orders

_MODEL = "OpenGVLab/InternVL3_5-4B-HF"
_TARGETS, _ROUNDS = 24, 2
# Each with its own chain of images.
_DEVICES = 1, 4, 8
_NARROW = {
    "vision": {"embed": 128, "heads": 4, "mlp": 512, "layers": 6, "side": 16, "output": 256},
    "decoder": {
        "vocabulary": 4096,
        "embed": 256,
        "layers": 6,
        "heads": 4,
        "key_value_heads": 2,
        "head_size": 64,
        "mlp": 768,
        "rope_sections": (32, 0, 0),
    },
    "image_token_id": 0,
}


class _Recorder:
    """A scorer that remembers what it was asked for."""

    def __init__(self, scorer):
        self.regions, self._scorer, self.asked = scorer.regions, scorer, []

    def __call__(self, visible):
        self.asked.append(visible)
        return self._scorer(visible)


def main() -> int:
    """Runs the benchmark and prints its tables; returns the exit code."""
    load = os.getloadavg()[0]
    image = np.asarray(Image.open(demo.IMAGE).convert("RGB").resize((640, 480)))
    case = eagle_jax.ask(eagle_jax.load("demo"), image, demo.PROMPT, regions=64)
    recorder = _Recorder(case.scorer)
    find_orders([recorder], "exact")
    found = published_models()[_MODEL]
    settings = read_settings(found["preprocessor_config"])
    plan = plan_image(image, case.scorer.labels, settings)
    config = abstract_network(found["config"], _MODEL)[0].config
    _count(config, plan, recorder.asked)
    _measure(config, settings, image, case.scorer.labels, recorder.asked, load)
    return 0


def _count(config: InternVLConfig, plan: ImagePlan, asked: list[np.ndarray]) -> None:
    """Prints the operations of the search."""
    rows = plan.tokens + PROMPT_TOKENS + np.arange(_TARGETS) - 1
    alone = forward_flops(config, plan.grid, rows)
    plan = jax.device_put(plan)
    forwards = sum(map(len, asked))
    print(f"{_MODEL}, {asked[0].shape[1]} regions, {forwards} forwards in {len(asked)} calls")
    for devices in _DEVICES:
        batches = {"batch_size": devices, "shards": devices}
        flops = np.array([chained_flops(config, plan, rows, one, **batches) for one in asked])
        # What fills up the last batch of a call is work as well.
        plain = np.array([-(-len(one) // devices) * devices * alone for one in asked])
        ratios = (plain / flops)[1:]
        print(
            f"{devices} devices: {plain.sum() / 1e15:.1f} PFLOP without reuse, "
            f"{flops.sum() / 1e15:.1f} with: {plain.sum() / flops.sum():.2f} times fewer; for "
            f"a step {min(ratios):.2f} to {max(ratios):.2f}, the median {np.median(ratios):.2f}"
        )
    print(f"a forward without reuse {alone / 1e12:.2f} TFLOP")


def _measure(
    config: InternVLConfig,
    settings: Tiles,
    image: np.ndarray,
    labels: np.ndarray,
    asked: list[np.ndarray],
    load: float,
) -> None:
    """Prints the seconds of one step."""
    config = dataclasses.replace(
        config,
        vision=dataclasses.replace(config.vision, **_NARROW["vision"]),
        decoder=dataclasses.replace(config.decoder, **_NARROW["decoder"]),
        image_token_id=_NARROW["image_token_id"],
    )
    settings = dataclasses.replace(settings, side=config.vision.side * config.vision.patch)
    plan = plan_image(image, labels, settings)
    network = InternVL(config, rngs=nnx.Rngs(0))
    prompt = np.ones(PROMPT_TOKENS + plan.tokens, np.int32)
    prompt[4 : 4 + plan.tokens] = config.image_token_id
    answer = np.arange(2, 2 + _TARGETS)
    question = lay_out(network, plan, prompt, answer, np.arange(_TARGETS), answer)
    step = asked[3 * len(asked) // 4]
    width = padded_regions(step.shape[1])
    sets = np.pad(step, ((0, 2 * width - len(step)), (0, width - step.shape[1])))
    arguments = network, question.padded, sets, np.int32(len(step))
    seconds: dict[bool, list[float]] = {False: [], True: []}
    scores = {}
    for turn in range(_ROUNDS + 1):
        for reuse in seconds:
            begin = time.perf_counter()
            scores[reuse] = np.asarray(score_sets(*arguments, batch_size=1, reuse=reuse))
            if turn:  # the first one compiles
                seconds[reuse].append(time.perf_counter() - begin)
    logs, plain = (np.log(scores[reuse][: len(step), :_TARGETS]) for reuse in (True, False))
    alone, chained = (float(np.median(seconds[reuse])) for reuse in (False, True))
    device = jax.devices()[0]
    print(f"\njax {jax.__version__} on {device.device_kind}, {os.cpu_count()} CPU cores")
    print(
        f"load {load:.1f} when this began; {len(step)} forwards of {plan.tokens} visual tokens"
    )
    print(
        f"without reuse {alone:.2f} s, with reuse {chained:.2f} s: {alone / chained:.2f} times"
    )
    print(
        f"log-probabilities differ by up to {np.abs(logs - plain).max():.1e} between both ways "
        f"and by up to {np.ptp(plain, axis=0).max():.1e} between images"
    )


if __name__ == "__main__":
    sys.exit(main())
