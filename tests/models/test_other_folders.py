"""Folders as people have them: each loads as in transformers, or one line says what it is."""

import json
import shutil

import families
import jax
import numpy as np
import pytest
import tiny_checkpoints
import tiny_internvl
import tiny_llava
import torch
from safetensors.torch import load_file, save_file
from torch_reference import TorchReference

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.scoring.conversion import convert

PROMPT = "Is there a cat?"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 11421896\n"


@pytest.fixture
def folder(untied, tmp_path):
    """A copy of a Qwen2.5-VL checkpoint with a head of its own, to change."""
    return shutil.copytree(untied, tmp_path / "model")


def edit(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def rewrite(folder, change):
    """The folder with other tensors."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in change(load_file(path)).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def leaves(model):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(model.network)]


def assert_equal(model, other):
    for a, b in zip(leaves(model), leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def refusal(folder, **arguments):
    with pytest.raises(InputError) as caught:
        eagle_jax.load(folder, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message.replace(str(folder), "").split(";")[0]) <= 200
    return message


def assert_answers_as_pytorch(folder, make_image):
    model, image = eagle_jax.load(folder), make_image(1, 56, 56)
    case = eagle_jax.ask(model, image, PROMPT, answer="Yes", regions="grid:2x2")
    expected = TorchReference(folder).generate(case.prompt_ids, image, 6)
    ours = eagle_jax.generate(model, image, PROMPT, max_new_tokens=6)
    assert list(ours) == list(expected)


# What other programs do to the names of tensors, and add to them.
def inside(tensors):
    return {name.replace("layers.1.", "layers.1._orig_mod."): x for name, x in tensors.items()}


def with_buffers(tensors):
    names = ("model.rotary_emb.inv_freq", "visual.rotary_pos_emb.inv_freq")
    names += ("model.visual.rotary_pos_emb.inv_freq", "model.embeddings.position_ids")
    return tensors | {name: torch.ones(3) for name in names}


def with_zero_biases(tensors):
    added = {
        name.replace("weight", "bias"): torch.zeros(len(tensor))
        for name, tensor in tensors.items()
        if name.endswith(("o_proj.weight", "lm_head.weight"))
    }
    assert len(added) == len(added.keys() - tensors.keys()) >= 3
    return tensors | added


def prefixed(prefix):
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


@families.every_family
def test_names_and_additions_of_other_programs_change_nothing(name, cases, tmp_path):
    plain = cases(name).folder
    expected = eagle_jax.load(plain)
    changes = [prefixed(prefix) for prefix in ("module.", "base_model.model.", "model.")]
    changes += [prefixed("_orig_mod."), inside, with_buffers, with_zero_biases]
    for number, change in enumerate(changes):
        folder = rewrite(shutil.copytree(plain, tmp_path / str(number)), change)
        assert_equal(eagle_jax.load(folder), expected)


def test_a_bias_that_is_not_zero_is_refused(folder):
    bias = {"model.layers.0.self_attn.o_proj.bias": torch.ones(64)}
    assert "1 unexpected: model.layers.0.self_attn.o_proj.bias" in refusal(
        rewrite(folder, lambda tensors: tensors | bias)
    )


@pytest.mark.parametrize("make", ["make_qwen2_5_vl", "make_qwen2_vl"])
def test_the_head_is_tied_where_either_config_says_so(make, tmp_path, make_image):
    folder = getattr(tiny_checkpoints, make)(tmp_path / "model", tied=True, layout="nested")
    config = json.loads((folder / "config.json").read_text())
    inner = config["text_config"] | {"tie_word_embeddings": True}
    edit(folder, tie_word_embeddings=False, text_config=inner)
    assert_answers_as_pytorch(folder, make_image)


TIED = {
    "qwen2.5-vl": lambda path: tiny_checkpoints.make_qwen2_5_vl(path, tied=True),
    "qwen3-vl": lambda path: tiny_checkpoints.make_qwen3_vl(path, tied=True),
    "llava": lambda path: tiny_llava.make_llava(path, tied=True),
    "internvl": lambda path: tiny_internvl.make_internvl(path, kind="6B"),
}


def embedding_of(tensors):
    return next(name for name in tensors if name.endswith("embed_tokens.weight"))


@pytest.mark.parametrize("family", TIED)
def test_a_head_that_differs_from_tied_embeddings_is_read(family, tmp_path, make_image):
    folder = TIED[family](tmp_path / "model")
    tied = eagle_jax.load(folder)
    name = embedding_of(load_file(folder / "model.safetensors"))
    head = name.replace("model.embed_tokens", "lm_head") if "model.embed" in name else ""
    head = head if head.startswith("language_model.lm_head") else "lm_head.weight"
    rewrite(folder, lambda tensors: tensors | {head: tensors[name]})
    assert_equal(eagle_jax.load(folder), tied)
    rewrite(folder, lambda tensors: tensors | {head: tensors[name].flip(0)})
    assert_answers_as_pytorch(folder, make_image)
    convert(folder, tmp_path / "converted")
    assert_equal(eagle_jax.load(tmp_path / "converted"), eagle_jax.load(folder))


def test_tied_weights_may_be_saved_as_the_head(tmp_path):
    folder = TIED["qwen2.5-vl"](tmp_path / "model")
    tied = eagle_jax.load(folder)
    rewrite(folder, lambda x: {k.replace("model.embed_tokens", "lm_head"): x[k] for k in x})
    assert_equal(eagle_jax.load(folder), tied)


def test_internvl_without_a_head_is_tied_as_in_transformers(tmp_path, make_image):
    folder = TIED["internvl"](tmp_path / "model")
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit(folder, text_config=text | {"tie_word_embeddings": False})
    assert_answers_as_pytorch(folder, make_image)


def test_an_absent_head_is_named(folder):
    rewrite(folder, lambda x: {name: x[name] for name in x if "lm_head" not in name})
    assert "1 missing: lm_head.weight; set tie_word_embeddings" in refusal(folder)


@pytest.mark.parametrize("declared, expected", [("bfloat16", "bfloat16"), (None, "float32")])
def test_floats_of_several_types_become_one(declared, expected, folder, make_image):
    half = torch.bfloat16
    rewrite(folder, lambda x: {k: x[k] if "o_proj" in k else x[k].to(half) for k in x})
    edit(folder, torch_dtype=declared)
    model = eagle_jax.load(folder)
    assert {str(leaf.dtype) for leaf in leaves(model)} == {expected}
    eagle_jax.generate(model, make_image(1, 56, 56), PROMPT, max_new_tokens=1)
    assert {str(leaf.dtype) for leaf in leaves(eagle_jax.load(folder, dtype="float16"))} == {
        "float16"
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_named(value, dtype, folder):
    def spoil(tensors):
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = value
        return tensors

    assert "model.layers.1.mlp.up_proj.weight in" in refusal(rewrite(folder, spoil))


def test_weights_beyond_the_range_of_the_type_are_named(folder):
    def enlarge(tensors):
        tensors["model.norm.weight"][5] = -1e6
        return tensors

    assert "model.norm.weight" in (said := refusal(rewrite(folder, enlarge), dtype="float16"))
    assert "beyond the range of float16; load the model in bfloat16" in said
    eagle_jax.load(folder, dtype="bfloat16")


def quantised(added, dtype=None):
    """Linear layers as a program for quantisation writes them."""

    def change(tensors):
        for name in [name for name in tensors if name.endswith("up_proj.weight")]:
            weight, stem = tensors.pop(name), name.removesuffix("weight")
            if dtype is not None:
                tensors[name] = weight.to(dtype)
            for part in added:
                tensors[stem + part] = torch.ones(8, 8, dtype=torch.int32)
        return tensors

    return change


AWQ = quantised(["qweight", "qzeros", "scales"])
FP8 = quantised(["weight_scale_inv"], torch.float8_e4m3fn)
BITS = quantised(["weight.absmax", "weight.quant_map"], torch.uint8)


@pytest.mark.parametrize(
    "method, change, config",
    [
        ("awq", AWQ, {"quantization_config": {"quant_method": "awq"}}),
        ("gptq", AWQ, {"quantization_config": {"quant_method": "gptq"}}),
        ("gptq or awq", AWQ, {}),
        ("fp8", FP8, {"quantization_config": {"quant_method": "fp8"}}),
        ("fp8", quantised([], torch.float8_e4m3fn), {}),
        ("bitsandbytes", BITS, {"quantization_config": {"load_in_4bit": True}}),
        ("bitsandbytes", BITS, {}),
        ("compressed-tensors", quantised(["weight_packed", "weight_scale"]), {}),
        ("hqq", AWQ, {"quantization_config": {"quant_method": "hqq"}}),
        ("mlx", quantised(["weight", "scales", "biases"]), {"quantization": {"bits": 4}}),
        ("a method that", AWQ, {"quantization_config": [4]}),
    ],
)
def test_quantised_checkpoints_are_named(method, change, config, folder):
    said = refusal(edit(rewrite(folder, change), **config))
    assert f" is quantised with {method}" in said and "--quantize int8" in said


def test_quantised_checkpoints_are_named_before_the_weights_are_read(folder):
    edit(folder, quantization_config={"quant_method": "awq"})
    (folder / "model.safetensors").unlink()
    assert "quantised with awq" in refusal(folder)


def test_a_merged_checkpoint_may_keep_its_bases_quantization_config(untied, folder):
    edit(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert_equal(eagle_jax.load(folder), eagle_jax.load(untied))


def add_adapter(folder):
    names = [f"base_model.model.layers.{i}.q_proj.lora_A.weight" for i in range(3)]
    save_file(
        {name: torch.zeros(8, 64) for name in names}, folder / "adapter_model.safetensors"
    )
    found = {"peft_type": "LORA", "base_model_name_or_path": "some/base"}
    (folder / "adapter_config.json").write_text(json.dumps(found))


def test_adapters_are_named_with_their_base(folder):
    (folder / "model.safetensors").unlink()
    add_adapter(folder)
    assert "is a LoRA adapter for some/base" in refusal(folder)
    (folder / "config.json").unlink()
    assert "is a LoRA adapter for some/base" in refusal(folder)
    (folder / "adapter_config.json").write_text("{")
    assert "is a LoRA adapter for a base model it does not name" in refusal(folder)


def test_an_adapter_that_is_not_merged_is_named(folder):
    names = ("base_layer.weight", "lora_A.default.weight")
    more = {f"model.layers.0.self_attn.q_proj.{name}": torch.ones(8, 8) for name in names}
    assert "LoRA adapter that is not merged; merge it" in refusal(
        rewrite(folder, lambda tensors: tensors | more)
    )


def test_an_adapter_beside_merged_weights_is_ignored(tmp_path):
    folder = tiny_checkpoints.make_qwen2_5_vl(tmp_path / "model", shards=3)
    expected = eagle_jax.load(folder)
    (folder / "model.safetensors.index.json").unlink()
    add_adapter(folder)
    assert_equal(eagle_jax.load(folder), expected)


def test_two_sets_of_weights_are_refused(tmp_path):
    folder = tiny_checkpoints.make_qwen2_5_vl(tmp_path / "a", shards=3)
    other = tiny_checkpoints.make_qwen2_5_vl(tmp_path / "b", seed=2, shards=2)
    expected = eagle_jax.load(folder)
    for path in other.glob("*-of-00002.safetensors"):
        shutil.copy(path, folder)
    assert_equal(eagle_jax.load(folder), expected)  # the index says which
    single = tiny_checkpoints.make_qwen2_5_vl(tmp_path / "c", seed=3)
    shutil.copy(single / "model.safetensors", folder)
    assert "two sets of weights, model.safetensors and the 3 files" in refusal(folder)
    (folder / "model-00001-of-00003.safetensors").unlink()
    assert_equal(eagle_jax.load(folder), eagle_jax.load(single))  # the index is a leftover
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").unlink()
    assert "two sets of weights and no index" in refusal(folder)


def test_downloads_that_were_not_finished_are_named(tmp_path):
    folder = tiny_checkpoints.make_qwen2_5_vl(tmp_path / "model", shards=3)
    shard = folder / "model-00002-of-00003.safetensors"
    shard.rename(f"{shard}.incomplete")
    assert "download was not finished: model-00002-of-00003.safet" in refusal(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert f"not in the folder, whose download was not finished: {shard.name}" in refusal(
        folder
    )
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert "is a download that was not finished" in refusal(folder)


@pytest.mark.parametrize(
    "name, said",
    [
        ("model-q4.gguf", "has only GGUF weights"),
        ("tf_model.h5", "has only TensorFlow weights"),
        ("consolidated.00.pth", r"has only pickled weights (consolidated.00.pth)"),
        ("training_args.bin", "has no weights"),
        ("zero_to_fp32.py", "parts of a DeepSpeed run"),
    ],
)
def test_weights_of_other_formats_are_named(name, said, folder):
    (folder / "model.safetensors").rename(folder / name)
    assert said in refusal(folder)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "preprocessor_config.json",
        "processor_config.json",
    ],
)
def test_pointers_of_git_are_named(name, folder):
    (folder / name).write_text(POINTER)
    assert f"{folder / name} is a Git LFS pointer" in refusal(folder)


def test_pointers_that_are_not_read_do_no_harm(folder):
    for name in ("tokenizer.model", "pytorch_model.bin", "vocab.json", "adapter_model.safete"):
        (folder / name).write_text(POINTER)
    eagle_jax.load(folder)


@pytest.mark.parametrize("inner", ["checkpoint-500", "snapshots/abc"])
def test_the_folder_within_is_named(inner, tmp_path):
    for place in (tmp_path / "checkpoint-20", tmp_path / inner):
        place.mkdir(parents=True)
    (tmp_path / inner / "config.json").write_text("{}")
    assert refusal(tmp_path).endswith(f"such as {tmp_path / inner}")


def test_a_file_is_not_a_folder(folder):
    assert f"give {folder}" in refusal(folder / "model.safetensors")
    (folder / "model.gguf").touch()
    assert "a file of GGUF weights" in refusal(folder / "model.gguf")


@pytest.mark.parametrize(
    "config, said",
    [
        ({"model_type": "llava", "mm_vision_tower": "clip"}, "llava-hf/llava-1.5-7b-hf"),
        ({"model_type": "llava_llama", "hidden_size": 5120}, "llava-hf/llava-1.5-13b-hf"),
        (
            {"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]},
            "llava-hf/llava-1.5-7b-hf",
        ),
        ({"model_type": "internvl_chat"}, "OpenGVLab/InternVL3-8B-hf"),
        (
            {
                "model_type": "internvl_chat",
                "llm_config": {
                    "architectures": ["Qwen3ForCausalLM"],
                    "hidden_size": 2560,
                    "num_hidden_layers": 36,
                },
            },
            "OpenGVLab/InternVL3_5-4B-HF",
        ),
    ],
)
def test_layouts_of_the_authors_are_named_with_what_to_take(config, said, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert refusal(tmp_path).endswith(f"such as {said}")
