"""The scoring program of the published checkpoints, compiled for TPUs at full shape.

Needs libtpu, whose presence disturbs ordinary runs of JAX; keep it in a folder of its own:

    python -m pip install --no-deps --target /tmp/libtpu "libtpu==0.0.42.*"
    LIBTPU_FOLDER=/tmp/libtpu python -m pytest tests/planning/test_compilation.py

Each takes a quarter of a minute to a whole one, so .ci/run compiles one checkpoint of each
family, the tightest as floats and in int8; COMPILE=all before the command compiles them all.
"""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
from jax.extend.core import jaxprs_in_params

from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.inputs.processors import read_settings
from eagle_jax.planning.compilation import in_bfloat16, step_question, step_shapes
from eagle_jax.planning.published import published_models
from eagle_jax.scoring import scorer
from eagle_jax.scoring.model import abstract_network
from eagle_jax.scoring.question import lay_out
from eagle_jax.scoring.scorer import MaskedImageScorer
from eagle_jax.scoring.set_function import score

MODELS = sorted(published_models())
TARGETS = (("v6e:1x1", None), ("v5e:1x2", None), ("v5e:1x1", "int8"))
ALWAYS = {
    *((model, *TARGETS[0]) for model in MODELS if "Qwen" not in model),
    ("Qwen/Qwen2.5-VL-7B-Instruct", *TARGETS[1]),
    ("Qwen/Qwen2.5-VL-7B-Instruct", *TARGETS[2]),
}
PLAN = """
import json, sys, time
import jax
jax.config.update("jax_platforms", "cpu")
from eagle_jax.planning.estimate import plan
model, topology, quantize = sys.argv[1:]
begin = time.process_time()
found = plan(model, topology=topology, quantize=quantize or None, effort=-1.0)
print(json.dumps(found.memory._asdict() | {"work": time.process_time() - begin}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("topology, quantize", TARGETS)
@pytest.mark.parametrize("model", MODELS)
def test_the_step_compiles_and_fits(model, topology, quantize, environment):
    if (model, topology, quantize) not in ALWAYS and os.environ.get("COMPILE") != "all":
        pytest.skip("compiled with COMPILE=all only")
    done = subprocess.run(
        [sys.executable, "-c", PLAN, model, topology, quantize or ""],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["compile_seconds"], found["basis"]
    assert found["weights"] + found["program"] <= found["available"]
    # The processor's seconds, of one core: others may be at work on this machine.
    assert found["work"] < 60
    # The estimate serves where nothing can be compiled.
    assert 0.5 < found["estimate"] / found["program"] < 5


@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_weights_are_multiplied_in_bfloat16(model):
    published = published_models()[model]
    skeleton = in_bfloat16(abstract_network(published["config"], model)[0])
    settings = read_settings(published["preprocessor_config"])
    image = np.zeros((480, 640, 3), np.uint8)
    plan = plan_image(image, np.zeros((480, 640), np.int32), settings)
    question = step_shapes(step_question(skeleton, plan, 40, 24), 64)[0]
    visible = jax.ShapeDtypeStruct((2, 64), bool)
    program = jax.make_jaxpr(score)(skeleton, question, visible)
    biggest = {leaf.shape for leaf in jax.tree.leaves(skeleton) if leaf.ndim >= 2}
    tails = {shape[-2:] for shape in biggest} | {shape[-2:][::-1] for shape in biggest}
    products = [p for p in _products(program.jaxpr) if tuple(p[1].shape[-2:]) in tails]
    assert len(products) >= 10
    for operand, weight in products:
        assert operand.dtype == weight.dtype == jnp.bfloat16, (operand, weight)


def _products(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield tuple(value.aval for value in equation.invars)
        for inner in jaxprs_in_params(equation.params):
            yield from _products(inner)


def test_shapes_are_those_of_a_scorer(untied, monkeypatch):
    network = questions.load_network(untied)
    image = np.zeros((84, 112, 3), np.uint8)
    labels = questions.cells(0, 84, 112, 6)
    plan = plan_image(image, labels, PixelBudget())
    token = network.config.image_token_id
    prompt = np.array([1] + [token] * plan.tokens + [1] * 19, np.int32)
    answer = np.arange(5, dtype=np.int32)
    question = lay_out(network, plan, prompt, answer, np.arange(5), answer)
    given = []

    def record(network, *arguments, batch_size, mesh):
        given.extend(arguments)
        return np.zeros((len(arguments[1]), 8), np.float32)

    monkeypatch.setattr(scorer, "score_sets", record)
    MaskedImageScorer(network, question, labels, ["x"] * 5, 4)(np.ones((1, 6), bool))
    planned = step_shapes(step_question(network, plan, 20, 5), 6)
    shapes = [
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), one)
        for one in (planned, tuple(given))
    ]
    assert shapes[0] == shapes[1]
