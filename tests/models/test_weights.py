import functools
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.weights import (
    SAME,
    TRANSPOSED,
    Axes,
    Target,
    load_weights,
    read_config,
    save_weights,
)
from eagle_jax.models.layers.building_blocks import stack


class Tower(nnx.Module):
    """What a model has: a stacked run, a last layer apart, a kernel with its own layout."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(6, 4, rngs=rngs)
        self.layers = stack(lambda rngs: nnx.Linear(4, 3, rngs=rngs), 3, rngs)
        self.last = nnx.Linear(4, 3, rngs=rngs)
        self.runs = nnx.List([nnx.Linear(2, 2, use_bias=False, rngs=rngs)])
        self.patch = nnx.Param(jax.random.normal(rngs.params(), (2, 12, 5)))


PATCH = Axes(
    lambda x: x.transpose(2, 1, 3, 4, 0).reshape(2, 12, 5),
    lambda x: x.reshape(2, 3, 2, 2, 5).transpose(4, 1, 0, 2, 3),
)


def key_map(tied=False):
    keys: dict[str, Target | None] = {
        "model.embed_tokens.weight": Target("embedding.embedding"),
        "visual.blocks.0.weight": Target("runs.0.kernel", None, TRANSPOSED),
        "visual.patch_embed.proj.weight": Target("patch", None, PATCH),
        "model.layers.3.weight": Target("last.kernel", None, TRANSPOSED),
        "model.layers.3.bias": Target("last.bias", None, SAME),
    }
    for i in range(3):
        keys[f"model.layers.{i}.weight"] = Target("layers.kernel", i, TRANSPOSED)
        keys[f"model.layers.{i}.bias"] = Target("layers.bias", i)
    if tied:
        keys["lm_head.weight"] = None
    return keys


def stored(seed=0, dtype=np.float32):
    shapes = {
        "model.embed_tokens.weight": (6, 4),
        "visual.blocks.0.weight": (2, 2),
        "visual.patch_embed.proj.weight": (5, 3, 2, 2, 2),
        **{f"model.layers.{i}.weight": (3, 4) for i in range(4)},
        **{f"model.layers.{i}.bias": (3,) for i in range(4)},
    }
    rng = np.random.default_rng(seed)
    return {key: rng.normal(size=shape).astype(dtype) for key, shape in shapes.items()}


def write(folder: Path, tensors, shards=1):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "tower", "layers": 4}')
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    places = {key: names[i % shards] for i, key in enumerate(tensors)}
    for name in names:
        save_file({k: v for k, v in tensors.items() if places[k] == name}, folder / name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@functools.cache
def skeleton():
    return nnx.eval_shape(lambda: Tower(rngs=nnx.Rngs(0)))


def load(folder, tied=False, **kwargs):
    return load_weights(folder, skeleton(), key_map(tied), **kwargs)


def leaves(module):
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(module))}


def assert_same(a, b):
    a, b = leaves(a), leaves(b)
    assert a.keys() == b.keys()
    for path in a:
        assert a[path].dtype == b[path].dtype
        np.testing.assert_array_equal(a[path], b[path])


@pytest.mark.parametrize("shards", [1, 3])
def test_every_tensor_lands_in_its_place(tmp_path, shards):
    tensors = stored()
    module = load(write(tmp_path, tensors, shards))
    for i in range(3):
        kernel = module.layers.kernel[...][i]
        np.testing.assert_array_equal(kernel, tensors[f"model.layers.{i}.weight"].T)
        np.testing.assert_array_equal(
            module.layers.bias[...][i], tensors[f"model.layers.{i}.bias"]
        )
    np.testing.assert_allclose(
        module.last(jnp.ones(4)),
        np.ones(4, np.float32) @ tensors["model.layers.3.weight"].T
        + tensors["model.layers.3.bias"],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(
        module.embedding.embedding[...], tensors["model.embed_tokens.weight"]
    )
    conv = tensors["visual.patch_embed.proj.weight"]
    for frame in range(2):
        np.testing.assert_array_equal(
            module.patch[...][frame].T, conv[:, :, frame].reshape(5, 12)
        )


def test_keys_of_transformers_5_mean_the_same(tmp_path):
    renamed = {
        key.replace("model.", "model.language_model.", 1).replace(
            "visual.", "model.visual.", 1
        ): v
        for key, v in stored().items()
    }
    assert "model.visual.blocks.0.weight" in renamed
    assert "model.language_model.layers.0.weight" in renamed
    assert_same(load(write(tmp_path / "new", renamed)), load(write(tmp_path / "hub", stored())))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_the_checkpoints_dtype_is_kept(tmp_path, dtype):
    module = load(write(tmp_path, stored(dtype=dtype)))
    assert {leaf.dtype for leaf in leaves(module).values()} == {np.dtype(dtype)}


def test_float64_becomes_float32_and_a_wanted_dtype_is_obeyed(tmp_path):
    folder = write(tmp_path, stored(dtype=np.float64))
    assert leaves(load(folder))["patch",].dtype == np.float32
    assert leaves(load(folder, dtype="bfloat16"))["patch",].dtype == ml_dtypes.bfloat16
    assert leaves(load(folder, dtype=jnp.float16))["patch",].dtype == np.float16


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_saving_undoes_loading_bit_for_bit(tmp_path, dtype):
    tensors = stored(dtype=dtype)
    module = load(write(tmp_path / "a", tensors))
    save_weights(tmp_path / "b", module, key_map(tied=True))
    again = load_file(tmp_path / "b" / "model.safetensors")
    assert again.keys() == tensors.keys()
    for key in tensors:
        assert again[key].dtype == tensors[key].dtype
        assert again[key].tobytes() == tensors[key].tobytes()
    assert_same(load(tmp_path / "b"), module)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["model.safetensors"]


def test_a_tied_head_is_neither_needed_nor_wrong(tmp_path):
    head = {"lm_head.weight": np.zeros((6, 4), np.float32)}
    plain = load(write(tmp_path / "a", stored()), tied=True)
    assert_same(load(write(tmp_path / "b", {**stored(), **head}), tied=True), plain)
    with pytest.raises(InputError, match="1 unexpected: lm_head.weight"):
        load(tmp_path / "b", tied=False)


def test_rotary_buffers_are_ignored(tmp_path):
    buffer = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}
    assert_same(
        load(write(tmp_path / "a", {**stored(), **buffer})),
        load(write(tmp_path / "b", stored())),
    )


def test_missing_and_unexpected_keys_are_listed_together(tmp_path):
    tensors = stored()
    for i in (0, 1, 3):
        tensors[f"model.layers.{i}.norm"] = tensors.pop(f"model.layers.{i}.bias")
    del tensors["visual.patch_embed.proj.weight"]
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, tensors))
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "4 missing: visual.patch_embed.proj.weight, model.layers.{0..1,3}.bias" in message
    assert "3 unexpected: model.layers.{0..1,3}.norm" in message


def test_hundreds_of_keys_stay_one_readable_line(tmp_path):
    extra = {f"model.layers.{i}.extra": np.ones(1, np.float32) for i in range(300)}
    extra |= {f"strange{i}": np.ones(1, np.float32) for i in range(300)}
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, stored() | extra))
    message = str(caught.value)
    assert "600 unexpected: model.layers.{0..299}.extra, strange0, " in message
    assert " more; fetch the checkpoint again" in message
    assert len(message) < 400
    assert len(message) < 2000
    assert "\n" not in message


def test_misshapen_tensors_are_listed_together(tmp_path):
    tensors = stored()
    tensors["model.layers.1.weight"] = tensors["model.layers.1.weight"].T.copy()
    tensors["visual.patch_embed.proj.weight"] = np.ones((5, 3, 1, 2, 2), np.float32)
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, tensors))
    assert "model.layers.1.weight is (4, 3), not (3, 4)" in str(caught.value)
    assert "(5, 3, 1, 2, 2), not (5, 3, 2, 2, 2)" in str(caught.value)


def test_quantised_weights_are_refused(tmp_path):
    tensors = stored()
    tensors["model.layers.1.weight"] = np.ones((3, 4), np.int8)
    with pytest.raises(InputError, match=r"model.layers.1.weight \(I8\)"):
        load(write(tmp_path, tensors))


def test_pickled_weights_are_never_opened(tmp_path):
    write(tmp_path, stored())
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model.bin.*convert them to safetensors"):
        load(tmp_path)


def test_folders_without_weights_or_config_are_refused(tmp_path):
    with pytest.raises(InputError, match="has no weights"):
        load(tmp_path)
    with pytest.raises(InputError, match="no config.json"):
        read_config(tmp_path)
    for function in (load, read_config):
        with pytest.raises(InputError, match="is not a folder"):
            function(tmp_path / "absent")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\N{DEGREE SIGN}", '{"a": ' * 10000])
def test_a_damaged_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="config.json"):
        read_config(tmp_path)


def test_the_config_is_returned_whole(tmp_path):
    assert read_config(write(tmp_path, stored())) == {"model_type": "tower", "layers": 4}


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_truncated_file_is_named(tmp_path, size):
    write(tmp_path, stored(), shards=2)
    path = tmp_path / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="model-00002-of-00002.safetensors is truncated"):
        load(tmp_path)


def test_an_absent_shard_is_named(tmp_path):
    write(tmp_path, stored(), shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(
        InputError, match="not in the folder: model-00002-of-00003.safetensors;"
    ):
        load(tmp_path)


def test_a_tensor_in_another_shard_than_the_index_says_is_named(tmp_path):
    write(tmp_path, stored(), shards=2)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.layers.0.bias"] = index["weight_map"]["model.layers.0.weight"]
    places = set(index["weight_map"].values())
    other = places - {index["weight_map"]["model.layers.0.weight"]}
    index["weight_map"]["model.layers.0.weight"] = other.pop()
    path.write_text(json.dumps(index))
    with pytest.raises(
        InputError, match=r"lacks 1 tensors that its index names: model.layers.0.weight"
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    "weight_map", [None, [], {}, {"a": 1}, {"a": "/etc/passwd"}, {"a": "../b.safetensors"}]
)
def test_a_meaningless_index_is_refused(tmp_path, weight_map):
    write(tmp_path, stored(), shards=2)
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(InputError, match="index.json"):
        load(tmp_path)


def test_the_same_tensor_twice_is_refused(tmp_path):
    twin = {"model.language_model.layers.0.bias": np.zeros(3, np.float32)}
    with pytest.raises(InputError, match="hold model.layers.0.bias twice"):
        load(write(tmp_path, stored() | twin))


def test_a_wrong_key_map_is_the_programmers_error(tmp_path):
    write(tmp_path, stored())
    for change in (
        {"model.layers.0.bias": Target("layers.typo", 0)},
        {"model.layers.0.bias": Target("layers.bias", 1)},
        {"model.layers.0.bias": Target("layers.bias", None)},
        {"model.layers.0.bias": None},
        {"more": Target("layers.bias", 0)},
    ):
        with pytest.raises(ValueError) as caught:
            load_weights(tmp_path, skeleton(), key_map() | change)
        assert not isinstance(caught.value, InputError)


def damage(path: Path, draw):
    """One thing that happens to files: cut, flipped bytes, lost, a folder instead, grown."""
    data = bytearray(path.read_bytes())
    kind = draw(st.sampled_from(["cut", "flip", "lose", "folder", "grow"]))
    if kind == "cut":
        path.write_bytes(data[: draw(st.integers(0, len(data) - 1))])
    elif kind == "flip":
        end = len(data)
        if path.suffix == ".safetensors":  # flipped values are other weights, not damage
            end = min(end, 8 + int.from_bytes(data[:8], "little"))
        for _ in range(draw(st.integers(1, 3))):
            data[draw(st.integers(0, end - 1))] = draw(st.integers(0, 255))
        path.write_bytes(data)
    elif kind == "lose":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(data + draw(st.binary(min_size=1, max_size=9)))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), shards=st.sampled_from([1, 2]))
def test_damaged_folders_load_equal_weights_or_are_refused(tmp_path_factory, data, shards):
    folder = write(tmp_path_factory.mktemp("damaged"), stored(), shards)
    expected = leaves(load(folder))
    for _ in range(data.draw(st.integers(1, 2))):
        if files := sorted(p for p in folder.iterdir() if p.is_file() and p.stat().st_size):
            damage(data.draw(st.sampled_from(files)), data.draw)
    try:
        read_config(folder)
    except InputError as error:
        assert "\n" not in str(error)
    try:
        found = leaves(load(folder))
    except InputError as error:
        assert "\n" not in str(error)
        assert str(folder) in str(error)
    else:
        for path in expected:
            np.testing.assert_array_equal(found[path], expected[path])
    finally:
        shutil.rmtree(folder)
