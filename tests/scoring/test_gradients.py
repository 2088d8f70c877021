"""What is read out of a network: against finite differences and against itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
from families import quick_jit

from eagle_jax.errors import InputError
from eagle_jax.models.layers.building_blocks import in_int8
from eagle_jax.models.layers.inspection import layer_inputs, layer_with_attention, tap
from eagle_jax.scoring.gradients import (
    final_states,
    patch_gradient,
    require_gradients,
    tapped,
    whole_patches,
)
from eagle_jax.scoring.set_function import log_score, log_score_patches

LAYER = 1


@pytest.fixture(scope="module")
def asked(untied, make_image):
    """A tiny network and a question with three targets; and its image's patches."""
    network = questions.load_network(untied)
    labels = questions.cells(1, 90, 150, 4)
    question = questions.make_question(
        untied, make_image(1, 90, 150), labels, target=[0, 2, 5]
    ).scorer(network)
    question = question.question.padded
    return network, question, quick_jit(whole_patches)(question)


@quick_jit
def mean_log_probability(network, question, patches):
    return log_score_patches(network, question, patches) @ question.weights


@quick_jit
def rest_of_decoder(network, question, patches, activation):
    """The sum of the target logits, with another activation at the tapped layer."""
    visual = network.visual_tokens(patches, question.layout)
    embeddings = network.embed(question.ids, visual, question.start)
    _, finish = tap(network.decoder, embeddings, question.positions, LAYER)
    logits = network.decoder.logits(finish(activation, question.rows))[0]
    return sum(logits[i, question.token_ids[i]] for i in range(3))


def test_gradient_of_patches_is_that_of_finite_differences(asked):
    network, question, patches = asked
    gradient = np.asarray(quick_jit(patch_gradient)(network, question, patches))
    rng = np.random.default_rng(0)
    for _ in range(4):
        way = rng.normal(size=patches.shape).astype(np.float32)
        step = 3e-3
        ahead, behind = (
            float(mean_log_probability(network, question, patches + sign * step * way)[0])
            for sign in (1, -1)
        )
        slope = float((gradient * way).sum())
        assert abs(slope) > 0.05
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-3)


def test_tapped_gradient_is_that_of_finite_differences(asked):
    network, question, patches = asked
    visual = slice(int(question.start), int(question.start) + question.plan.tokens)

    @quick_jit
    def whole_activation(network, question, patches):
        tokens = network.visual_tokens(patches, question.layout)
        embeddings = network.embed(question.ids, tokens, question.start)
        return tap(network.decoder, embeddings, question.positions, LAYER)[0]

    found = jax.jit(tapped, static_argnames="layer")(network, question, patches, layer=LAYER)
    activation = np.asarray(whole_activation(network, question, patches))
    np.testing.assert_allclose(found.activation, activation[:, visual], rtol=0, atol=1e-5)
    rng = np.random.default_rng(1)
    for _ in range(4):
        way = np.zeros_like(activation)
        way[:, visual] = rng.normal(size=found.activation.shape)
        step = 1e-2
        ahead, behind = (
            float(rest_of_decoder(network, question, patches, activation + sign * step * way))
            for sign in (1, -1)
        )
        slope = float((np.asarray(found.gradient) * way[:, visual]).sum())
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-3)


def test_a_tapped_decoder_finishes_as_the_whole_one_does(asked):
    network, question, patches = asked

    @quick_jit
    def states(network, question, patches):
        visual = network.visual_tokens(patches, question.layout)
        embeddings = network.embed(question.ids, visual, question.start)
        decoder, positions = network.decoder, question.positions
        whole = decoder.hidden_states(embeddings, positions, question.rows)
        halves = []
        for layer in range(decoder.config.layers - 1):
            activation, finish = tap(decoder, embeddings, positions, layer)
            halves.append(finish(activation, question.rows))
        inputs, last = layer_inputs(decoder, embeddings, positions)
        opened = decoder.norm(
            layer_with_attention(decoder.last, last, decoder.rotation(positions))[0]
        )
        return whole, jnp.stack(halves), inputs, opened[:, question.rows], embeddings

    whole, halves, inputs, opened, embeddings = states(network, question, patches)
    for half in halves:
        np.testing.assert_allclose(half, whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(opened, whole, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(inputs[0], embeddings)
    final = quick_jit(final_states)(network, question, patches)
    np.testing.assert_allclose(final[:, question.rows], whole, rtol=0, atol=1e-5)


def test_the_whole_image_is_what_the_set_function_sees(asked):
    network, question, patches = asked
    ours = quick_jit(log_score_patches)(network, question, patches)
    exact = quick_jit(log_score)(network, question, np.ones((1, 4), bool))
    np.testing.assert_array_equal(ours, exact)
    black = quick_jit(whole_patches)(question, jnp.zeros_like(question.plan.image))
    hidden = quick_jit(log_score)(network, question, np.zeros((1, 4), bool))
    ours = quick_jit(log_score_patches)(network, question, black)
    np.testing.assert_array_equal(ours, hidden)


def test_int8_weights_are_refused(asked):
    network, *_ = asked
    require_gradients(network)
    with pytest.raises(InputError, match="int8"):
        require_gradients(in_int8(network))
