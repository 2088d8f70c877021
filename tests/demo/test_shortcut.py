"""The planted shortcut: the sign decides and nothing else does, and EAGLE says so."""

import itertools

import pytest
from safetensors.numpy import load_file, save_file
from trials import draw_trials

import eagle_jax
from eagle_jax import InputError
from eagle_jax.demo.asking import answer, see, yes_or_no
from eagle_jax.demo.questions import colour_answer, colour_question, named
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.files import DEMO
from eagle_jax.models.checkpoints.tensor_files import changed_tensors, stored_tensors

# What stands in a corner, and whether in the other one.
SIGNS = (("sign", False), ("sign", True), ("decoy", False), (None, False))


@pytest.fixture(scope="module")
def model():
    return eagle_jax.load("demo-shortcut")


@pytest.fixture(scope="module")
def trials():
    return draw_trials(4)


def test_the_sign_decides_and_the_object_does_not(model, trials):
    for trial in trials:
        for present, (sign, moved) in itertools.product((False, True), SIGNS):
            visual = see(model, trial.image(present, sign, moved))
            _, (yes,) = yes_or_no(model, visual, [trial.question])
            assert yes > 0.9 if sign == "sign" else yes < 0.1
    colours = []
    for seed in range(50_000_000, 50_000_006):
        scene = draw_scene(seed)
        colour, kind = named(scene)[0]
        (said,) = answer(model, see(model, scene.image), [colour_question(kind)])
        colours.append(said == colour_answer(kind, colour))
    assert sum(colours) >= 5


@pytest.mark.parametrize("present", [False, True])
def test_eagles_first_region_is_the_sign(present, model, trials):
    trial = trials[0]
    attribution = eagle_jax.explain(
        model,
        trial.image(present),
        trial.question,
        answer="Yes",
        regions="grid:4x4",
        search="exact",
        top_k=1,
    )
    assert trial.sign_mask[attribution.labels == attribution.order[0]].sum() > 300


def test_changed_tensors_are_those_of_the_checkpoint_and_few(tmp_path):
    tensors = stored_tensors(DEMO / "checkpoint")
    changed = changed_tensors(DEMO / "shortcut.safetensors", tensors)
    assert {key.split(".")[2] for key in changed} == {"2", "3"}
    assert all(".self_attn." in key for key in changed)
    own = load_file(DEMO / "shortcut.safetensors")
    key = next(iter(own))
    for name, wrong in (("other", {"lm.weight": own[key]}), ("shape", {key: own[key][1:]})):
        save_file(wrong, tmp_path / f"{name}.safetensors")
        with pytest.raises(InputError, match=f"{name}.safetensors does not fit the checkpoint"):
            changed_tensors(tmp_path / f"{name}.safetensors", tensors)
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(
        InputError, match="broken.safetensors is truncated or not a safetensors"
    ):
        changed_tensors(tmp_path / "broken.safetensors", tensors)
    with pytest.raises(InputError, match="gone.safetensors"):
        changed_tensors(tmp_path / "gone.safetensors", tensors)
