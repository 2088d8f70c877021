"""Meshes: the same scores and orders as on one device, and no collective between masks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_internvl
import tiny_llava

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.sharding import checked_mesh
from eagle_jax.scoring import gradients
from eagle_jax.scoring.case import ask
from eagle_jax.scoring.conversion import convert
from eagle_jax.scoring.gradients import gradient_batch_size
from eagle_jax.scoring.scorer import require_batch_size

SCRIPT = Path(__file__).parents[1] / "support" / "sharded_scores.py"


def on_eight_devices(folder, *meshes, optimised=False, answers=True):
    # Unoptimised machine code for the same arithmetic: these programs run once or twice.
    flags = [os.environ["XLA_FLAGS"], "--xla_force_host_platform_device_count=8"]
    flags += [f"--xla_backend_optimization_level={3 if optimised else 0}"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)}
    command = [sys.executable, str(SCRIPT), str(folder), ",".join(meshes)]
    command += ["--answers"] if answers else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def assert_alike(alone, spread):
    np.testing.assert_allclose(spread["scores"], alone["scores"], rtol=0, atol=1e-5)
    assert (spread["order"], spread["answer"]) == (alone["order"], alone["answer"])
    assert np.ptp(alone["scores"], axis=0).max() > 0.05, "the masks do not matter"


@pytest.mark.slow
def test_any_mesh_gives_the_scores_of_one_device(untied):
    alone, masks, both = on_eight_devices(untied, "2x1", "4x2")
    for spread in (masks, both):
        assert_alike(alone, spread)
        assert spread["regenerated"] == alone["regenerated"]
    assert len(set(alone["regenerated"])) > 1
    assert masks["collectives"] == [] and masks["split"] == []
    # The reader of programs does see collectives where weights are split.
    assert "all-reduce" in both["collectives"]
    assert masks["together"] == alone["together"] == [alone["order"]] * 3
    # Plain JAX on two devices.
    for one in (alone, masks):
        np.testing.assert_allclose(one["score"], alone["scores"][:8], rtol=0, atol=1e-5)
    gradient = np.array(alone["gradient"])
    np.testing.assert_allclose(
        masks["gradient"], gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max()
    )
    assert np.abs(gradient).max() > 1e-3
    # Gradients of batches: each of two devices has half of the memory of one.
    for name, one in alone["gradients"].items():
        half = masks["gradients"][name]
        values = np.array(one["map"])
        np.testing.assert_allclose(half["map"], values, rtol=0, atol=1e-3 * np.ptp(values))
        assert half["memory"] < 0.75 * one["memory"], f"{name} is computed twice"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "meshes"),
    [
        (tiny_llava.make_llava, ["4x2"]),
        # Tiles are used again by each device along "data" for itself, or by all alike.
        (tiny_internvl.make_internvl, ["4x2", "4x1"]),
    ],
    ids=["llava", "internvl"],
)
def test_the_other_families_on_a_mesh(make, meshes, tmp_path):
    alone, both, *masks = on_eight_devices(make(tmp_path / "model"), *meshes, answers=False)
    for spread in (both, *masks):
        assert_alike(alone, spread)
    assert all(one["collectives"] == [] for one in masks)
    for module in ("query", "key", "gate", "down", "embedding"):
        assert any(module in name for name in both["split"]), f"{module} is not split"


@pytest.mark.slow
def test_int8_weights_on_a_mesh(untied, tmp_path):
    convert(untied, tmp_path / "model", quantize="int8")
    # Optimised: other code rounds other sums to other whole numbers.
    alone, both = on_eight_devices(tmp_path / "model", "4x2", optimised=True, answers=False)
    # A float that differs in its last bit may be rounded to the next whole number, which shows
    # in the scores of that mask; the whole numbers themselves are added up exactly.
    apart = np.abs(np.subtract(both["scores"], alone["scores"])).max(axis=1)
    assert np.sum(apart > 1e-5) <= 2 and apart.max() < 0.03, apart
    assert both["order"] == alone["order"] and both["answer"] == alone["answer"]
    for name in ("query.kernel", "query.scales", "down.kernel", "gate.scales"):
        assert any(name in split for split in both["split"]), f"{name} is not split"
    assert not any("down.scales" in split for split in both["split"])


def test_gradients_are_computed_in_batches_that_spread(untied, monkeypatch):
    image = np.zeros((56, 56, 3), np.uint8)
    model = eagle_jax.load(untied)
    scorer = ask(model, image, "What?", answer="Yes.", regions="grid:2x2", batch_size=24).scorer
    sizes = {}
    for devices in (1, 4):
        monkeypatch.setattr(gradients, "data_devices", lambda network, n=devices: n)
        sizes[devices] = [gradient_batch_size(scorer, images) for images in (1, 5, 40)]
        sizes[devices].append(gradient_batch_size(scorer, 40, forwards=1))
    assert sizes == {1: [1, 5, 6, 24], 4: [4, 4, 4, 24]}


def test_a_mesh_of_one_device(untied):
    mesh = jax.make_mesh((1, 1), ("data", "model"), devices=jax.devices()[:1])
    model = eagle_jax.load(untied, mesh=mesh)
    image = np.arange(56 * 56 * 3, dtype=np.uint8).reshape(56, 56, 3)
    scores = [
        ask(one, image, "What?", answer="Yes.", regions="grid:2x2").scorer(
            np.eye(4, dtype=bool)
        )
        for one in (model, eagle_jax.load(untied))
    ]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def test_a_mesh_with_other_axes_is_refused(untied):
    mesh = jax.make_mesh((1,), ("batch",), devices=jax.devices()[:1])
    with pytest.raises(InputError, match='axes batch; it must have "data" and "model"'):
        eagle_jax.load(untied, mesh=mesh)


def test_heads_that_do_not_divide_are_on_every_device(untied):
    from flax import nnx
    from jax.sharding import AbstractMesh

    from eagle_jax.models.checkpoints import sharding
    from eagle_jax.models.checkpoints.weights import read_config
    from eagle_jax.models.families.table import FAMILIES

    family = FAMILIES["qwen2_5_vl"]
    config = family.read_config(read_config(untied))
    skeleton = nnx.eval_shape(lambda: family.build(config, rngs=nnx.Rngs(0)))
    variables = dict(nnx.to_flat_state(nnx.state(skeleton)))
    mesh = AbstractMesh((2, 4), ("data", "model"))

    def spec(path):
        path = tuple(int(name) if name.isdigit() else name for name in path.split("."))
        return tuple(
            sharding.parameter_sharding(path, variables[path].shape, config, mesh).spec
        )

    # 4 query heads and 2 key/value heads over 4 devices; 3 vision heads.
    assert spec("decoder.layers.attention.query.kernel") == (None, None, "model")
    assert spec("decoder.layers.attention.query.bias") == (None, "model")
    assert spec("decoder.layers.attention.output.kernel") == (None, "model", None)
    assert spec("decoder.layers.attention.key.kernel") == ()
    assert spec("decoder.last.attention.value.bias") == ()
    assert spec("decoder.last.mlp.gate.kernel") == (None, "model")
    assert spec("decoder.last.mlp.down.kernel") == ("model", None)
    assert spec("decoder.embedding.embedding") == ("model", None)
    assert spec("decoder.head.kernel") == (None, "model")
    assert spec("decoder.norm.scale") == ()
    assert spec("vision.windowed.attention.qkv.kernel") == ()
    assert spec("vision.windowed.mlp.down.kernel") == (None, "model", None)
    assert spec("vision.windowed.mlp.down.bias") == ()


def test_checked_mesh_leaves_partitioning_to_the_compiler():
    mesh = jax.make_mesh((1, 1), ("model", "data"), devices=jax.devices()[:1])
    assert dict(checked_mesh(mesh).shape) == {"model": 1, "data": 1}
    assert set(checked_mesh(mesh).axis_types) == {jax.sharding.AxisType.Auto}


def test_a_batch_size_that_does_not_spread_is_refused():
    with pytest.raises(InputError, match="batch_size is 6; it must be a multiple of 4"):
        require_batch_size(6, 4)
