"""Converted folders: equal to their source bit for bit, whole or not at all."""

import dataclasses
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tiny_checkpoints
import tiny_internvl
import tiny_llava
from flax import nnx
from PIL import Image

import eagle_jax
from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints import converted
from eagle_jax.scoring import conversion as convert_module
from eagle_jax.scoring import model as bundle
from eagle_jax.scoring.conversion import convert


@pytest.fixture(scope="module")
def finished(untied, tmp_path_factory):
    """A converted folder that tests only read."""
    folder = tmp_path_factory.mktemp("converted") / "model"
    convert(untied, folder)
    return folder


@pytest.fixture
def damaged(finished, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(finished, tmp_path / "model")


def assert_same(one, other):
    one, other = (dict(nnx.to_flat_state(nnx.state(model.network))) for model in (one, other))
    assert one.keys() == other.keys()
    for path, leaf in one.items():
        a, b = np.asarray(leaf.get_value()), np.asarray(other[path].get_value())
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), path


def refusal(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_round_trip_is_equal_bit_for_bit(finished, untied):
    model = eagle_jax.load(finished)
    assert_same(model, eagle_jax.load(untied))
    assert model.tokenizer.chat_template == eagle_jax.load(untied).tokenizer.chat_template
    assert not list(finished.rglob("*.safetensors"))


@pytest.mark.parametrize("family", ["tied", "qwen3-vl", "llava", "internvl"])
def test_every_family_in_another_dtype(family, tied, tmp_path):
    source = {
        "tied": lambda: tied,
        "qwen3-vl": lambda: tiny_checkpoints.make_qwen3_vl(tmp_path / "source"),
        "llava": lambda: tiny_llava.make_llava(tmp_path / "source"),
        "internvl": lambda: tiny_internvl.make_internvl(tmp_path / "source"),
    }[family]()
    convert(source, tmp_path / "model", dtype="bfloat16")
    assert_same(eagle_jax.load(tmp_path / "model"), eagle_jax.load(source, dtype="bfloat16"))


def test_another_dtype_when_it_is_restored(finished, untied):
    assert_same(
        eagle_jax.load(finished, dtype="float16"), eagle_jax.load(untied, dtype="float16")
    )


def test_restored_to_the_sharding_of_the_skeleton(finished):
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    config = json.loads((finished / "config.json").read_text())
    skeleton, _ = bundle.abstract_network(config, "config.json")
    wanted = NamedSharding(
        Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("data", "model")), PartitionSpec()
    )
    graph, state = nnx.split(skeleton)
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=wanted), state
    )
    module = converted.read_weights(finished, nnx.merge(graph, state))
    assert all(leaf.sharding == wanted for leaf in jax.tree.leaves(module))


def test_large_parameters_are_compared_in_parts(untied, tmp_path, monkeypatch):
    monkeypatch.setattr(converted, "_CHUNK_BYTES", 1000)
    monkeypatch.setattr(converted, "_GROUP_BYTES", 1000)
    convert(untied, tmp_path / "model")
    assert_same(eagle_jax.load(tmp_path / "model"), eagle_jax.load(untied))


def test_one_changed_bit_is_noticed(finished):
    network = eagle_jax.load(finished).network
    converted.verify_weights(finished, network)
    scale = network.decoder.norm.scale
    scale.set_value(scale.get_value().at[5].multiply(1 + 2**-23))
    said = refusal(converted.verify_weights, finished, network)
    assert said.startswith("decoder.norm.scale in") and "differs from what was written" in said


def test_an_empty_folder_is_filled(untied, tmp_path):
    (tmp_path / "model").mkdir()
    convert(untied, tmp_path / "model")
    assert (tmp_path / "model" / converted.MARKER).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("stage", ["write_weights", "verify_weights", "finish"])
def test_an_interrupted_conversion_leaves_nothing(stage, error, untied, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(convert_module, stage, fail)
    with pytest.raises((KeyboardInterrupt, InputError)):
        convert(untied, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_conversion_does_not_load(damaged):
    (damaged / converted.MARKER).unlink()
    assert "not finished; convert it again" in refusal(eagle_jax.load, damaged)


def test_a_full_disk_is_seen_before_writing(untied, tmp_path, monkeypatch):
    monkeypatch.setattr(
        convert_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000)
    )
    assert "free space, or choose another disk" in refusal(convert, untied, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_writing(untied, tmp_path):
    # The limit of a file's size stands in for the disk's: the weights are one larger file. In
    # a process of its own, since TensorStore's threads outlive the event loop that failed.
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from eagle_jax.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "convert", str(untied), str(tmp_path / "model")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr == f"eagle-jax: cannot write weights in {tmp_path}: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "where, said",
    [
        ("/proc/model", "nothing can be written in /proc"),
        ("gone/model", "gone is not a folder"),
        ("full", "is not empty"),
        ("full/file", "is a file"),
    ],
)
def test_a_destination_that_cannot_be_written(where, said, untied, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(convert_module, "load", None)  # refused before anything is loaded
    assert said in refusal(convert, untied, tmp_path / where)
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_weights_are_refused(damaged):
    parts = [path for path in sorted((damaged / "weights").rglob("*")) if path.is_file()]
    largest = max(parts, key=lambda path: path.stat().st_size)
    whole = largest.read_bytes()
    largest.write_bytes(whole[:-1])
    assert "of another size than was written" in refusal(eagle_jax.load, damaged)
    largest.unlink()
    assert "are missing" in refusal(eagle_jax.load, damaged)
    largest.write_bytes(whole)
    for path in parts:
        path.write_bytes(bytes(path.stat().st_size))
    assert "cannot be read" in refusal(eagle_jax.load, damaged)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1}'])
def test_damaged_marker(text, damaged):
    (damaged / converted.MARKER).write_text(text)
    assert converted.MARKER in refusal(eagle_jax.load, damaged)


def test_a_config_that_contradicts_the_weights(damaged):
    path = damaged / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"intermediate_size": 128}))
    assert "decoder.last.mlp.gate.kernel is (64, 96), not (64, 128)" in refusal(
        eagle_jax.load, damaged
    )
    path.write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert "1 unexpected: decoder.head.kernel" in refusal(eagle_jax.load, damaged)


def test_command_line(untied, tmp_path, capsys):
    target = tmp_path / "model"
    assert cli.main(["convert", str(untied), str(target), "--dtype", "bfloat16"]) == 0
    assert "verified" in capsys.readouterr().out
    assert cli.main(["convert", str(untied), str(target)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "is not empty" in err


def test_an_image_longer_than_the_context_is_refused(untied, make_image):
    model = eagle_jax.load(untied)
    config = model.network.config
    short = dataclasses.replace(config.decoder, context=40)
    model.network.config = dataclasses.replace(config, decoder=short)
    image = Image.fromarray(make_image(1, 168, 168))
    for answer in (None, "Yes"):
        with pytest.raises(InputError, match="reads at most 40 .*smaller image"):
            eagle_jax.ask(model, image, "What is this?", answer=answer, regions="grid:2x2")
