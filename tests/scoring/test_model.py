"""Loading a model folder: what is missing, damaged or impossible is said in one line."""

import json
import shutil
import socket

import huggingface_hub
import numpy as np
import pytest
import tiny_checkpoints
import tiny_internvl
import tiny_llava
from safetensors.numpy import load_file, save_file
from transformers import AutoImageProcessor

import eagle_jax
from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.models.families.table import FAMILIES
from eagle_jax.scoring.model import Model, abstract_network, read_image_settings


@pytest.fixture
def folder(untied, tmp_path):
    """A copy of a checkpoint, to damage."""
    return shutil.copytree(untied, tmp_path / "model")


def edit(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content))


def refusal(source, **arguments) -> str:
    with pytest.raises(InputError) as caught:
        eagle_jax.load(source, **arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_load_reads_everything(untied):
    model = eagle_jax.load(untied)
    assert isinstance(model, Model) and model.name == str(untied)
    assert model.end_ids == (model.tokenizer.eos_token_id,)
    assert model.image_settings.min_pixels == 56 * 56
    assert model.network.config.image_token_id == model.tokenizer.vocab["<|image_pad|>"]


@pytest.mark.parametrize("name", ["gone", "./gone", "/no/such/folder", "a/b/c"])
def test_no_such_folder(name):
    assert "is not a folder" in refusal(name)


def test_a_file_is_no_folder(folder):
    assert "is not a folder" in refusal(folder / "config.json")


@pytest.mark.parametrize(
    "missing, said",
    [
        (["config.json"], "no config.json"),
        (["model.safetensors"], "no weights"),
        (["tokenizer.json"], "no tokenizer"),
        (["chat_template.jinja"], "no chat template"),
        (["preprocessor_config.json"], "no preprocessor_config.json"),
    ],
)
def test_missing_file(missing, said, folder):
    for name in missing:
        (folder / name).unlink()
    assert said in refusal(folder)


@pytest.mark.parametrize(
    "name, content",
    [
        ("config.json", b""),
        ("config.json", b"[1]"),
        ("config.json", b'{"model_type": "qwen2_5_vl"'),
        ("config.json", b"\xff\xfe"),
        ("preprocessor_config.json", b"{"),
        ("generation_config.json", b"null"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\0" * 100),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", b"\x40\0\0\0\0\0\0\0" + b"x" * 64),
    ],
)
def test_damaged_file(name, content, folder):
    (folder / name).write_bytes(content)
    assert str(folder) in refusal(folder)


@pytest.mark.parametrize("kept", [0.001, 0.5, 0.999])
def test_truncated_weights(kept, folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "truncated or not a safetensors file" in refusal(folder)


def test_missing_unexpected_and_misshapen_tensors_are_listed(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    norm = tensors.pop("model.norm.weight")
    del tensors["visual.merger.ln_q.weight"]
    save_file(tensors | {"adapter.weight": norm}, path)
    said = refusal(folder)
    assert "2 missing" in said and "model.norm.weight, visual.merger.ln_q.weight" in said
    assert "1 unexpected: adapter.weight" in said

    tensors = load_file(path) | {"model.norm.weight": norm[:-1]}
    tensors["visual.merger.ln_q.weight"] = np.ones(48, np.float32)
    del tensors["adapter.weight"]
    save_file(tensors, path)
    assert "model.norm.weight is (63,), not (64,)" in refusal(folder)


@pytest.mark.parametrize("kind", ["bert", "", None, ["qwen2_5_vl"], 3])
def test_unsupported_family_lists_the_supported_ones(kind, folder):
    edit(folder / "config.json", model_type=kind)
    said = refusal(folder)
    assert repr(kind) in said and "qwen2_5_vl" in said.split("supported are")[1]


def test_a_new_family_is_one_record_in_the_table(untied, monkeypatch):
    config = json.loads((untied / "config.json").read_text()) | {"model_type": "ours"}
    ours = FAMILIES["qwen2_5_vl"]._replace(model_type="ours")
    monkeypatch.setitem(FAMILIES, ours.model_type, ours)
    skeleton, keys = abstract_network(config, "config.json")
    assert isinstance(skeleton, ours.build) and "lm_head.weight" in keys


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"hidden_size": "abc"}, "hidden_size is 'abc'; it must be a whole number"),
        ({"hidden_size": None}, "lacks 'hidden_size'"),
        ({"hidden_size": -64}, "hidden_size is -64"),
        ({"hidden_size": 66}, "hidden_size 66 cannot be divided among 4"),
        ({"hidden_size": 128}, "64 numbers beside words of 128"),
        ({"num_key_value_heads": 3}, "4 attention heads cannot share num_key_value_heads 3"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false'"),
        ({"vision_config": [1]}, "vision_config is [1]; it must be an object"),
        ({"rope_scaling": {"mrope_section": "abc"}}, "mrope_section is 'abc'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"image_token_id": 320}, "image_token_id 320"),
        ({"vocab_size": 100}, "the model in config.json only 100"),
    ],
)
def test_impossible_config(changes, said, folder):
    edit(folder / "config.json", **changes)
    assert said in refusal(folder)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"patch_size": 16}, "cuts patches of 16 pixels"),
        ({"merge_size": 4}, "merged 4 x 4"),
        ({"min_pixels": "few"}, "min_pixels='few'"),
        ({"image_processor_type": "ViTImageProcessor"}, "ViTImageProcessor"),
    ],
)
def test_unsuitable_image_processor(changes, said, folder):
    edit(folder / "preprocessor_config.json", **changes)
    assert said in refusal(folder)


