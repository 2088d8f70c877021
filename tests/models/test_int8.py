"""int8 layers: exact sums, rounded weights, and scores close to those of floats."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import tiny_checkpoints
import tiny_internvl
import tiny_llava
from flax import nnx
from safetensors.numpy import load_file, save_file

import eagle_jax
from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.models.layers.building_blocks import Linear
from eagle_jax.models.layers.int8 import int8_matmul, round_kernel
from eagle_jax.scoring.conversion import convert

FAMILIES = {
    "qwen3": tiny_checkpoints.make_qwen3_vl,
    "qwen2_5": tiny_checkpoints.make_qwen2_5_vl,
    "llava": tiny_llava.make_llava,
    "internvl": tiny_internvl.make_internvl,
}


def kernels(network):
    """Paths of int8 leaves, and of all matrices that are not."""
    leaves = dict(nnx.to_flat_state(nnx.state(network)))
    names = {".".join(map(str, path)): leaf.get_value() for path, leaf in leaves.items()}
    whole = {name for name, value in names.items() if value.dtype == jnp.int8}
    rest = {name for name in names if name.endswith(("kernel", "embedding"))} - whole
    return whole, rest


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(7,), (2, 5), (1, 3, 4)])
def test_products_are_those_of_whole_numbers(shape, dtype):
    rng = np.random.default_rng(0)
    # Long rows and large numbers: float32 could not hold these sums.
    kernel = rng.integers(-127, 128, (5000, 11)).astype(np.int8)
    kernel[:, 0] = 127
    scales = rng.uniform(0.001, 0.1, 11).astype(ml_dtypes.bfloat16)
    whole = rng.integers(-127, 128, (*shape, 5000))
    whole[..., 0] = 127
    whole.reshape(-1, 5000)[0] = 127
    # With 127 in every row and a power of two as its scale, rounding gives these numbers back.
    step = 2.0 ** rng.integers(-6, 3, (*shape, 1))
    x = (whole * step).astype(dtype)
    sums = whole.astype(np.int64) @ kernel.astype(np.int64)
    assert np.abs(sums).max() > 2**24
    expected = sums.astype(np.float32) * step.astype(np.float32) * scales.astype(np.float32)
    found = jax.jit(int8_matmul)(jnp.asarray(x), kernel, scales)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found), expected.astype(dtype))


def test_activations_are_rounded_row_by_row():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 40)).astype(np.float32) * 10.0 ** np.arange(-3, 3)[:, None]
    x[2] = 0
    same, ones = jnp.eye(40, dtype=jnp.int8), jnp.ones(40, jnp.bfloat16)
    found = int8_matmul(jnp.asarray(x), same, ones)
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(found - x) <= 0.501 * step)
    assert np.all(np.asarray(found)[2] == 0)


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-30, 1e30])
def test_kernels_are_rounded_output_by_output(size):
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(64, 30)) * size * 4.0 ** rng.integers(-3, 3, 30)
    kernel[:, 7] = 0
    kernel = kernel.astype(np.float32)
    whole, scales = round_kernel(kernel)
    assert whole.dtype == np.int8 and scales.dtype == ml_dtypes.bfloat16
    assert np.abs(whole.astype(int)).max() == 127 and not whole[:, 7].any()
    scales = scales.astype(np.float64)
    # Half a scale, and 127 times what bfloat16 leaves of it in the largest weight.
    off = np.abs(whole * scales - kernel)
    assert np.all(off <= scales * (0.5 + 127 * 2.0**-8))
    np.testing.assert_allclose(scales[:7], np.abs(kernel[:, :7]).max(axis=0) / 127, rtol=2**-8)


def test_a_linear_layer_with_and_without_bias():
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(5, 48)), jnp.float32)
    for use_bias in (True, False):
        layer = Linear(48, 32, use_bias=use_bias, rngs=nnx.Rngs(0))
        if use_bias:
            layer.bias = nnx.Param(jnp.arange(32.0))
        floats = layer(x)
        kernel, scales = round_kernel(np.asarray(layer.kernel[...]))
        layer.kernel, layer.scales = (
            nnx.Param(jnp.asarray(kernel)),
            nnx.Param(jnp.asarray(scales)),
        )
        np.testing.assert_allclose(layer(x), floats, atol=0.06)
        assert not np.array_equal(layer(x), floats)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family, tmp_path, monkeypatch):
    # Where a decoder may begin with what is kept is compiled again for each place.
    monkeypatch.setattr("eagle_jax.scoring.reuse._MOST_BEGINNINGS", 1)
    folder = FAMILIES[family](tmp_path / family)
    model, rounded = eagle_jax.load(folder), eagle_jax.load(folder, quantize="int8")
    whole, rest = kernels(rounded.network)
    # All layers and nothing else.
    outside = ("patch_embed", "embedding", "head", "inner", "outer")
    assert all(name.split(".")[-2] in outside for name in rest), rest
    assert {name.split(".")[0] for name in whole} == {"vision", "decoder"}
    image = np.kron(
        np.random.default_rng(3).integers(0, 256, (7, 7, 3)), np.ones((16, 16, 1))
    ).astype(np.uint8)
    sets = np.random.default_rng(4).random((9, 9)) < 0.5
    sets[0], sets[1] = True, False
    answer = [5, 9, 3]
    scores = [
        eagle_jax.ask(one, image, "What?", answer=answer, regions="grid:3x3").scorer(sets)
        for one in (model, rounded)
    ]
    logs = np.log(scores)
    # Random weights, drawn so large that pixels move the answer, are the worst case.
    assert np.ptp(logs[0], axis=0).max() > 1, "the masks do not matter"
    np.testing.assert_allclose(logs[1], logs[0], atol=0.3)
    assert not np.array_equal(*logs)


def test_converted_and_restored(untied, tmp_path):
    rounded = eagle_jax.load(untied, quantize="int8")
    size = convert(untied, tmp_path / "model", quantize="int8")
    assert size == sum(leaf.nbytes for leaf in jax.tree.leaves(rounded.network))
    mesh = jax.make_mesh((1, 1), ("data", "model"), devices=jax.devices()[:1])
    wanted = jax.tree.leaves(rounded.network)
    for options in ({}, {"mesh": mesh}, {"quantize": "int8"}):
        restored = eagle_jax.load(tmp_path / "model", **options)
        for a, b in zip(jax.tree.leaves(restored.network), wanted, strict=True):
            assert a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
    # Another dtype leaves whole numbers and their scales alone.
    narrow = eagle_jax.load(tmp_path / "model", dtype="float16").network
    assert {leaf.dtype.name for leaf in jax.tree.leaves(narrow)} == {
        "int8",
        "bfloat16",
        "float16",
    }


def test_command_line(untied, tmp_path, capsys):
    assert cli.main(["convert", str(untied), str(tmp_path / "a"), "--quantize", "int8"]) == 0
    assert "verified" in capsys.readouterr().out
    assert cli.main(["convert", str(untied), str(tmp_path / "b"), "--quantize", "int4"]) == 2
    assert "invalid choice: 'int4'" in capsys.readouterr().err
    whole, _ = kernels(eagle_jax.load(tmp_path / "a").network)
    assert "decoder.layers.mlp.down.kernel" in whole


def test_what_cannot_be_had_is_refused(untied, tmp_path):
    with pytest.raises(InputError, match="quantize is 'int3'; it must be int8"):
        eagle_jax.load(untied, quantize="int3")
    convert(untied, tmp_path / "floats")
    with pytest.raises(
        InputError, match="floats was converted without int8; convert .* with --quantize int8"
    ):
        eagle_jax.load(tmp_path / "floats", quantize="int8")


def test_weights_that_are_not_finite_are_named(tmp_path):
    folder = tiny_checkpoints.make_qwen2_5_vl(tmp_path / "model")
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("mlp.down_proj.weight"))
    tensors[name] = tensors[name].copy()
    tensors[name][0, 1] = np.nan
    save_file(tensors, path)
    with pytest.raises(InputError, match="down_proj.weight in .* not finite"):
        eagle_jax.load(folder, quantize="int8")
