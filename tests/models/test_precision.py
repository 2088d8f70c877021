"""Answers and scores of float32 models ask for float32 products, others for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
from jax.extend.core import jaxprs_in_params

from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.patches import plan_image
from eagle_jax.scoring import answers
from eagle_jax.scoring import model as bundle
from eagle_jax.scoring import scorer as scoring


def precisions(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for inner in jaxprs_in_params(equation.params):
            yield from precisions(inner)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_products_are_as_precise_as_the_weights_ask_for(dtype, untied, make_image):
    network = jax.tree.map(lambda leaf: leaf.astype(dtype), questions.load_network(untied))
    image, labels = make_image(1, 56, 84), questions.cells(1, 56, 84, 4)
    question = questions.make_question(untied, image, labels).scorer(network).question
    sets = np.ones((2, 16), bool)
    plan = plan_image(image, labels, ImageSettings())
    ids = np.asarray(question.ids)
    prompt = (
        plan,
        network.layout(plan.grid),
        ids,
        network.positions(ids, plan.grid),
        question.start,
        np.int32(len(ids)),
        np.array([0], np.int32),
    )
    settling = np.array([1], np.int32), np.array([], np.int32)
    programs = [
        jax.make_jaxpr(scoring.probabilities)(network, question, sets),
        jax.make_jaxpr(lambda *a: bundle._generate(*a, max_new_tokens=3))(network, *prompt),
        jax.make_jaxpr(lambda *a: answers._decode(*a, max_new_tokens=3))(
            network, *prompt, settling, sets
        ),
    ]
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    for program in programs:
        found = list(precisions(program.jaxpr))
        assert len(found) > 20
        # The resize is exact whatever the weights are.
        weights = [one for one in found if one != highest]
        assert (len(weights) == 0) == (dtype == jnp.float32)
