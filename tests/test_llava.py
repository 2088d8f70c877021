"""LLaVA against transformers' PyTorch class, on tiny random checkpoints."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
import tiny_llava
import torch_reference
from flax import nnx
from safetensors.numpy import load_file, save_file
from transformers import LlavaProcessor

import eagle_jax
from eagle_jax.answer import encode_answer
from eagle_jax.errors import InputError
from eagle_jax.models.checkpoint import load_weights, read_config, save_weights
from eagle_jax.models.generate import generate
from eagle_jax.models.llava import Llava, LlavaConfig, weight_keys
from eagle_jax.prompt import build_prompt, load_tokenizer

# The second reads another layer, shares the embedding with the head, and is stored otherwise.
KINDS = {
    "published": {},
    "other": {"layout": "saved", "tied": True, "feature_layer": -3, "vision_act": "gelu"},
}
PROMPT, ANSWER = "Is there a cat in the image?", " There is a cat in the image."


def load(folder) -> Llava:
    config = LlavaConfig.from_hf(read_config(folder))
    skeleton = nnx.eval_shape(lambda: Llava(config, rngs=nnx.Rngs(0)))
    return load_weights(folder, skeleton, weight_keys(config), jnp.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("llava")
    return {
        kind: tiny_llava.make_llava(where / kind, 1, **options)
        for kind, options in KINDS.items()
    }


@pytest.fixture(scope="module")
def models(folders):
    return {kind: load(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def references(folders):
    return {kind: tiny_llava.LlavaReference(folder) for kind, folder in folders.items()}


def patches_of(reference, image):
    """(1, 16, 3 * 14 * 14), channel-major, row by row."""
    side, patch = tiny_llava.SIDE // tiny_llava.PATCH, tiny_llava.PATCH
    cut = reference.pixels(image).numpy().reshape(1, 3, side, patch, side, patch)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(1, side * side, 3 * patch * patch)


def prepare(folder, model, reference, image, answer=ANSWER):
    """Ids of prompt and answer, then what a forward takes besides them."""
    patches = patches_of(reference, image)
    tokenizer = load_tokenizer(folder, model.config.image_token_id)
    prompt = build_prompt(tokenizer, PROMPT, patches.shape[1], model.config.image_token_id)
    answer_ids = tokenizer(answer, add_special_tokens=False).input_ids
    ids = np.concatenate([prompt, answer_ids]).astype(np.int32)
    start = int(np.argmax(ids == model.config.image_token_id))
    return ids, (patches, model.layout((4, 4)), model.positions(ids, (4, 4)), start)


@jax.jit
def hidden_states(model, ids, patches, layout, positions, start, rows=None):
    embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
    return model.hidden_states(embeddings, positions, rows)


@jax.jit
def log_probabilities(model, ids, patches, layout, positions, start):
    hidden = hidden_states(model, ids, patches, layout, positions, start)
    return jax.nn.log_softmax(model.decoder.logits(hidden), axis=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(56, 56), (61, 90), (130, 70)])
def test_log_probabilities_equal_pytorch_at_all_positions(
    kind, size, folders, models, references, make_image
):
    model, reference = models[kind], references[kind]
    image = make_image(3, *size)
    ids, arguments = prepare(folders[kind], model, reference, image)
    ours = log_probabilities(model, ids, *arguments)[0]
    theirs = reference.log_probabilities(ids, image)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_their_places_move_the_answer(kind, folders, models, references, make_image):
    # Without this the parity tests above would prove little.
    model, reference = models[kind], references[kind]
    image = make_image(3, 56, 56)
    ids, (patches, *rest) = prepare(folders[kind], model, reference, image)
    seen = log_probabilities(model, ids, patches, *rest)[0, -1]
    transposed = patches.reshape(4, 4, -1).transpose(1, 0, 2).reshape(patches.shape)
    for other in (0 * patches, transposed):
        moved = log_probabilities(model, ids, other, *rest)[0, -1]
        assert np.abs(seen - moved).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_generated_tokens_equal_pytorch(kind, folders, models, references, make_image):
    model, reference = models[kind], references[kind]
    image = make_image(4, 61, 90)
    ids, arguments = prepare(folders[kind], model, reference, image, answer="")
    patches, layout, positions, start = arguments

    @jax.jit
    def answer(model, ids, patches, positions, start, length):
        embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
        return generate(model, embeddings, positions, length, jnp.array([-2]), 32)[0]

    theirs = reference.generate(ids, image, 32, stop=False)
    assert len(theirs) == 32
    ours = answer(model, ids, patches, positions, start, jnp.int32(len(ids)))
    np.testing.assert_array_equal(ours, theirs)


def test_last_layer_at_target_rows_equals_the_full_path(
    folders, models, references, make_image
):
    model, reference = models["published"], references["published"]
    image = make_image(6, 61, 90)
    ids, arguments = prepare(folders["published"], model, reference, image)
    rows = np.array([len(ids) - 6, len(ids) - 3, len(ids) - 2])
    targets = ids[rows + 1]
    whole = hidden_states(model, ids, *arguments)
    some = hidden_states(model, ids, *arguments, rows=jnp.asarray(rows))
    np.testing.assert_allclose(some, whole[:, rows], rtol=1e-5, atol=1e-5)
    scores = model.log_probabilities(some, jnp.asarray(targets))[0]
    theirs = reference.log_probabilities(ids, image)[rows, targets]
    np.testing.assert_allclose(scores, theirs, rtol=1e-4, atol=1e-5)


def test_a_batch_of_images_equals_one_at_a_time(folders, models, references, make_image):
    model, reference = models["other"], references["other"]
    images = [make_image(seed, 61, 90) for seed in (7, 8)]
    ids, (_, *rest) = prepare(folders["other"], model, reference, images[0])
    patches = np.concatenate([patches_of(reference, image) for image in images])
    together = log_probabilities(model, ids, patches, *rest)
    for image, ours in zip(images, together, strict=True):
        theirs = reference.log_probabilities(ids, image)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_masked_images_score_as_in_pytorch(folders, references, make_image):
    # From the folder to the probabilities: prompt, resize, crop, model.
    folder, reference = folders["published"], references["published"]
    model = eagle_jax.load(folder, dtype="float32")
    image, labels = make_image(9, 61, 90), questions.cells(1, 61, 90, 6)
    scorer = eagle_jax.scorer(model, image, PROMPT, answer="A small cat.", regions=labels)
    prompt = build_prompt(model.tokenizer, PROMPT, 16, tiny_llava.IMAGE_TOKEN)
    answer = encode_answer(model.tokenizer, "A small cat.")
    ids = np.concatenate([prompt, answer])
    rows = len(prompt) - 1 + np.arange(len(answer))
    visible = np.random.default_rng(0).random((5, 6)) < 0.5
    ours = np.asarray(scorer(visible))
    for mine, shown in zip(ours, visible, strict=True):
        theirs = reference.score(ids, image, labels, shown, rows, ids[rows + 1])
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-7)


def test_prompt_equals_that_of_the_published_processor(folders, references, make_image):
    folder = folders["published"]
    tokenizer = load_tokenizer(folder, tiny_llava.IMAGE_TOKEN)
    processor = LlavaProcessor(
        image_processor=references["published"].processor,
        tokenizer=tokenizer,
        patch_size=tiny_llava.PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    text = f"USER: <image>\n{PROMPT} ASSISTANT:"
    image = torch_reference.Image.fromarray(make_image(1, 61, 90))
    theirs = processor(images=image, text=text)["input_ids"][0]
    ours = build_prompt(tokenizer, PROMPT, 16, tiny_llava.IMAGE_TOKEN)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("layout", tiny_llava.LAYOUTS[1:])
def test_key_layouts_load_alike(layout, folders, models, tmp_path):
    other = load(tiny_llava.make_llava(tmp_path, 1, layout=layout))
    for a, b in zip(jax.tree.leaves(models["published"]), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_that_never_run_are_neither_needed_nor_loaded(folders, models, tmp_path):
    model = models["published"]
    assert model.config.vision.layers == 3
    assert model.vision.layers.inner.kernel.shape[0] == 3
    tensors = load_file(folders["published"] / "model.safetensors")
    unused = [key for key in tensors if "encoder.layers.3." in key or "post_layernorm" in key]
    assert len(unused) == 18
    for key in unused:
        del tensors[key]
    tensors["vision_tower.vision_model.embeddings.position_ids"] = np.arange(17)[None]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folders["published"] / "config.json").read_text())
    for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(load(tmp_path)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saved_weights_load_again(models, tmp_path):
    model = models["published"]
    save_weights(tmp_path, model, weight_keys(model.config))
    skeleton = nnx.eval_shape(lambda: Llava(model.config, rngs=nnx.Rngs(0)))
    again = load_weights(tmp_path, skeleton, weight_keys(model.config))
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
def test_unsupported_fields_are_refused_by_name(section, field, value, named, folders):
    config = json.loads((folders["published"] / "config.json").read_text())
    (config if section is None else config[section])[field] = value
    with pytest.raises(InputError, match=named):
        LlavaConfig.from_hf(config)


def test_other_grids_and_numbers_of_image_tokens_are_refused(models):
    model = models["published"]
    with pytest.raises(InputError, match="cuts 4 x 5 patches"):
        model.layout((4, 5))
    ids = np.array([1, *[tiny_llava.IMAGE_TOKEN] * 15, 5], np.int32)
    with pytest.raises(InputError, match="15 image tokens"):
        model.positions(ids, (4, 4))
