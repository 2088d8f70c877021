"""The demo world: its scenes, its questions, its tokenizer and its training."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eagle_jax.demo.blackout import draw_blackout, visible_shares
from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.export import hugging_face_config, write_text_side
from eagle_jax.demo.lessons import SLOTS, image_patches, make_batch
from eagle_jax.demo.questions import (
    caption,
    colour_answer,
    colour_question,
    draw_presence,
    named,
    presence_question,
    read_caption,
)
from eagle_jax.demo.scene_cache import draw_scenes, patch_labels
from eagle_jax.demo.scenes import CONFUSABLE, PARTNER_RATE, PARTNERS, draw_scene
from eagle_jax.demo.tokenizer import build_tokenizer
from eagle_jax.demo.train import accuracies, make_school, make_steps, train


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
    """A school and its learner, not to be changed."""
    return make_school(tokenizer, 0, tiny)


def test_a_seed_draws_the_same_scene_every_time(scenes):
    for seed in (0, 7, 149):
        again, once = draw_scene(seed), scenes[seed]
        np.testing.assert_array_equal(again.image, once.image)
        for one, other in zip(again.objects, once.objects, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            assert (one.kind, one.colour, one.box) == (other.kind, other.colour, other.box)
    assert not np.array_equal(scenes[0].image, scenes[1].image)


def test_masks_are_disjoint_and_boxes_fit_them(scenes):
    for scene in scenes:
        assert 1 <= len(scene.objects) <= 4
        assert sum(item.mask.astype(int) for item in scene.objects).max() == 1
        for item in scene.objects:
            x0, y0, x1, y1 = item.box
            assert item.mask[y0:y1, x0:x1].sum() == item.mask.sum() >= 60
            assert item.mask[y0].any() and item.mask[y1 - 1].any()
            assert item.mask[:, x0].any() and item.mask[:, x1 - 1].any()


def test_masks_lie_on_the_colour_of_their_object(scenes):
    for scene in scenes:
        for item in scene.objects:
            if not item.faint:
                distance = np.abs(scene.image.astype(int) - COLOURS[item.colour]).max(axis=-1)
                inside = (distance < 30)[item.mask].mean()
                x0, y0, x1, y1 = item.box
                nobody = ~np.any([other.mask for other in scene.objects], axis=0)
                nobody &= distance < 30
                assert inside > 0.12, (scene.seed, item.kind)
                assert nobody[y0:y1, x0:x1].mean() < inside, (scene.seed, item.kind)


def test_objects_are_distinct_and_run_from_left_to_right(scenes):
    for scene in scenes:
        kinds = [item.kind for item in scene.objects]
        assert len(set(kinds)) == len(kinds) and set(kinds) <= set(KINDS)
        centres = [item.box[0] + item.box[2] for item in scene.objects]
        assert centres == sorted(centres)


def test_some_objects_are_weak_and_most_are_clear(scenes):
    items = [item for scene in scenes for item in scene.objects]
    for flag in ("faint", "hidden", "small"):
        assert 0.015 < np.mean([getattr(item, flag) for item in items]) < 0.12
    assert 0.06 < np.mean([i.faint or i.hidden or i.small for i in items]) < 0.2


def test_planted_pairs_occur_together_as_often_as_planned(scenes):
    either = both = 0
    for scene in scenes:
        kinds = {item.kind for item in scene.objects}
        for kind in kinds & PARTNERS.keys():
            paired = PARTNERS[kind] in kinds
            # A pair in the scene is met twice, from both its ends.
            both += paired / 2
            either += 1 / 2 if paired else 1
    assert abs(both / either - PARTNER_RATE) < 0.1


def test_a_caption_can_be_read_back(scenes):
    assert caption([("orange", "cat")]) == "The image shows an orange cat."
    for scene in scenes:
        assert read_caption(caption(named(scene))) == named(scene)


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


def test_a_slot_of_a_lesson_is_a_conversation_of_its_own(tokenizer, enrolled):
    school, learner = enrolled
    lesson = school.lesson
    batch = make_batch(
        lesson, tokenizer, draw_scenes(5, 1), np.arange(1), np.random.default_rng(0)
    )
    model = nnx.merge(school.graph, learner.weights["model"])
    visual = jax.jit(model.visual_tokens)(image_patches(batch.images), school.layout)
    start = jnp.asarray(lesson.image_start)

    @jax.jit
    def read(ids, positions, rows, mask=None):
        return model.decoder.hidden_states(
            model.embed(ids, visual, start), positions, rows, mask
        )

    hidden = read(batch.ids[0], lesson.positions, lesson.rows, lesson.mask)
    prefix = len(lesson.prefix)
    offset = prefix
    compared = set()
    for sort, part in zip(SLOTS, lesson.slots, strict=True):
        end = lesson.rows[part][-1] + 1
        if sort not in compared:
            compared.add(sort)
            alone = np.concatenate([lesson.prefix, batch.ids[0, offset:end]])
            rows = lesson.rows[part] - offset + prefix
            expected = read(alone, model.positions(alone, (12, 12)), rows)
            np.testing.assert_allclose(hidden[:, part], expected, rtol=1e-4, atol=1e-5)
        offset = end
    assert offset == lesson.mask.shape[0]


def test_blackouts_reach_from_nothing_to_nearly_everything():
    shares = [draw_blackout(np.random.default_rng(seed)).mean() for seed in range(200)]
    assert 0.05 < np.mean(np.equal(shares, 0)) < 0.25
    assert min(shares) == 0 and max(shares) > 0.9 and 0.3 < np.mean(shares) < 0.6


def test_visible_shares_are_in_the_order_of_the_patches():
    visible = np.zeros((168, 168), bool)
    visible[14:28, 28:35] = True  # the left half of the patch in row 1, column 2
    shares = visible_shares(visible)
    assert shares[4 + 2] == 0.5 and shares.sum() == 0.5


def test_a_blackout_takes_objects_out_of_the_answers(tokenizer, enrolled):
    school, _ = enrolled
    drawn = draw_scenes(5, 40)
    rng = np.random.default_rng(0)
    batch = make_batch(school.lesson, tokenizer, drawn, np.arange(40), rng, blackout=1.0)
    black = (batch.images == 0).all(axis=3)
    assert np.array_equal(batch.images[~black], drawn.images[~black])
    alike = black.mean(axis=(1, 2)) == 1
    assert alike.any()
    assert (batch.patches[alike] == 0).all()
    for sort, part in zip(SLOTS, school.lesson.slots, strict=True):
        answers = batch.targets[alike, part.start]
        if sort == "presence":
            assert (answers == tokenizer.encode("No")[0]).all()
        else:
            assert (batch.weights[alike, part] < 1).all()


@pytest.mark.slow
def test_training_steps_lower_the_loss(tokenizer, enrolled):
    school, learner = enrolled
    learner = jax.tree.map(jnp.copy, learner)  # training steps overwrite theirs
    vision_step, full_step, best_tokens = make_steps(school)
    rng = np.random.default_rng(0)
    batch = make_batch(school.lesson, tokenizer, draw_scenes(0, 4), np.arange(4), rng)
    losses = []
    for _ in range(12):
        learner, loss = vision_step(learner, batch, 3e-3)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    losses = []
    for _ in range(40):
        learner, loss = full_step(learner, batch, 1e-2, 0.5)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    shares = accuracies(np.asarray(best_tokens(learner.weights, batch)), batch, school.lesson)
    assert set(shares) == set(SLOTS) and all(0 <= share <= 1 for share in shares.values())
    assert np.isfinite([leaf.sum() for leaf in jax.tree.leaves(learner.weights)]).all()


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("eagle_jax.demo.train.BATCH", 4)

    def logged():
        return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    train(tmp_path, steps=3, scenes=40, config=tiny)
    train(tmp_path, steps=6, scenes=40, config=tiny)
    first, *_, last = logged()
    assert (first["step"], last["step"]) == (3, 6) and last["minutes"] > first["minutes"]
    written = len(logged())
    train(tmp_path, steps=6, scenes=40, config=tiny)
    assert len(logged()) == written
