"""Qwen2.5-VL against transformers' PyTorch class, on tiny random checkpoints."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints
import torch
import torch_reference
from flax import nnx
from transformers import AutoTokenizer

from eagle_jax.models.checkpoint import load_weights, read_config
from eagle_jax.models.generate import generate
from eagle_jax.models.qwen2_5_vl import Qwen2_5_VL, Qwen2_5_VLConfig, weight_keys

# Merged tokens down and across; a window is 2 x 2 (untied) or 4 x 4 (tied) of them.
GRIDS = {"whole windows": (4, 4), "cut windows": (3, 5), "tall": (9, 2), "wide": (2, 7)}


def load(folder) -> Qwen2_5_VL:
    config = Qwen2_5_VLConfig.from_hf(read_config(folder))
    skeleton = nnx.eval_shape(lambda: Qwen2_5_VL(config, rngs=nnx.Rngs(0)))
    return load_weights(folder, skeleton, weight_keys(config), jnp.float32)


@pytest.fixture(scope="module")
def models(untied, tied):
    return {"untied": load(untied), "tied": load(tied)}


def sequence(folder, grid, text=" There is a cat in the image."):
    """Prompt, image tokens and an answer, as ids."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    prompt = prompt.replace("<|image_pad|>", "<|image_pad|>" * (grid[0] * grid[1]))
    return np.array(tokenizer(prompt + text).input_ids, np.int32)


def one_frame(reference, image):
    """The processor's patches without the repeated frame, and their grid."""
    inputs = reference.processor(
        images=torch_reference.Image.fromarray(image), return_tensors="np"
    )
    patches = (
        inputs["pixel_values"].reshape(-1, 3, 2, 14 * 14)[:, :, 0].reshape(1, -1, 3 * 14 * 14)
    )
    return patches, tuple(int(side) for side in inputs["image_grid_thw"][0][1:])


def prepare(model, reference, ids, image):
    patches, grid = one_frame(reference, image)
    start = int(np.flatnonzero(ids == model.config.image_token_id)[0])
    positions = model.positions(ids, grid)
    return patches, model.layout(grid), positions, start


@jax.jit
def hidden_states(model, ids, patches, layout, positions, start, rows=None):
    embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
    return model.hidden_states(embeddings, positions, rows)


@jax.jit
def log_probabilities(model, ids, patches, layout, positions, start):
    hidden = hidden_states(model, ids, patches, layout, positions, start)
    return jax.nn.log_softmax(model.decoder.logits(hidden), axis=-1)


@functools.partial(jax.jit, static_argnames="tokens")
def answer(model, ids, patches, layout, positions, start, length, ends, tokens=32):
    embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
    return generate(model, embeddings, positions, length, ends, tokens)[0]


@pytest.mark.parametrize("name", ["untied", "tied"])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=list(GRIDS))
def test_log_probabilities_equal_pytorch_at_all_positions(
    name, grid, models, references, untied, make_image
):
    model, reference = models[name], references[name]
    image = make_image(3, 28 * grid[0], 28 * grid[1])
    ids = sequence(untied, grid)
    patches, layout, positions, start = prepare(model, reference, ids, image)
    ours = log_probabilities(model, ids, patches, layout, positions, start)[0]
    theirs = reference.log_probabilities(ids, image)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_pixels_and_image_positions_move_the_answer(references, untied, make_image):
    # Without this the parity tests above would prove little.
    reference, grid = references["untied"], (3, 5)
    image = make_image(3, 84, 140)
    ids = sequence(untied, grid)
    seen = reference.log_probabilities(ids, image)[-1]
    blank = reference.log_probabilities(ids, np.zeros_like(image))[-1]
    assert np.abs(seen - blank).max() > 0.1
    inputs = reference.inputs(ids, image)
    del inputs["mm_token_type_ids"]
    with torch.inference_mode():
        flat = torch.log_softmax(reference.model(**inputs).logits[0, -1], dim=-1).numpy()
    assert np.abs(seen - flat).max() > 0.1


@pytest.mark.parametrize("name", ["untied", "tied"])
def test_generated_tokens_equal_pytorch(name, models, references, untied, make_image):
    model, reference, grid = models[name], references[name], (3, 5)
    image = make_image(4, 84, 140)
    ids = sequence(untied, grid, text="")
    length, never = np.int32(len(ids)), np.array([-2])
    patches, layout, positions, start = prepare(model, reference, ids, image)
    theirs = reference.generate(ids, image, 32, stop=False)
    assert len(theirs) == 32
    ours = answer(model, ids, patches, layout, positions, start, length, never)
    np.testing.assert_array_equal(ours, theirs)

    padded, there = np.pad(ids, (0, 7)), np.pad(positions, ((0, 0), (0, 7)))
    ours = answer(model, padded, patches, layout, there, start, length, never)
    np.testing.assert_array_equal(ours, theirs)


def test_generation_stops_at_an_end_token(models, references, untied, make_image):
    model, reference, grid = models["untied"], references["untied"], (3, 5)
    image = make_image(5, 84, 140)
    ids = sequence(untied, grid, text="")
    theirs = reference.generate(ids, image, 8, stop=False)
    length, ends = np.int32(len(ids)), theirs[3:4]
    first = int(np.flatnonzero(theirs == ends)[0])
    ours = answer(model, ids, *prepare(model, reference, ids, image), length, ends)
    np.testing.assert_array_equal(ours[: first + 1], theirs[: first + 1])
    assert np.all(np.asarray(ours[first + 1 :]) == -1)


def test_last_layer_at_target_rows_equals_the_full_path(models, references, untied, make_image):
    model, reference, grid = models["untied"], references["untied"], (3, 5)
    image = make_image(6, 84, 140)
    ids = sequence(untied, grid)
    arguments = prepare(model, reference, ids, image)
    rows = np.array([len(ids) - 6, len(ids) - 3, len(ids) - 2])
    targets = ids[rows + 1]
    whole = hidden_states(model, ids, *arguments)
    some = hidden_states(model, ids, *arguments, rows=jnp.asarray(rows))
    np.testing.assert_allclose(some, whole[:, rows], rtol=1e-5, atol=1e-5)
    scores = model.log_probabilities(some, jnp.asarray(targets))[0]
    theirs = reference.log_probabilities(ids, image)[rows, targets]
    np.testing.assert_allclose(scores, theirs, rtol=1e-4, atol=1e-5)


def test_a_batch_of_images_equals_one_at_a_time(models, references, untied, make_image):
    model, reference, grid = models["tied"], references["tied"], (3, 5)
    ids = sequence(untied, grid)
    images = [make_image(seed, 84, 140) for seed in (7, 8)]
    patches = np.concatenate([one_frame(reference, image)[0] for image in images])
    _, layout, positions, start = prepare(model, reference, ids, images[0])
    together = log_probabilities(model, ids, patches, layout, positions, start)
    for image, ours in zip(images, together, strict=True):
        theirs = reference.log_probabilities(ids, image)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_key_layouts_and_shards_load_alike(tied, tmp_path):
    def make(layout, shards):
        folder = tmp_path / f"{layout}{shards}"
        tiny_checkpoints.make_qwen2_5_vl(folder, 4, tied=tied, layout=layout, shards=shards)
        return jax.tree.leaves(load(folder))

    first, *others = make("hub", 1), make("hub", 3), make("nested", 1), make("nested", 2)
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)
