"""Methods that look into the network, each against an independent version in PyTorch."""

import importlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from families import quick_jit
from torch_baselines import TorchBaselines

import eagle_jax
from eagle_jax.baselines import rank_regions
from eagle_jax.baselines.attention import relevance, rollout
from eagle_jax.baselines.igos import igos
from eagle_jax.baselines.integrated_gradients import integrated_gradients
from eagle_jax.baselines.llava_cam import llava_cam
from eagle_jax.baselines.maps import as_published, frames_of, from_patches, in_patches
from eagle_jax.baselines.tam import tam
from eagle_jax.errors import InputError
from eagle_jax.inputs.fill import blurred
from eagle_jax.search import curves_along

PROMPT, ANSWER = "Is there a cat in the image?", "Yes, a small cat."
# Height and width; each is resized to another, non-square grid (LLaVA's crop is a square).
SIZES = {"qwen2.5-vl": (90, 150), "llava": (61, 90), "internvl": (60, 118)}
each_family = pytest.mark.parametrize("family", SIZES)


# Module and program: what is compiled, and its static arguments.
PROGRAMS = {
    ("attention", "rolled_out_attention"): (),
    ("attention", "attention_relevance"): (),
    ("igos", "optimised_masks"): ("settings",),
    ("integrated_gradients", "patch_values"): ("steps", "batch_size", "mesh"),
    ("llava_cam", "smooth_cam"): ("samples", "layer", "batch_size", "mesh"),
    ("tam", "activations"): (),
}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    # The same arithmetic, unoptimised: each program runs once.
    with pytest.MonkeyPatch.context() as patch:
        for (place, name), static in PROGRAMS.items():
            module = importlib.import_module(f"eagle_jax.baselines.{place}")
            program = getattr(module, name).__wrapped__
            patch.setattr(module, name, quick_jit(program, static_argnames=static))
        yield


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


def test_published_variants_do_as_the_repository_does(sides):
    case, torch_side = sides("qwen2.5-vl")
    expected = [np.floor(255 * grid) for (grid,) in torch_side.tam(interference=False)]
    expected = np.mean([torch_side.stretched(grid) for grid in expected], axis=0)
    # A last digit may fall to the other side of a whole number.
    np.testing.assert_allclose(tam(case, variant="published").heat, expected, rtol=0, atol=1.01)
    assert np.abs(tam(case, variant="published").heat / 255 - tam(case).heat).max() > 0.01

    found = igos(case, variant="published", iterations=3, steps=2, noise=0.0)
    expected = torch_side.igos(blurred(case.image), 3, 2, swap=False)
    compare(found.heat, torch_side.stretched(expected))

    with pytest.raises(
        InputError, match="decoders with .28, 32, 36. layers, this decoder has 3"
    ):
        llava_cam(case, variant="published")
    llava, _ = sides("llava")
    tokens = np.arange(576.0)
    np.testing.assert_array_equal(as_published(llava, tokens).ravel(), tokens[-256:])
    with pytest.raises(InputError, match="last 256 visual tokens, and this model makes 16"):
        as_published(llava, tokens[:16])


def test_llava_cam_is_the_mean_over_noisy_copies(sides, monkeypatch):
    case, torch_side = sides("qwen2.5-vl")
    together = llava_cam(case, depth=0.5, samples=3, seed=1).heat
    again = llava_cam(case, depth=0.5, samples=3, seed=2).heat
    calm = llava_cam(case, depth=0.5, samples=3, noise=0.0).heat
    assert np.abs(together - again).max() > 1e-3 and np.abs(together - calm).max() > 1e-3
    monkeypatch.setattr(case.scorer, "batch_size", 3)
    np.testing.assert_allclose(
        llava_cam(case, depth=0.5, samples=3, seed=1).heat, together, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("depth", [-0.1, 1.0])
def test_a_layer_outside_the_model_is_refused(depth, sides):
    with pytest.raises(InputError, match=f"depth is {depth}; it must be from 0"):
        llava_cam(sides("qwen2.5-vl")[0], depth=depth)


def test_the_blur_is_a_truncated_gaussian(make_image):
    image = make_image(3, 90, 150)
    weights = torch.exp(-((torch.arange(101.0) - 50) ** 2) / (2 * 100.0**2))
    weights = (weights / weights.sum())[None, None]
    values = torch.as_tensor(image).permute(2, 0, 1)[:, None].float()
    for kernel in (weights[..., None], weights[:, :, None]):
        edge = (0, 0, 50, 50) if kernel.shape[2] > 1 else (50, 50, 0, 0)
        values = F.conv2d(F.pad(values, edge, mode="reflect"), kernel)
    expected = values[:, 0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(blurred(image), expected, rtol=0, atol=0.51)


def test_patches_of_a_map_lie_as_those_of_the_image(sides):
    case, torch_side = sides("qwen2.5-vl")
    (frame,) = frames_of(case)
    values = np.random.default_rng(0).random(frame.shape).astype(np.float32)
    ours = in_patches(frame, values)
    np.testing.assert_array_equal(from_patches(frame, ours), values)
    theirs = torch_side.pixels.reshape(len(ours), 3, 2, -1)[:, 0, 0].numpy()
    seen = from_patches(frame, theirs)
    np.testing.assert_array_equal(seen, torch_side.first_view(torch_side.pixels)[0])


def test_regions_are_the_means_of_the_map(sides):
    case, _ = sides("llava")
    (ranked,) = rank_regions([case], "tam")
    expected = [ranked.heat[case.labels == r].mean() for r in range(case.scorer.regions)]
    np.testing.assert_allclose(ranked.scores, expected, rtol=1e-5)
    assert ranked.result.forwards == 1 + 2 * 12 and ranked.backwards == 0
    ours, direct = ranked.result.curves, curves_along(case.scorer, ranked.result.curves.order)
    np.testing.assert_array_equal(ours.insertion, direct.insertion)
    np.testing.assert_array_equal(ours.deletion, direct.deletion)