@pytest.mark.parametrize("value", ["end", [], [1, "end"], -1])
def test_impossible_end_of_answer(value, folder):
    edit(folder / "generation_config.json", eos_token_id=value)
    assert "it must hold token ids" in refusal(folder)


def test_unknown_dtype(untied):
    assert "float32, bfloat16, float16" in refusal(untied, dtype="int4")


@pytest.mark.parametrize("source", ["nobody/no-such-model", "not a/hub id"])
def test_hub_id_without_a_network(source, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("offline means that nothing is asked")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert source in refusal(source)


@pytest.mark.parametrize(
    "kind, said",
    [
        ("GatedRepoError", "is gated on the hub; accept its terms"),
        ("RepositoryNotFoundError", "that you may see; check the name, and log in"),
        ("LocalEntryNotFoundError", "the hub cannot be reached"),
    ],
)
def test_hub_ids_that_cannot_be_downloaded(kind, said, monkeypatch):
    def refuse(hub_id, allow_patterns):
        assert "*.model" in allow_patterns
        error = getattr(huggingface_hub.errors, kind)
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    assert "nobody/model" in (message := refusal("nobody/model")) and said in message


@pytest.mark.parametrize(
    "source, said",
    [
        ("https://huggingface.co/Qwen/Qwen2-VL-2B/tree/main", "give its id, Qwen/Qwen2-VL-2B"),
        ("gs://bucket/model", "is not on this machine: mount the bucket"),
        ("x" * 300, "File name too long; give another path"),
        ("\ud800", "without lone surrogates"),
        ("a\nb", "'a\\nb'; give a folder"),
        (" ", "' '; give a folder"),
    ],
)
def test_what_is_neither_a_folder_nor_a_hub_id(source, said):
    assert said in refusal(source)


def test_the_processors_file_comes_before_the_image_processors(folder):
    image = json.loads((folder / "preprocessor_config.json").read_text())
    old = {"processor_class": "Qwen2_5_VLProcessor", "patch_size": 16, "image_seq_length": 9}
    path = folder / "processor_config.json"
    for settings in (old, old | {"image_processor": None}):
        path.write_text(json.dumps(settings))
        assert eagle_jax.load(folder).image_settings.max_pixels == image["max_pixels"]
    nested = {"size": {"shortest_edge": 3136, "longest_edge": 6272}, "merge_size": 2}
    path.write_text(json.dumps({"image_processor": nested}))
    settings = eagle_jax.load(folder).image_settings
    assert (settings.min_pixels, settings.max_pixels) == (3136, 6272)
    theirs = AutoImageProcessor.from_pretrained(folder, backend="pil").size
    assert (theirs.shortest_edge, theirs.longest_edge) == (3136, 6272)
    path.write_text(json.dumps({"image_processor": {"max_pixels": -1}}))
    assert refusal(folder).startswith("processor_config.json: max_pixels=-1")
    path.write_text(json.dumps({"image_processor": [1]}))
    assert "image_processor is not an object" in refusal(folder)


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize(
    "make, names",
    [
        (
            tiny_checkpoints.make_qwen2_5_vl,
            [
                "Qwen2VLImageProcessorPil",
                "Qwen2_5_VLImageProcessor",
                "Qwen2_5_VLImageProcessorFast",
            ],
        ),
        (tiny_checkpoints.make_qwen3_vl, ["Qwen3VLImageProcessor", "Qwen2VLImageProcessor"]),
        (
            tiny_llava.make_llava,
            ["CLIPImageProcessorFast", "LlavaImageProcessor", "LlavaImageProcessorFast"],
        ),
        (
            tiny_internvl.make_internvl,
            ["GotOcr2ImageProcessor", "GotOcr2ImageProcessorFast", "InternVLImageProcessor"],
        ),
    ],
)
def test_every_name_of_an_image_processor_and_none_mean_the_same(make, names, file, tmp_path):
    folder = make(tmp_path / "model")
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    vision = eagle_jax.load(folder).network.config.vision
    model_type = json.loads((folder / "config.json").read_text())["model_type"]
    expected = read_image_settings(folder, vision, model_type)
    del settings["image_processor_type"]
    path.unlink()
    variants = [{}, *({"image_processor_type": name} for name in names)]
    if model_type == "llava":
        variants.append({"feature_extractor_type": "CLIPFeatureExtractor", "do_pad": False})
    for variant in variants:
        changed = settings | variant
        if file == "processor_config.json":
            changed = {"image_processor": changed}
        (folder / file).write_text(json.dumps(changed))
        assert read_image_settings(folder, vision, model_type) == expected


def test_a_damaged_folder_on_the_command_line(
    folder, tmp_path, monkeypatch, capsys, make_image
):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eagle_jax.commands.devices.cache_compilations", lambda: None)
    Image.fromarray(make_image(1, 56, 56)).save("cat.png")
    (folder / "model.safetensors").write_bytes(b"x" * 99)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["explain", "cat.png", "--prompt=x", "--regions=4", "--model=model"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "truncated" in err
    assert sorted(tmp_path.rglob("*")) == before
