"""How the demo model was made: its tokenizer, its packed conversations and its training."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from demo_training.blackout import draw_blackout, visible_fractions
from demo_training.checkpoint_files import hugging_face_config, write_text_side
from demo_training.packing import SLOTS, make_batch
from demo_training.presence import CONFUSABLE, draw_presence
from demo_training.scene_cache import draw_scenes, patch_labels
from demo_training.steps import accuracies, make_setup, make_steps
from demo_training.tokenizer import build_tokenizer
from flax import nnx
from train_demo import train

from eagle_jax.demo import CHECKPOINT
from eagle_jax.demo.asking import GRID, image_patches
from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.questions import (
    colour_answer,
    colour_question,
    named,
    presence_question,
)
from eagle_jax.demo.scenes import PARTNERS, draw_scene


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed) for seed in range(150)]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def tiny(tokenizer):
    config = hugging_face_config(tokenizer.convert_tokens_to_ids)
    config["text_config"] |= {"hidden_size": 32, "intermediate_size": 48}
    config["text_config"] |= {"num_hidden_layers": 2, "head_dim": 16}
    config["text_config"]["rope_parameters"] |= {"mrope_section": [2, 3, 3]}
    config["vision_config"] |= {"hidden_size": 32, "intermediate_size": 48, "depth": 2}
    config["vision_config"] |= {"fullatt_block_indexes": [1], "out_hidden_size": 32}
    return config


@pytest.fixture(scope="module")
def enrolled(tokenizer, tiny):
    """A setup and its train_state, not to be changed."""
    return make_setup(tokenizer, 0, tiny)


def test_presence_questions_are_balanced_and_often_hard(scenes):
    rng = np.random.default_rng(0)
    drawn = []
    for scene in scenes * 12:
        kind, present = draw_presence(named(scene), rng)
        kinds = {k for _, k in named(scene)}
        assert present == (kind in kinds)
        tempting = PARTNERS.get(kind) in kinds or CONFUSABLE[kind] in kinds
        drawn.append((present, tempting))
    drawn = np.asarray(drawn)
    assert abs(drawn[:, 0].mean() - 0.5) < 0.05
    assert drawn[~drawn[:, 0], 1].mean() > 0.4


def test_patch_labels_are_in_the_order_of_the_patches(scenes):
    scene = max(scenes, key=lambda scene: len(scene.objects))
    for item in scene.objects:
        picture = np.repeat(item.mask[..., None] * np.uint8(255), 3, axis=2)
        bright = np.asarray(image_patches(picture[None]))[0].mean(axis=1)
        labels = patch_labels(scene)[:, 0] == KINDS.index(item.kind) + 1
        assert bright[labels].min() > bright.min() + 0.3
        full = bright > bright.min() + 0.6 * (bright.max() - bright.min())
        assert labels[full].all()


def test_every_word_is_one_token_and_any_text_survives(tokenizer):
    for kind in KINDS:
        assert len(tokenizer.encode(presence_question(kind))) == 8
        assert len(tokenizer.encode(colour_question(kind))) == 6
        for colour in COLOURS:
            assert len(tokenizer.encode(colour_answer(kind, colour))) == 5
    for text in ("Grüße, 42 Käfer! \n\n  你好 🙂", "It's a red-hot <b>car</b>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_saved_tokenizer_renders_the_conversation(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    write_text_side(tmp_path, tokenizer.convert_tokens_to_ids)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    content = [{"type": "image"}, {"type": "text", "text": "Is there a cat in the image?"}]
    messages = [{"role": "user", "content": content}]
    rendered = loaded.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
        "Is there a cat in the image?<|im_end|>\n<|im_start|>assistant\n"
    )
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["text_config"]["vocab_size"] == len(loaded)
    for name in ("config", "preprocessor_config", "generation_config"):
        written, bundled = (
            json.loads((folder / f"{name}.json").read_text())
            for folder in (tmp_path, CHECKPOINT)
        )
        assert written == bundled


def test_a_packed_slot_is_a_conversation_of_its_own(tokenizer, enrolled):
    setup, train_state = enrolled
    packing = setup.packing
    batch = make_batch(
        packing, tokenizer, draw_scenes(5, 1), np.arange(1), np.random.default_rng(0)
    )
    model = nnx.merge(setup.graph, train_state.weights["model"])
    visual = jax.jit(model.visual_tokens)(image_patches(batch.images), setup.layout)
    start = jnp.asarray(packing.image_start)

    @jax.jit
    def read(ids, positions, rows, mask=None):
        return model.decoder.hidden_states(
            model.embed(ids, visual, start), positions, rows, mask
        )

    hidden = read(batch.ids[0], packing.positions, packing.rows, packing.mask)
    prefix = len(packing.prefix)
    offset = prefix
    compared = set()
    for sort, part in zip(SLOTS, packing.slots, strict=True):
        end = packing.rows[part][-1] + 1
        if sort not in compared:
            compared.add(sort)
            alone = np.concatenate([packing.prefix, batch.ids[0, offset:end]])
            rows = packing.rows[part] - offset + prefix
            expected = read(alone, model.positions(alone, GRID), rows)
            np.testing.assert_allclose(hidden[:, part], expected, rtol=1e-4, atol=1e-5)
        offset = end
    assert offset == packing.mask.shape[0]


def test_blackouts_reach_from_nothing_to_nearly_everything():
    shares = [draw_blackout(np.random.default_rng(seed)).mean() for seed in range(200)]
    assert 0.05 < np.mean(np.equal(shares, 0)) < 0.25
    assert min(shares) == 0 and max(shares) > 0.9 and 0.3 < np.mean(shares) < 0.6


def test_visible_fractions_are_in_the_order_of_the_patches():
    visible = np.zeros((168, 168), bool)
    visible[14:28, 28:35] = True  # the left half of the patch in row 1, column 2
    shares = visible_fractions(visible)
    assert shares[4 + 2] == 0.5 and shares.sum() == 0.5


def test_a_blackout_takes_objects_out_of_the_answers(tokenizer, enrolled):
    setup, _ = enrolled
    drawn = draw_scenes(5, 40)
    rng = np.random.default_rng(0)
    batch = make_batch(setup.packing, tokenizer, drawn, np.arange(40), rng, blackout=1.0)
    black = (batch.images == 0).all(axis=3)
    assert np.array_equal(batch.images[~black], drawn.images[~black])
    alike = black.mean(axis=(1, 2)) == 1
    assert alike.any()
    assert (batch.patches[alike] == 0).all()
    for sort, part in zip(SLOTS, setup.packing.slots, strict=True):
        answers = batch.targets[alike, part.start]
        if sort == "presence":
            assert (answers == tokenizer.encode("No")[0]).all()
        else:
            assert (batch.weights[alike, part] < 1).all()


@pytest.mark.slow
def test_training_steps_lower_the_loss(tokenizer, enrolled):
    setup, train_state = enrolled
    train_state = jax.tree.map(jnp.copy, train_state)  # training steps overwrite theirs
    vision_step, full_step, best_tokens = make_steps(setup)
    rng = np.random.default_rng(0)
    batch = make_batch(setup.packing, tokenizer, draw_scenes(0, 4), np.arange(4), rng)
    losses = []
    for _ in range(12):
        train_state, loss = vision_step(train_state, batch, 3e-3)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    losses = []
    for _ in range(40):
        train_state, loss = full_step(train_state, batch, 1e-2, 0.5)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    found = accuracies(best_tokens, train_state.weights, [batch], setup.packing)
    assert set(found) == set(SLOTS) and all(0 <= value <= 1 for value in found.values())
    assert np.isfinite([leaf.sum() for leaf in jax.tree.leaves(train_state.weights)]).all()


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(tiny, tmp_path):
    settings = {"scenes": 40, "batch_size": 4, "config": tiny}

    def logged():
        return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    train(tmp_path, steps=3, **settings)
    train(tmp_path, steps=6, **settings)
    first, *_, last = logged()
    assert (first["step"], last["step"]) == (3, 6) and last["minutes"] > first["minutes"]
    written = len(logged())
    train(tmp_path, steps=6, **settings)
    assert len(logged()) == written
