"""The bundled demo model: as good as promised, equal in PyTorch, and explained by its masks."""

import json

import numpy as np
import pytest
import torch
from demo_accuracy import accuracies
from PIL import Image
from torch_reference import TorchReference

import eagle_jax
from eagle_jax import demo
from eagle_jax.demo.asking import see, yes_or_no
from eagle_jax.demo.questions import named, presence_question
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.inputs.answer import encode_answer
from eagle_jax.inputs.images import read_image
from eagle_jax.inputs.prompt import build_prompt


@pytest.fixture(scope="module")
def model():
    return eagle_jax.load("demo")


def test_held_out_scenes_are_answered_as_promised(model):
    found = accuracies(model, scenes=300, seed=50_000_000)
    # The measured accuracy is higher; 300 scenes leave a standard error of half a point.
    assert found["presence"] > 0.96
    assert found["colour"] > 0.96
    assert found["objects"] > 0.93


def test_the_default_picture_is_drawn_from_its_seed():
    np.testing.assert_array_equal(read_image(demo.IMAGE), draw_scene(demo.IMAGE_SEED).image)


def test_recorded_mistakes_are_mistakes(model):
    mistakes = json.loads(demo.MISTAKES.read_text())
    assert len(mistakes["wrong_yes"]) >= 40 and len(mistakes["wrong_no"]) >= 40
    for entry in mistakes["wrong_yes"][:8] + mistakes["wrong_no"][:8]:
        scene = draw_scene(entry["seed"])
        kinds = [kind for _, kind in named(scene)]
        assert entry["label"] == ("Yes" if entry["kind"] in kinds else "No")
        assert entry["question"] == presence_question(entry["kind"])
        visual = see(model, scene.image)
        (said,), (chance,) = yes_or_no(model, visual, [entry["question"]])
        assert said == entry["answer"] != entry["label"]
        assert chance == pytest.approx(entry["probability_yes"], abs=1e-3)


@torch.inference_mode()
def test_pytorch_gives_the_same_log_probabilities(model):
    reference = TorchReference(demo.CHECKPOINT)
    network = model.network
    image = read_image(demo.IMAGE)
    prompt = build_prompt(model.tokenizer, demo.PROMPT, 36, network.config.image_token_id)
    answer = encode_answer(model.tokenizer, "The image shows a red car and a blue cat.")
    ids = np.concatenate([prompt, answer])
    case = eagle_jax.ask(model, image, demo.PROMPT, answer=answer, regions="grid:1x1")
    ours = np.log(case.scorer(np.ones((1, 1), bool))[0])
    theirs = reference.log_probabilities(ids, image)
    rows = len(prompt) - 1 + np.arange(len(answer))
    np.testing.assert_allclose(ours, theirs[rows, answer], rtol=1e-4, atol=1e-5)


def test_the_first_region_of_a_word_lies_on_its_object(model):
    hits = 0
    scenes = [draw_scene(seed) for seed in range(60_000_000, 60_000_012)]
    for scene in scenes:
        item = max(scene.objects, key=lambda item: item.mask.sum())
        attribution = eagle_jax.explain(
            model,
            Image.fromarray(scene.image),
            f"What colour is the {item.kind}?",
            answer=f"The {item.kind} is {item.colour}.",
            target=item.colour,
            regions="grid:4x4",
        )
        hits += bool(item.mask[attribution.labels == attribution.order[0]].any())
    assert hits >= 10


def test_a_hidden_picture_leaves_the_sentence_and_takes_the_content(model):
    scene = draw_scene(demo.IMAGE_SEED)
    item = scene.objects[0]
    scorer = eagle_jax.ask(
        model,
        scene.image,
        f"What colour is the {item.kind}?",
        answer=f"The {item.kind} is {item.colour}.",
        regions="grid:1x1",
    ).scorer
    blank, full = scorer(np.array([[False], [True]]))
    words = [token.strip() for token in scorer.tokens]
    frame = [words.index("The"), words.index("is"), words.index(".")]
    colour = words.index(item.colour)
    assert (blank[frame] > 0.9).all()
    assert full[colour] > 0.9 and blank[colour] < 0.5
