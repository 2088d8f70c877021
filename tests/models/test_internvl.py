"""What is InternVL's own: its prompt, its configuration, its tiles."""

import json
import math
import shutil

import jax
import numpy as np
import pytest
import tiny_internvl

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.inputs.prompt import build_prompt, load_tokenizer
from eagle_jax.models.checkpoints.weights import read_config
from eagle_jax.models.families.internvl import InternVLConfig
from eagle_jax.planning.published import published_models
from eagle_jax.scoring.model import abstract_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_internvl.make_internvl(tmp_path_factory.mktemp("internvl"), 1)


@pytest.fixture(scope="module")
def model(folder):
    """The abstract modules."""
    return abstract_network(read_config(folder), "config.json")[0]


def test_the_prompt_marks_the_image_as_the_published_processor_does(folder, model):
    image_token = model.config.image_token_id
    tokenizer = load_tokenizer(folder, image_token)
    ids = build_prompt(tokenizer, "What colour? ", 8, image_token)
    assert tokenizer.decode(ids) == (
        "<|im_start|>user\n<img>" + 8 * "<IMG_CONTEXT>" + "</img>\nWhat colour? <|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    with pytest.raises(InputError, match="special token </img>"):
        build_prompt(tokenizer, "What </img>?", 8, image_token)


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_tokenizer_that_does_not_name_the_marks_is_refused(side, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    named = config.get("model_specific_special_tokens", config)
    del named[f"{side}_image_token"]
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"names no {side}_image_token, .* add it"):
        eagle_jax.load(tmp_path / "model")


def test_the_smallest_published_checkpoint_has_its_published_size():
    # InternVL3.5-1B differs from the 4B in its decoder, Qwen3-0.6B with a head of its own.
    config = published_models()["OpenGVLab/InternVL3_5-4B-HF"]["config"]
    decoder = {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
    }
    config = config | {"text_config": config["text_config"] | decoder}
    network, _ = abstract_network(config, "config.json")
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(network))
    assert count / 1e9 == pytest.approx(1.06, abs=0.005)


REFUSED = [
    ((), "vision_feature_layer", -2),
    ((), "vision_feature_layer", [-1]),
    ((), "vision_feature_select_strategy", "full"),
    ((), "projector_hidden_act", "relu"),
    ((), "downsample_ratio", 0.3),
    ((), "downsample_ratio", 0),
    ((), "downsample_ratio", "0.5"),
    (("vision_config",), "hidden_act", "gelu_new"),
    (("vision_config",), "norm_type", "batch_norm"),
    (("vision_config",), "use_absolute_position_embeddings", False),
    (("vision_config",), "use_mean_pooling", False),
    (("vision_config",), "image_size", [56, 112]),
    (("vision_config",), "image_size", "56"),
    (("vision_config",), "patch_size", [14, 0]),
    (("vision_config",), "use_qk_norm", "no"),
    (("text_config",), "model_type", "qwen3_moe"),
    (("text_config",), "hidden_act", "gelu"),
    (("text_config",), "rope_scaling", {"rope_type": "dynamic", "factor": 2.0}),
    (("text_config",), "use_sliding_window", True),
]


@pytest.mark.parametrize(("where", "name", "value"), REFUSED)
def test_unsupported_fields_are_refused_by_name(where, name, value, folder):
    config = json.loads((folder / "config.json").read_text())
    part = config
    for key in where:
        part = part[key]
    part[name] = value
    named = {"rope_scaling": "rope_type", "use_sliding_window": "sliding_window"}
    with pytest.raises(InputError, match=named.get(name, name)):
        InternVLConfig.from_hf(config)


@pytest.mark.parametrize("missing", ["text_config", "hidden_size"])
def test_missing_fields_are_named(missing, folder):
    config = json.loads((folder / "config.json").read_text())
    (config if missing in config else config["text_config"]).pop(missing)
    with pytest.raises(InputError, match=missing):
        InternVLConfig.from_hf(config)


@pytest.mark.parametrize(
    ("inner", "outer", "tied"),
    [(True, None, True), (True, True, True), (False, True, False), (True, False, False)],
)
def test_a_head_goes_unread_only_where_both_configs_tie_it(inner, outer, tied, folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["tie_word_embeddings"] = inner
    if outer is not None:
        config["tie_word_embeddings"] = outer
    assert InternVLConfig.from_hf(config).decoder.tied_head is tied


@pytest.mark.parametrize("grid", [(6, 4), (8, 8), (8, 2)])
def test_tiles_of_another_size_are_refused(grid, model):
    with pytest.raises(InputError, match="wants tiles of 4 x 4"):
        model.layout(grid)


def test_image_tokens_that_do_not_fit_the_tiles_are_refused(model):
    ids = np.full(9, model.config.image_token_id, np.int32)
    with pytest.raises(InputError, match="9 image tokens"):
        model.positions(ids, (8, 4))
