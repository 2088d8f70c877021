"""Fills: a masked image with a fill is scored like the composed image itself."""

import jax
import numpy as np
import pytest

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.inputs.fill import blurred
from eagle_jax.inputs.patches import masked_patches, soft_patches
from eagle_jax.scoring.answers import regenerate

SETS = np.random.default_rng(0).random((3, 6)) < 0.5
# With a resize, and without one.
SIZES = [(90, 150), (84, 112)]


@pytest.fixture(scope="module")
def model(untied):
    return eagle_jax.load(untied)


def ask(model, image, **options):
    return eagle_jax.ask(
        model,
        image,
        "Is there a cat?",
        answer="Yes, a cat.",
        target=[0, 3],
        regions="grid:2x3",
        batch_size=2,
        **options,
    )


def shown(fill, image):
    if isinstance(fill, np.ndarray):
        return fill
    colour = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    return {"black": 0 * image, "mean": colour + 0 * image, "blur": blurred(image)}[fill]


def fill_named(name, make_image, size):
    return make_image(9, *size) if name == "image" else name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["black", "mean", "blur", "image"])
def test_hidden_regions_show_the_fill(name, size, model, make_image):
    image = make_image(4, *size)
    fill = fill_named(name, make_image, size)
    case = ask(model, image, fill=fill)
    scores = case.scorer(SETS)
    assert scores.shape == (3, 2) and scores.dtype == np.float32
    for visible, ours in zip(SETS, scores, strict=True):
        composed = np.where(visible[case.labels][..., None], image, shown(fill, image))
        whole = ask(model, composed.astype(np.uint8)).scorer(np.ones((1, 6), bool))
        np.testing.assert_allclose(ours, whole[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["mean", "image"])
def test_soft_masks_of_zeros_and_ones_show_the_fill(name, size, model, make_image):
    fill = fill_named(name, make_image, size)
    plan = ask(model, make_image(4, *size), fill=fill).question.plan
    exact = jax.jit(masked_patches)(plan, np.pad(SETS, ((0, 0), (0, 10))))
    soft = jax.jit(soft_patches)(plan, np.pad(SETS, ((0, 0), (0, 10))).astype(np.float32))
    np.testing.assert_allclose(soft, exact, rtol=1e-5, atol=1e-6)


def test_published_rounding_applies_to_every_fill(model, make_image):
    image = make_image(4, 90, 150)
    case = ask(model, image, fill="mean", published_rounding=True)
    composed = np.where(SETS[0][case.labels][..., None], image, shown("mean", image))
    whole = ask(model, composed.astype(np.uint8), published_rounding=True)
    np.testing.assert_array_equal(case.scorer(SETS[:1]), whole.scorer(np.ones((1, 6), bool)))


def test_answers_are_given_to_images_with_the_fill(model, make_image):
    image = make_image(4, 90, 150)
    case = ask(model, image, fill="blur")
    answers = regenerate(model, image, case.labels, "What?", SETS, fill="blur")
    for visible, answer in zip(SETS, answers, strict=True):
        composed = np.where(visible[case.labels][..., None], image, blurred(image))
        (whole,) = regenerate(
            model, composed.astype(np.uint8), case.labels, "What?", np.ones((1, 6), bool)
        )
        assert answer == whole


@pytest.mark.parametrize(
    "fill, message",
    [
        ("white", "fill is 'white'; give black, mean, blur, or an image"),
        (np.zeros((5, 7, 3), np.uint8), "the fill has 7 x 5 pixels, the image 56 x 56"),
    ],
)
def test_fills_that_cannot_be_used(fill, message, model, make_image):
    with pytest.raises(InputError, match=message):
        ask(model, make_image(4, 56, 56), fill=fill)
