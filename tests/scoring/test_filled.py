"""Other fills than black: as if the composed picture were shown."""

import numpy as np
import pytest

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.scoring.filled import FilledScorer, blurred


@pytest.fixture(scope="module")
def model(untied):
    return eagle_jax.load(untied)


def ask(model, image, regions):
    return eagle_jax.ask(
        model,
        image,
        "Is there a cat?",
        answer="Yes, a cat.",
        target=[0, 3],
        regions=regions,
        batch_size=2,
    )


@pytest.mark.parametrize("fill", ["black", "mean", "blur"])
def test_hidden_regions_show_the_fill(fill, model, make_image):
    image = make_image(4, 90, 150)
    case = ask(model, image, "grid:2x3")
    sets = np.random.default_rng(0).random((3, 6)) < 0.5
    found = FilledScorer(case, fill)(sets)
    assert found.shape == (3, 2) and found.dtype == np.float32
    colour = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    shown = {"black": np.zeros_like(image), "mean": colour + 0 * image, "blur": blurred(image)}
    for visible, ours in zip(sets, found, strict=True):
        composed = np.where(visible[case.labels][..., None], image, shown[fill])
        whole = ask(model, composed.astype(np.uint8), "grid:2x3").scorer(np.ones((1, 6), bool))
        np.testing.assert_allclose(ours, whole[0], rtol=1e-4, atol=1e-7)
    if fill == "black":
        np.testing.assert_allclose(found, case.scorer(sets), rtol=1e-4, atol=1e-7)


def test_an_unknown_fill_is_refused(model, make_image):
    with pytest.raises(
        InputError, match="fill is 'white'; it must be one of black, mean, blur"
    ):
        FilledScorer(ask(model, make_image(4, 56, 56), "grid:2x2"), "white")
