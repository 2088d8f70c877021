"""The pure functions: what JAX's transformations make of them, and how soft masks differ."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import questions

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import masked_patches, plan_image, soft_patches
from eagle_jax.scoring.model import Model, load
from eagle_jax.scoring.set_function import log_score, log_score_patches, score

REGIONS, TARGET = 5, [0, 1, 4]
# Multiples of a token's 28 pixels are not resized, others are.
SIZES = {"plain": (56, 84), "resized": (60, 78)}
# Unoptimised machine code for the same arithmetic: these programs run once or twice.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def model(untied):
    return load(untied)


@pytest.fixture(scope="module")
def asked(untied, references, make_image):
    """One question of each size, with answers of the model's own."""
    return {
        name: questions.make_question(
            untied,
            make_image(3, *size),
            questions.cells(3, *size, REGIONS),
            reference=references["untied"],
            target=TARGET,
        )
        for name, size in SIZES.items()
    }


@pytest.fixture(scope="module")
def laid_out(asked, model):
    return {name: one.scorer(model.network).question for name, one in asked.items()}


@pytest.fixture(scope="module")
def sets():
    sets = np.random.default_rng(0).random((4, REGIONS)) < 0.5
    sets[0], sets[1] = False, True
    return jnp.asarray(sets)


@quick_jit
def exact(model, question, visible):
    """All exact functions of a batch, and of each set by itself; the model is an argument."""
    alone = jax.vmap(lambda one: score(model.network, question, one[None])[0])
    patches = masked_patches(question.plan, visible)
    logs = log_score(model.network, question, visible)
    return patches, logs, score(model.network, question, visible), alone(visible)


@quick_jit
def soft(model, question, mask):
    patches = soft_patches(question.plan, mask)
    return patches, log_score_patches(model.network, question, patches)


@pytest.mark.parametrize("size", SIZES)
def test_jit_and_vmap_give_pytorchs_probabilities(
    size, asked, laid_out, model, sets, references
):
    _, logs, shares, alone = exact(model, laid_out[size], sets)
    reference = asked[size].reference_score(references["untied"])
    expected = np.stack([reference(np.asarray(row)) for row in sets])
    # No column for the targets that fill up the bucket.
    assert shares.shape == logs.shape == (len(sets), len(TARGET))
    assert laid_out[size].token_ids.shape == (8,)
    np.testing.assert_allclose(shares, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(alone, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logs, np.log(expected), rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.05, "the masks do not matter"


@pytest.mark.parametrize("size", SIZES)
def test_soft_masks_of_zeros_and_ones_are_exact_ones(size, laid_out, model, sets):
    patches, logs, *_ = exact(model, laid_out[size], sets)
    softly, soft_logs = soft(model, laid_out[size], sets.astype(jnp.float32))
    assert soft_logs.shape == logs.shape
    np.testing.assert_allclose(softly, patches, rtol=0, atol=1e-6)
    np.testing.assert_allclose(soft_logs, logs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(jnp.exp(soft_logs), jnp.exp(logs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_is_that_of_finite_differences(size, laid_out, model, monkeypatch):
    # A resize rounds, and its gradient is that of the sums it rounds.
    monkeypatch.setattr("eagle_jax.inputs.resize._round_down", lambda x: x)
    question = laid_out[size]
    mask = np.random.default_rng(1).uniform(0.2, 0.8, REGIONS).astype(np.float32)

    @quick_jit
    @jax.vmap
    @jax.value_and_grad
    def summed(mask):
        patches = soft_patches(question.plan, mask[None])
        return log_score_patches(model.network, question, patches).sum()

    # Four points in each direction: what remains is of the fourth order.
    steps = np.array([1, -1, 2, -2])[:, None, None] / 64 * np.eye(REGIONS)
    masks = (mask + steps).reshape(-1, REGIONS)
    values, gradients = summed(np.vstack([mask, masks]).astype(np.float32))
    near, back, far, behind = np.asarray(values[1:]).reshape(4, -1)
    expected = (8 * (near - back) - (far - behind)) / 12 * 64
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradients[0], expected, rtol=0, atol=3e-4 * scale)
    assert scale > 1


@pytest.mark.parametrize("share, colour", [(0.0, 200), (0.4, 204), (1.0, 255)])
def test_rounded_pixels_have_the_whole_gradient_up_to_black_and_white(share, colour, model):
    """A flat picture: each value is the mask's share of the colour, a whole number."""
    image = np.full((60, 78, 3), colour, np.uint8)
    labels = np.zeros((60, 78), np.int32)
    plan = jax.device_put(plan_image(image, labels, model.image_settings))
    mask, change = jnp.full((1, 1), share), jnp.ones((1, 1))
    found = jax.jvp(functools.partial(soft_patches, plan), (mask,), (change,))
    black, white = plan.table[:, :1], plan.table[:, 255:]
    level = (white - black) / 255
    for ours, expected in zip(
        found, (black + level * round(share * colour), level * colour), strict=True
    ):
        ours = ours.reshape(-1, 3, 14 * 14)
        expected = np.broadcast_to(expected, ours.shape)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_masks_that_are_not_boolean_are_refused(laid_out, model, monkeypatch):
    # Outside the tests nobody checks annotations.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for function in (score, log_score):
        with pytest.raises(InputError, match="type float32; it must be an array of booleans"):
            function(model.network, laid_out["plain"], jnp.ones((1, REGIONS)))


def test_a_model_is_a_pytree_of_its_weights(model):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model)
    assert isinstance(half, Model)
    assert len(jax.tree.leaves(model)) == len(jax.tree.leaves(model.network)) > 20
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}
    assert (half.name, half.tokenizer, half.end_ids) == (
        model.name,
        model.tokenizer,
        model.end_ids,
    )
