"""What is the Qwen-VL families' own: published sizes, deep features, refusals."""

import json
import math

import families
import jax
import numpy as np
import pytest

from eagle_jax.errors import InputError
from eagle_jax.models.layers.qwen_layout import VisionConfig
from eagle_jax.scoring import model as bundle

# As published, without what changes no shape; and parameters in units of 10**9.
QWEN2_2B = {
    "model_type": "qwen2_vl",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "vocab_size": 151936,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "mlp_ratio": 4,
        "num_heads": 16,
        "in_chans": 3,
        "hidden_size": 1536,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
QWEN3_2B = {
    "model_type": "qwen3_vl",
    "image_token_id": 151655,
    "tie_word_embeddings": True,
    "text_config": {
        "model_type": "qwen3_vl_text",
        "head_dim": 128,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "max_position_embeddings": 262144,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [24, 20, 20],
            "rope_type": "default",
        },
        "rope_theta": 5000000,
        "tie_word_embeddings": True,
        "vocab_size": 151936,
    },
    "vision_config": {
        "model_type": "qwen3_vl",
        "deepstack_visual_indexes": [5, 11, 17],
        "depth": 24,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "num_position_embeddings": 2304,
        "out_hidden_size": 2048,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}


@pytest.mark.parametrize("config, parameters", [(QWEN2_2B, 2.21), (QWEN3_2B, 2.13)])
def test_published_configs_have_the_published_sizes(config, parameters):
    network, _ = bundle.abstract_network(config, "config.json")
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(network))
    assert count / 1e9 == pytest.approx(parameters, abs=0.006)


@pytest.mark.parametrize(
    "full, deep, blocks",
    [
        ((7, 15, 23, 31), (), ((4, 7, 1),)),
        ((2, 3), (), ((1, 2, 2), (1, 28, 0))),
        (range(32), (), ((1, 0, 32),)),
        (range(32), (5, 11, 17), ((3, 0, 6), (1, 0, 14))),
        (range(32), (0, 31), ((1, 0, 1), (1, 0, 31))),
    ],
)
def test_layers_are_scanned_in_blocks(full, deep, blocks):
    numbers = dict.fromkeys(("embed", "heads", "mlp", "channels", "patch", "frames"), 1)
    config = VisionConfig(
        **numbers,
        layers=32,
        merge=2,
        window=None,
        full_layers=tuple(full),
        output=1,
        deep_layers=deep,
    )
    assert config.blocks == blocks


def test_every_deep_layer_moves_the_answer(cases, make_image):
    case = cases("qwen3-vl")
    model = case.model
    ids, (patches, layout, positions, start) = case.forward(make_image(3, 90, 150))
    embed = model.config.decoder.embed

    @families.quick_jit
    def last(model, ids, patches, layout, positions, start, scale):
        visual = model.visual_tokens(patches, layout) * scale
        embeddings = model.embed(ids, visual, start)
        return model.decoder.logits(model.hidden_states(embeddings, positions)[:, -1])

    def seen(*left_out):
        scale = np.ones((3, embed), np.float32)
        scale[list(left_out)] = 0
        return last(model, ids, patches, layout, positions, start, scale.ravel())

    for layer in (1, 2):
        assert np.abs(seen(layer) - seen()).max() > 0.1


REFUSED = {
    "qwen2-vl": [
        ((), "rope_scaling", {"type": "yarn", "factor": 4.0}, "rope_type 'yarn'"),
        ((), "use_sliding_window", True, "sliding_window"),
        ((), "num_experts", 8, "num_experts 8"),
        ((), "hidden_size", 128, "64 numbers beside words of 128"),
        (("vision_config",), "hidden_act", "gelu", "vision hidden_act 'gelu'"),
        (("vision_config",), "embed_dim", 54, "head of 18"),
        (("vision_config",), "rope_parameters", {"rope_theta": 5.0}, "vision rope_theta 5"),
        (("vision_config",), "in_chans", 4, "4 image channels"),
    ],
    "qwen2.5-vl": [
        ((), "rope_scaling", {"type": "yarn", "factor": 4.0}, "rope_type 'yarn'"),
        (("rope_scaling",), "mrope_interleaved", True, "mrope_interleaved True"),
        (("vision_config",), "hidden_act", "gelu", "vision hidden_act 'gelu'"),
        (("vision_config",), "window_size", 27, "window_size 27"),
    ],
    "qwen3-vl": [
        (("text_config", "rope_scaling"), "rope_type", "yarn", "rope_type 'yarn'"),
        (("text_config", "rope_scaling"), "mrope_interleaved", False, "interleaved False"),
        (("text_config", "rope_scaling"), "mrope_section", [4, 4, 4], "mrope_section"),
        (("text_config",), "attention_bias", True, "attention_bias"),
        (("text_config",), "sliding_window", 64, "sliding_window 64"),
        (("text_config",), "num_experts", 8, "num_experts 8"),
        (("text_config",), "num_hidden_layers", 2, "2 deepstack_visual_indexes with 2"),
        (("vision_config",), "hidden_act", "silu", "vision hidden_act 'silu'"),
        (("vision_config",), "deepstack_visual_indexes", [3, 1], r"indexes \[3, 1\]"),
        (("vision_config",), "deepstack_visual_indexes", [1, 5], r"\[1, 5\] with 5 layers"),
        (("vision_config",), "num_position_embeddings", 24, "embeddings 24, not a square"),
        (("vision_config",), "out_hidden_size", 32, "32 numbers beside words of 64"),
    ],
}


@pytest.mark.parametrize(
    "name, where, field, value, said",
    [(name, *row) for name, rows in REFUSED.items() for row in rows],
)
def test_unsupported_fields_are_refused_by_name(name, where, field, value, said, cases):
    config = part = json.loads((cases(name).folder / "config.json").read_text())
    for key in where:
        part = part[key]
    part[field] = value
    with pytest.raises(InputError, match=said):
        bundle.abstract_network(config, "config.json")


def test_a_mixture_of_experts_is_another_family():
    with pytest.raises(InputError, match="model_type 'qwen3_vl_moe'; supported are"):
        bundle.abstract_network({"model_type": "qwen3_vl_moe"}, "config.json")
