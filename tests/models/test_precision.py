"""Answers and scores of float32 models ask for float32 products, others for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
from jax.extend.core import jaxprs_in_params

from eagle_jax.models.layers import decoding
from eagle_jax.scoring import answers
from eagle_jax.scoring.set_function import score


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
    sets, ids = np.ones((2, 16), bool), np.array([1], np.int32)
    settling = decoding.Settling(ids, ids[:0], ids[:0], ids[:0])
    programs = [
        jax.make_jaxpr(score)(network, question, jnp.asarray(sets)),
        jax.make_jaxpr(lambda *a: answers._decode(*a, max_new_tokens=3))(
            network, question.padded, sets, ids, settling, np.bool_(False), None
        ),
    ]
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    for program in programs:
        found = list(precisions(program.jaxpr))
        assert len(found) > 20
        # The resize is exact whatever the weights are.
        weights = [one for one in found if one != highest]
        assert (len(weights) == 0) == (dtype == jnp.float32)
