"""Memory that methods which look into the network take at the full shape of Qwen2.5-VL-7B.

Their programs are compiled for one v6e chip that is not there, without weights: 640 x 480
pixels, 24 target tokens, bfloat16, the batches that a run on the chip would take. The bars are
goals of this repository; the published code takes 47.17 GB for LLaVA-CAM and 96.90 for IGOS++,
on a GPU.

    python -m pip install --no-deps --target /tmp/libtpu "libtpu==0.0.42.*"
    PYTHONPATH=/tmp/libtpu python benchmarks/memory.py
"""

import argparse
import math
import sys
import time
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from compile import QUICK
from jax.sharding import NamedSharding, PartitionSpec

from eagle_jax.baselines.igos import SIDE, Composition, Settings, optimised_masks
from eagle_jax.baselines.llava_cam import smooth_cam, tapped_layer
from eagle_jax.baselines.tam import activations
from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.processors import read_settings
from eagle_jax.models.checkpoints.sharding import place_skeleton
from eagle_jax.planning.compilation import (
    REAL,
    compiler_missing,
    in_bfloat16,
    step_question,
    step_shapes,
    tpu_mesh,
)
from eagle_jax.planning.published import published_models
from eagle_jax.planning.step import PROMPT_TOKENS
from eagle_jax.scoring.gradients import GRADIENT_SHARE
from eagle_jax.scoring.model import abstract_network
from eagle_jax.scoring.scorer import filling_batch_size

MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"
HEIGHT, WIDTH, TARGETS = 480, 640, 24
# In GB of 10**9 bytes.
BARS = {"tam": 18.75, "llava-cam": 25.0, "igos++": 40.0}


def main() -> int:
    """Compiles the programs and prints their memory; returns the exit code."""
    options = _parser().parse_args()
    if missing := compiler_missing():
        print(f"benchmarks/memory.py: {missing}", file=sys.stderr)
        return 2
    jax.config.update("jax_platforms", "cpu")
    print(f"{MODEL} on one v6e chip, jax {jax.__version__}, libtpu {version('libtpu')}")
    print(f"{'method':<12}{'weights':>9}{'program':>9}{'GB in all':>11}{'bar':>7}{'CPU s':>7}")
    within = True
    for method in options.methods.split(","):
        begin = time.process_time()
        lowered, weights = lower(method)
        effort: Any = {"exec_time_optimization_effort": REAL if options.full else QUICK}
        memory = lowered.compile(effort).memory_analysis()
        whole = memory.argument_size_in_bytes + memory.temp_size_in_bytes
        within &= whole / 1e9 <= BARS[method]
        print(
            f"{method:<12}{weights / 1e9:>9.2f}{(whole - weights) / 1e9:>9.2f}"
            f"{whole / 1e9:>11.2f}{BARS[method]:>7.2f}{time.process_time() - begin:>7.0f}",
            flush=True,
        )
    return 0 if within else 1


def lower(method: str) -> tuple[Any, int]:
    """A method's program, lowered for the chip, and the bytes of the weights it takes."""
    mesh = tpu_mesh("v6e", "1x1", 1, 1)
    everywhere = NamedSharding(mesh, PartitionSpec())
    found = published_models()[MODEL]
    skeleton = in_bfloat16(abstract_network(found["config"], MODEL)[0])
    settings = read_settings(found["preprocessor_config"])
    plan = plan_image(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.int32), settings
    )
    question = step_shapes(step_question(skeleton, plan, PROMPT_TOKENS, TARGETS), 64)[0]
    network = place_skeleton(skeleton, skeleton.config, mesh)
    weights = sum(leaf.dtype.itemsize * leaf.size for leaf in jax.tree.leaves(skeleton))
    patches = math.prod(plan.grid)
    tokens = max(patches, plan.tokens + PROMPT_TOKENS + TARGETS)
    batch_size = filling_batch_size(tokens, 1, "tpu")

    def shaped(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def placed(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
            tree,
        )

    noise, key = shaped(), jax.eval_shape(lambda: jax.random.key(0))
    if method == "tam":
        return activations.lower(network, placed(question)), weights
    if method == "llava-cam":
        lowered = smooth_cam.lower(
            network,
            *placed((question, noise, key)),
            samples=50,
            layer=tapped_layer(skeleton.config.decoder.layers),
            batch_size=batch_size,
        )
        return lowered, weights
    frames = settings.frames(HEIGHT, WIDTH)
    image = shaped(patches, skeleton.config.vision.channels * plan.patch_size**2)
    height, width = frames[0].shape
    composition = Composition(
        image=image,
        baseline=image,
        rows=tuple(shaped(one.shape[0], SIDE) for one in frames),
        columns=tuple(shaped(one.shape[1], SIDE) for one in frames),
        edges=(shaped(height - 1, width), shaped(height, width - 1)),
    )
    lowered = optimised_masks.lower(
        network,
        *placed((question, composition, noise, key)),
        settings=Settings(
            frames=frames,
            published=False,
            iterations=5,
            steps=10,
            batch_size=max(1, batch_size // GRADIENT_SHARE),
        ),
    )
    return lowered, weights


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods",
        default=",".join(BARS),
        help=f"methods, separated by commas (default: {','.join(BARS)})",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="compile with the effort of a real run, which takes longer",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
