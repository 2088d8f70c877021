"""Operations, bytes and time of programs: by hand, analytically, and as they are recorded."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from instruction_costs import operations
from stage_profile import (
    STAGES,
    Profile,
    heaviest,
    predicted_stages,
    scopes_of,
    stage_of,
)
from stages import BUNDLED, PREDICTIONS, extract

from eagle_jax.inputs.patches import masked_patches
from eagle_jax.planning.chips import CHIPS
from eagle_jax.planning.published import published_models
from eagle_jax.planning.step import size_step
from eagle_jax.planning.utilisation.hlo import parse, walk
from eagle_jax.planning.utilisation.program_time import program_seconds
from eagle_jax.scoring.set_function import score

ROOT = Path(__file__).parents[2]

# As the compiler for TPUs writes them: a loop of 7 - 2 trips around a fusion with a product and
# a slice of stacked weights, a kernel, a product as a convolution over dilated arrays, a
# switch, a gather, and a copy of the compiler's own.
PROGRAM = (ROOT / "tests" / "support" / "program.hlo").read_text("utf-8")


def test_a_program_by_hand():
    v6e = CHIPS["v6e"]
    found = predicted_stages(parse(PROGRAM), v6e, v6e.bfloat16)
    assert [stage.name for stage in found] == list(STAGES)
    stages = {stage.name: stage for stage in found}
    rest, attention, head = (stages[n] for n in ("decoder rest", "vision attention", "head"))
    # Five trips; the copy without a name belongs to the loop, that of the weights to its part.
    assert rest.milliseconds == pytest.approx(1e3 * (5 * 1210 + 5000) / 1.75e9)
    assert rest.operations == 5 * 2 * 32 * 64 * 128
    weights, layer, state = 7 * 64 * 128 * 2, 32 * 128 * 2, 32 * 64 * 2
    counter = 4 + 3 * 4
    assert rest.bytes == 5 * (weights / 7 + layer + state + counter) + 2 * weights
    # 918e6 operations at half of 918e12 a second.
    assert attention.kernels == pytest.approx(2e-3)
    assert attention.milliseconds == pytest.approx(2e-3 + 1e3 * 2000 / 1.75e9)
    assert attention.operations == 918e6 + 2 * 12 * 10 * 10 * 16
    assert attention.bytes == 1640 + 12 * (2 * 10 * 16 * 2 + 10 * 10 * 4)
    # The branches run equally often.
    assert head.milliseconds == pytest.approx(1e3 * 400 / 1.75e9)
    # The copy into the core's memory runs beside the rest.
    assert stages["search"].milliseconds == 0 and stages["search"].bytes == state
    # A lookup, which has no estimate: what it reads, and what it writes.
    assert stages["pixels"] == ("pixels", 0, 0, 4, 0, 4 * 640)

    profile = Profile("m", "v6e", 2, 2.0e9, v6e.bfloat16, v6e.bandwidth, 1, 1, found)
    whole = 1e3 * (11050 + 2000 + 400) / 1.75e9 + 2e-3
    assert profile.milliseconds == pytest.approx(whole)
    seconds = program_seconds(parse(PROGRAM), v6e, v6e.bfloat16)
    assert 1e3 * seconds == pytest.approx(whole)
    assert profile.utilisation == pytest.approx(2e9 / (918e12 * whole / 1e3))
    table = profile.table().splitlines()
    assert len(table) == 3 + len(STAGES) and max(map(len, table)) <= 96
    assert json.loads(json.dumps(profile.as_json()))["stages"][3]["name"] == "decoder attention"
    slowest = heaviest(parse(PROGRAM), v6e, v6e.bfloat16, 2)
    assert "layer" in slowest[0] and "turned" in slowest[1] and len(slowest) == 2


def test_what_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        parse("nothing")


@pytest.mark.parametrize("model", published_models())
def test_operations_are_the_analytic_count(model):
    step = size_step(
        model, image="640x480", regions=64, topology="v6e:1x1", targets=24, quantize=None
    )
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), step.question.padded
    )
    visible = jax.ShapeDtypeStruct((2, 64), bool)
    lowered = jax.jit(score).lower(step.network, shapes, visible)
    program = parse(lowered.as_text("hlo", debug_info=True))
    counted = dict.fromkeys(STAGES, 0.0)
    for run in walk(program):
        counted[stage_of(scopes_of(run))] += run.times * operations(program, run) / 2

    config, length = step.network.config, len(step.question.ids)
    vision, decoder = config.vision, config.decoder
    # What the program does besides: windows padded to the largest, scores above the diagonal.
    extra = 0.0
    if isinstance(lengths := getattr(step.question.layout, "lengths", None), np.ndarray):
        padded = len(lengths) * float(lengths.max()) ** 2 - float((lengths**2.0).sum())
        extra = 4 * vision.embed * len(vision.windowed_layers) * padded
    towers = counted["vision attention"] + counted["vision rest"]
    assert towers == pytest.approx(config.vision_flops(step.image_plan.grid) + extra, rel=1e-9)
    inner = decoder.heads * decoder.head_size
    pairs = (decoder.layers - 1) * length**2 + 24 * length
    assert counted["decoder attention"] == pytest.approx(4 * inner * pairs, rel=1e-9)
    assert counted["head"] == 2 * 24 * decoder.embed * decoder.vocabulary
    whole = sum(counted.values()) - counted["pixels"] - counted["search"]
    # The tolerance of the counts as the table has them; the attention of long prompts counts.
    assert 1 <= whole / step.flops < 1.1
    assert counted["search"] == 0
    pixels = jax.eval_shape(masked_patches, step.image_plan, visible).size / 2
    assert 2 * pixels < counted["pixels"] < 0.01 * whole


TINY = """
import json, jax, jax.numpy as jnp
jax.config.update("jax_platforms", "cpu")
from jax.experimental import pallas as pl
from jax.sharding import NamedSharding, PartitionSpec
from eagle_jax.planning.chips import CHIPS
from eagle_jax.planning.compilation import tpu_mesh
from eagle_jax.planning.utilisation.hlo import parse
from stage_profile import predicted_stages

