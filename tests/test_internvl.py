"""InternVL against transformers' PyTorch class, on tiny random checkpoints."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
import tiny_internvl
from flax import nnx

import eagle_jax
from eagle_jax.answer import encode_answer
from eagle_jax.errors import InputError
from eagle_jax.models.checkpoint import load_weights, read_config, save_weights
from eagle_jax.models.generate import generate
from eagle_jax.models.internvl import InternVL, InternVLConfig, weight_keys
from eagle_jax.prompt import build_prompt, load_tokenizer

# Height and width, and the tiles they are cut into, thumbnail included.
SIZES = {"one tile": ((50, 52), 1), "wide": ((60, 118), 3), "many tiles": ((100, 150), 7)}
KINDS = ("3.5", "6B")


def load(folder) -> InternVL:
    config = InternVLConfig.from_hf(read_config(folder))
    skeleton = nnx.eval_shape(lambda: InternVL(config, rngs=nnx.Rngs(0)))
    return load_weights(folder, skeleton, weight_keys(config), jnp.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("internvl")
    layouts = {"3.5": "hub", "6B": "nested"}
    return {
        kind: tiny_internvl.make_internvl(where / kind, 1, kind=kind, layout=layouts[kind])
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def models(folders):
    return {kind: load(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def references(folders):
    return {kind: tiny_internvl.InternVLReference(folder) for kind, folder in folders.items()}


def tile_patches(reference, image):
    """(1, patches, channels * 14 * 14), tile after tile, and the grid of all tiles."""
    tiles = reference.pixels(image).numpy()
    side = tiles.shape[-1] // 14
    patches = tiles.reshape(-1, 3, side, 14, side, 14).transpose(0, 2, 4, 1, 3, 5)
    return patches.reshape(1, -1, 3 * 14 * 14), (len(tiles) * side, side)


def prepare(folder, model, reference, image, answer=""):
    """Ids of prompt and answer, then what a forward takes besides them."""
    patches, grid = tile_patches(reference, image)
    tokenizer = load_tokenizer(folder, model.config.image_token_id)
    tokens = patches.shape[1] // model.config.vision.merge**2
    prompt = build_prompt(tokenizer, "What?", tokens, model.config.image_token_id)
    ids = np.concatenate([prompt, tokenizer(answer).input_ids]).astype(np.int32)
    start = int(np.argmax(ids == model.config.image_token_id))
    return ids, (patches, model.layout(grid), model.positions(ids, grid), start)


@jax.jit
def hidden_states(model, ids, patches, layout, positions, start, rows=None):
    embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
    return model.hidden_states(embeddings, positions, rows)


@jax.jit
def log_probabilities(model, ids, patches, layout, positions, start):
    hidden = hidden_states(model, ids, patches, layout, positions, start)
    return jax.nn.log_softmax(model.decoder.logits(hidden), axis=-1)


ANSWER = " There is a cat in the image."


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "tiles"), SIZES.values(), ids=list(SIZES))
def test_log_probabilities_equal_pytorch_at_all_positions(
    kind, size, tiles, folders, models, references, make_image
):
    model, reference = models[kind], references[kind]
    image = make_image(3, *size)
    ids, arguments = prepare(folders[kind], model, reference, image, ANSWER)
    assert arguments[0].shape[1] == tiles * 16
    ours = log_probabilities(model, ids, *arguments)[0]
    theirs = reference.log_probabilities(ids, image)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_their_place_and_tile_order_move_the_answer(
    kind, folders, models, references, make_image
):
    # Without this the parity tests above would prove little.
    model, reference = models[kind], references[kind]
    image = make_image(3, 60, 118)
    ids, (patches, *rest) = prepare(folders[kind], model, reference, image, ANSWER)
    seen = log_probabilities(model, ids, patches, *rest)[0, -1]
    tiles = patches.reshape(3, 16, -1)
    transposed = tiles.reshape(3, 4, 4, -1).transpose(0, 2, 1, 3)
    for other in (0 * tiles, tiles[[1, 0, 2]], transposed):
        moved = log_probabilities(model, ids, other.reshape(patches.shape), *rest)[0, -1]
        assert np.abs(seen - moved).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_generated_tokens_equal_pytorch(kind, folders, models, references, make_image):
    model, reference = models[kind], references[kind]
    image = make_image(4, 60, 118)
    ids, arguments = prepare(folders[kind], model, reference, image)

    @jax.jit
    def answer(model, ids, patches, layout, positions, start):
        embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
        no_end = jnp.array([-2])
        return generate(model, embeddings, positions, jnp.int32(len(ids)), no_end, 32)[0]

    theirs = reference.generate(ids, image, 32, stop=False)
    assert len(theirs) == 32
    np.testing.assert_array_equal(answer(model, ids, *arguments), theirs)


def test_last_layer_at_target_rows_equals_the_full_path(
    folders, models, references, make_image
):
    model, reference = models["3.5"], references["3.5"]
    image = make_image(6, 60, 118)
    ids, arguments = prepare(folders["3.5"], model, reference, image, ANSWER)
    rows = np.array([len(ids) - 6, len(ids) - 3, len(ids) - 2])
    targets = ids[rows + 1]
    whole = hidden_states(model, ids, *arguments)
    some = hidden_states(model, ids, *arguments, rows=jnp.asarray(rows))
    np.testing.assert_allclose(some, whole[:, rows], rtol=1e-5, atol=1e-5)
    scores = model.log_probabilities(some, jnp.asarray(targets))[0]
    theirs = reference.log_probabilities(ids, image)[rows, targets]
    np.testing.assert_allclose(scores, theirs, rtol=1e-4, atol=1e-5)


def test_a_batch_of_images_equals_one_at_a_time(folders, models, references, make_image):
    model, reference = models["6B"], references["6B"]
    images = [make_image(seed, 60, 118) for seed in (7, 8)]
    ids, arguments = prepare(folders["6B"], model, reference, images[0], ANSWER)
    patches = np.concatenate([tile_patches(reference, image)[0] for image in images])
    together = log_probabilities(model, ids, patches, *arguments[1:])
    for image, ours in zip(images, together, strict=True):
        theirs = reference.log_probabilities(ids, image)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_masked_images_score_as_in_pytorch(folders, references, make_image):
    # From the folder to the probabilities: prompt, resize, tiles, thumbnail, model.
    folder, reference = folders["3.5"], references["3.5"]
    model = eagle_jax.load(folder, dtype="float32")
    image, labels = make_image(9, 60, 118), questions.cells(1, 60, 118, 6)
    scorer = eagle_jax.scorer(model, image, "What?", answer="A small cat.", regions=labels)
    prompt = build_prompt(model.tokenizer, "What?", 12, model.network.config.image_token_id)
    ids = np.concatenate([prompt, encode_answer(model.tokenizer, "A small cat.")])
    rows = np.arange(len(prompt) - 1, len(ids) - 1)
    visible = np.random.default_rng(0).random((3, 6)) < 0.5
    for ours, shown in zip(scorer(visible), visible, strict=True):
        theirs = reference.score(ids, image, labels, shown, rows, ids[rows + 1])
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_the_prompt_marks_the_image_as_the_published_processor_does(folders, models):
    image_token = models["3.5"].config.image_token_id
    tokenizer = load_tokenizer(folders["3.5"], image_token)
    ids = build_prompt(tokenizer, "What colour? ", 8, image_token)
    assert tokenizer.decode(ids) == (
        "<|im_start|>user\n<img>" + 8 * "<IMG_CONTEXT>" + "</img>\nWhat colour? <|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    with pytest.raises(InputError, match="special token </img>"):
        build_prompt(tokenizer, "What </img>?", 8, image_token)


@pytest.mark.parametrize("kind", KINDS)
def test_key_layouts_load_alike_and_weights_survive_saving(kind, tmp_path):
    folders = [
        tiny_internvl.make_internvl(tmp_path / layout, 4, kind=kind, layout=layout)
        for layout in ("hub", "nested")
    ]
    first, second = (load(folder) for folder in folders)
    save_weights(tmp_path / "again", first, weight_keys(first.config))
    (tmp_path / "again" / "config.json").write_text((folders[0] / "config.json").read_text())
    third = load(tmp_path / "again")
    for a, b, c in zip(*(jax.tree.leaves(m) for m in (first, second, third)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


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
def test_unsupported_fields_are_refused_by_name(where, name, value, folders):
    config = json.loads((folders["3.5"] / "config.json").read_text())
    part = config
    for key in where:
        part = part[key]
    part[name] = value
    named = {"rope_scaling": "rope_type", "use_sliding_window": "sliding_window"}
    with pytest.raises(InputError, match=named.get(name, name)):
        InternVLConfig.from_hf(config)


@pytest.mark.parametrize("missing", ["text_config", "hidden_size"])
def test_missing_fields_are_named(missing, folders):
    config = json.loads((folders["3.5"] / "config.json").read_text())
    (config if missing in config else config["text_config"]).pop(missing)
    with pytest.raises(InputError, match=missing):
        InternVLConfig.from_hf(config)


@pytest.mark.parametrize(
    ("inner", "outer", "tied"),
    [(True, None, True), (True, True, True), (False, True, False), (True, False, False)],
)
def test_a_head_goes_unread_only_where_both_configs_tie_it(inner, outer, tied, folders):
    config = json.loads((folders["3.5"] / "config.json").read_text())
    config["text_config"]["tie_word_embeddings"] = inner
    if outer is not None:
        config["tie_word_embeddings"] = outer
    assert InternVLConfig.from_hf(config).decoder.tied_head is tied


@pytest.mark.parametrize("grid", [(6, 4), (8, 8), (8, 2)])
def test_tiles_of_another_size_are_refused(grid, models):
    with pytest.raises(InputError, match="wants tiles of 4 x 4"):
        models["3.5"].layout(grid)


def test_image_tokens_that_do_not_fit_the_tiles_are_refused(models):
    model = models["3.5"]
    ids = np.full(9, model.config.image_token_id, np.int32)
    with pytest.raises(InputError, match="9 image tokens"):
        model.positions(ids, (8, 4))
