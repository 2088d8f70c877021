"""Methods that look into the network, each against an independent version in PyTorch."""

import importlib

import numpy as np
import pytest
from families import quick_jit
from torch_baselines import TorchBaselines

import eagle_jax
from eagle_jax.baselines.attention import relevance, rollout
from eagle_jax.baselines.igos import blurred, igos
from eagle_jax.baselines.integrated_gradients import integrated_gradients
from eagle_jax.baselines.llava_cam import llava_cam
from eagle_jax.baselines.tam import tam

PROMPT, ANSWER = "Is there a cat in the image?", "Yes, a small cat."
# Height and width; each is resized to another, non-square grid (LLaVA's crop is a square).
SIZES = {"qwen2.5-vl": (90, 150), "llava": (61, 90), "internvl": (60, 118)}
each_family = pytest.mark.parametrize("family", SIZES)


# Module and program: what is compiled, and its static arguments.
PROGRAMS = {
    ("attention", "_rollout"): (),
    ("attention", "_relevance"): (),
    ("igos", "_masks"): ("frames", "published", "iterations", "steps"),
    ("integrated_gradients", "patch_values"): ("steps", "batch_size"),
    ("llava_cam", "_smooth_cam"): ("samples", "layer", "batch_size"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    # The same arithmetic, unoptimised: each program runs once.
    for (place, name), static in PROGRAMS.items():
        module = importlib.import_module(f"eagle_jax.baselines.{place}")
        program = getattr(module, name).__wrapped__
        monkeypatch.setattr(module, name, quick_jit(program, static_argnames=static))


@pytest.fixture(scope="module")
def sides(cases, make_image):
    """A family -> a case of ours and PyTorch's side of it."""
    made = {}

    def side(family):
        if family not in made:
            known = cases(family)
            image = make_image(5, *SIZES[family])
            case = eagle_jax.ask(
                eagle_jax.load(known.folder),
                image,
                PROMPT,
                answer=ANSWER,
                target=[2, 4],
                regions="grid:3x4",
                batch_size=2,
            )
            made[family] = case, TorchBaselines(known.reference, case)
        return made[family]

    return side


def compare(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())
    assert np.ptp(theirs) > 1e-3 * np.abs(theirs).max(), "the map is flat"


@each_family
def test_llava_cam(family, sides):
    case, torch_side = sides(family)
    found = llava_cam(case, depth=0.5, samples=1, noise=0.0)
    compare(found.heat, torch_side.painted(torch_side.llava_cam(1)))


@each_family
def test_tam(family, sides):
    case, torch_side = sides(family)
    expected = np.mean([torch_side.painted(one) for one in torch_side.tam()], axis=0)
    compare(tam(case).heat, expected)


@each_family
def test_rollout(family, sides):
    case, torch_side = sides(family)
    compare(rollout(case).heat, torch_side.painted(torch_side.rollout()))


@each_family
def test_relevance(family, sides):
    case, torch_side = sides(family)
    compare(relevance(case).heat, torch_side.painted(torch_side.relevance()))


@each_family
def test_integrated_gradients(family, sides):
    case, torch_side = sides(family)
    found = integrated_gradients(case, steps=5)
    compare(found.heat, torch_side.painted(torch_side.integrated_gradients(5)))


@each_family
def test_igos(family, sides):
    case, torch_side = sides(family)
    found = igos(case, iterations=3, steps=2, noise=0.0)
    expected = torch_side.igos(blurred(case.image), 3, 2, swap=True)
    compare(found.heat, torch_side.stretched(expected))
