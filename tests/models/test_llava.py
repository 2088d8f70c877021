"""What is LLaVA's own: its prompt, its unused vision layers, its configuration."""

import json

import jax
import numpy as np
import pytest
import questions
import tiny_llava
from PIL import Image
from safetensors.numpy import load_file, save_file
from transformers import LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from eagle_jax.errors import InputError
from eagle_jax.inputs.prompt import build_prompt, load_tokenizer
from eagle_jax.models.families.llava import LlavaConfig

PROMPT = "Is there a cat in the image?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llava.make_llava(tmp_path_factory.mktemp("llava"), 1)


@pytest.fixture(scope="module")
def model(folder):
    return questions.load_network(folder)


def test_prompt_equals_that_of_the_published_processor(folder, make_image):
    tokenizer = load_tokenizer(folder, tiny_llava.IMAGE_TOKEN)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil.from_pretrained(folder),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    text = f"USER: <image>\n{PROMPT} ASSISTANT:"
    image = Image.fromarray(make_image(1, 61, 90))
    theirs = processor(images=image, text=text)["input_ids"][0]
    ours = build_prompt(tokenizer, PROMPT, 16, tiny_llava.IMAGE_TOKEN)
    np.testing.assert_array_equal(ours, theirs)


def test_layers_that_never_run_are_neither_needed_nor_loaded(folder, model, tmp_path):
    assert model.config.vision.layers == 3
    assert model.vision.layers.inner.kernel.shape[0] == 3
    tensors = load_file(folder / "model.safetensors")
    unused = [key for key in tensors if "encoder.layers.3." in key or "post_layernorm" in key]
    assert len(unused) == 18
    for key in unused:
        del tensors[key]
    tensors["vision_tower.vision_model.embeddings.position_ids"] = np.arange(17)[None]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    again = questions.load_network(tmp_path)
    for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_published_config_fills_in_what_it_leaves_out():
    config = LlavaConfig.from_hf(
        {
            "image_token_index": 32000,
            "vision_feature_layer": -2,
            "text_config": {"rms_norm_eps": 1e-5, "vocab_size": 32064, "model_type": "llama"},
            "vision_config": {
                "hidden_size": 1024,
                "image_size": 336,
                "intermediate_size": 4096,
                "num_attention_heads": 16,
                "num_hidden_layers": 24,
                "patch_size": 14,
            },
        }
    )
    decoder, vision = config.decoder, config.vision
    assert (decoder.vocabulary, decoder.embed, decoder.layers) == (32064, 4096, 32)
    assert (decoder.heads, decoder.key_value_heads, decoder.mlp) == (32, 32, 11008)
    assert (decoder.rope_theta, decoder.norm_eps, decoder.tied_head) == (1e4, 1e-5, False)
    assert decoder.rope_sections == (64, 0, 0)
    assert (vision.layers, config.vision_layers, vision.grid, vision.merge) == (23, 24, 24, 1)
    assert (vision.activation, vision.norm_eps) == ("quick_gelu", 1e-5)


@pytest.mark.parametrize(
    ("section", "field", "value", "named"),
    [
        (None, "vision_feature_layer", [-2, -5], r"vision_feature_layer \[-2, -5\]"),
        (None, "vision_feature_layer", -5, "vision_feature_layer -5"),
        (None, "vision_feature_layer", 5, "vision_feature_layer 5"),
        (None, "vision_feature_select_strategy", "full", "select_strategy 'full'"),
        (None, "projector_hidden_act", "relu", "projector_hidden_act 'relu'"),
        (None, "multimodal_projector_bias", False, "multimodal_projector_bias False"),
        (None, "vision_config", {}, "lacks 'vision_config'"),
        ("text_config", "model_type", "mistral", "text_config.model_type 'mistral'"),
        ("text_config", "sliding_window", 4096, "sliding_window 4096"),
        ("text_config", "rope_scaling", {"type": "linear", "factor": 2}, "rope_type 'linear'"),
        ("text_config", "rope_parameters", {"rope_type": "llama3"}, "rope_type 'llama3'"),
        ("text_config", "attention_bias", True, "attention_bias"),
        ("text_config", "mlp_bias", True, "mlp_bias"),
        ("text_config", "hidden_act", "gelu", "hidden_act 'gelu'"),
        ("vision_config", "model_type", "siglip_vision_model", "model_type 'siglip_vision"),
        ("vision_config", "hidden_act", "relu", "vision hidden_act 'relu'"),
        ("vision_config", "image_size", [56, 84], r"image_size \[56, 84\]"),
        ("vision_config", "num_channels", 4, "4 image channels"),
    ],
)
def test_unsupported_fields_are_refused_by_name(section, field, value, named, folder):
    config = json.loads((folder / "config.json").read_text())
    (config if section is None else config[section])[field] = value
    with pytest.raises(InputError, match=named):
        LlavaConfig.from_hf(config)


def test_other_grids_and_numbers_of_image_tokens_are_refused(model):
    with pytest.raises(InputError, match="cuts 4 x 5 patches"):
        model.layout((4, 5))
    ids = np.array([1, *[tiny_llava.IMAGE_TOKEN] * 15, 5], np.int32)
    with pytest.raises(InputError, match="15 image tokens"):
        model.positions(ids, (4, 4))