def kernel(x, out):
    out[...] = x[...] * 2

def f(x, weights):
    with jax.named_scope("vision"), jax.named_scope("attention"):
        cost = pl.CostEstimate(flops=459_000_000, transcendentals=0, bytes_accessed=10)
        x = pl.pallas_call(kernel, out_shape=x, cost_estimate=cost)(x)
    with jax.named_scope("decoder"):
        x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)
    return x

whole = NamedSharding(tpu_mesh("v6e", "1x1", 1, 1), PartitionSpec())
sizes = (256, 512), (5, 512, 512)
shapes = [jax.ShapeDtypeStruct(size, jnp.bfloat16, sharding=whole) for size in sizes]
program = parse(jax.jit(f).lower(*shapes).compile().as_text())
v6e = CHIPS["v6e"]
print(json.dumps({one.name: one for one in predicted_stages(program, v6e, v6e.bfloat16)}))
"""


def test_a_program_of_the_compiler(environment):
    paths = [str(ROOT / "benchmarks"), *filter(None, [environment.get("PYTHONPATH")])]
    environment = environment | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", TINY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    stages = json.loads(done.stdout)
    _, milliseconds, work, _, kernels, _ = stages["vision attention"]
    assert work == 459e6 and kernels == pytest.approx(1e-3)
    assert milliseconds >= kernels
    _, milliseconds, work, moved, kernels, _ = stages["decoder rest"]
    assert work == 5 * 2 * 256 * 512 * 512 and kernels == 0
    # No faster than the chip, and not a hundred times slower.
    assert 1 < milliseconds / (1e3 * work / 918e12) < 100
    assert moved >= 5 * 512 * 512 * 2


def test_recorded_predictions_are_whole_and_an_extract_ships():
    found = json.loads(PREDICTIONS.read_text("utf-8"))
    assert json.loads(BUNDLED.read_text("utf-8")) == extract(found)
    known = {(one["model"], one["hardware"].partition(":")[0]) for one in found}
    assert known >= set(itertools.product(published_models(), ("v5e", "v6e")))
    for one in found:
        stages = one["stages"]
        assert [stage["name"] for stage in stages] == list(STAGES)
        whole = sum(stage["milliseconds"] for stage in stages)
        assert whole == pytest.approx(one["milliseconds"], rel=1e-3)
        fraction = one["needed"] / (one["peak"] * whole / 1e3)
        assert fraction == pytest.approx(one["utilisation"], rel=1e-3) and 0 < fraction < 1
        # What the program does is what is needed and little more.
        done = sum(stage["operations"] for stage in stages)
        assert 1 < done / one["needed"] < 1.25
        assert one["image"] == "640x480" and one["date"] and one["libtpu"]
