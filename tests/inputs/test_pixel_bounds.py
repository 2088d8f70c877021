"""Bounds of the number of pixels that an image of Qwen is resized to."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoints import make_qwen2_5_vl
from tiny_llava import make_llava

import eagle_jax
from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.results.manifest import Settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_qwen2_5_vl(tmp_path_factory.mktemp("qwen") / "model")


@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"max_pixels": 20_000},
        {"min_pixels": 100_000},
        # The largest number below the least: the checkpoint's is 3136.
        {"max_pixels": 10},
        {"max_pixels": 2000},
        {"max_pixels": 4000, "min_pixels": 50_000},
    ],
)
@pytest.mark.parametrize("size", [(300, 200), (40, 50), (31, 977), (13, 13), (56, 56)])
def test_bounds_are_those_of_the_published_processor(bounds, size, folder):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    model = eagle_jax.load(folder, **bounds)
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder, **bounds)
    grid = processor(Image.new("RGB", size))["image_grid_thw"][0][1:]
    settings = model.image_settings
    assert settings.grid(settings.frames(size[1], size[0])) == tuple(grid)


def test_a_question_has_bounds_of_its_own(folder):
    image = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    bounds, question = {"max_pixels": 4000}, {"answer": "Yes", "regions": "grid:2x2"}
    model, bounded = eagle_jax.load(folder), eagle_jax.load(folder, **bounds)
    asked = eagle_jax.ask(model, image, "A cat?", **question, **bounds)
    assert asked.model.image_settings == bounded.image_settings != model.image_settings
    expected = eagle_jax.explain(bounded, image, "A cat?", **question)
    found = eagle_jax.explain(model, image, "A cat?", **question, **bounds)
    np.testing.assert_array_equal(found.insertion, expected.insertion)
    np.testing.assert_array_equal(found.order, expected.order)
    with pytest.raises(InputError, match="max_pixels is part of a case already"):
        eagle_jax.explain(asked, **bounds)
    with pytest.raises(InputError, match="min_pixels is 0; it must be"):
        eagle_jax.ask(model, image, "A cat?", min_pixels=0)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_pixels": 0}, "max_pixels is 0; it must be"),
        ({"max_pixels": -5}, "max_pixels is -5"),
    ],
)
def test_bounds_that_cannot_be_used(bounds, message, folder):
    with pytest.raises(InputError, match=message):
        eagle_jax.load(folder, **bounds)


def test_other_families_have_no_such_bounds(tmp_path):
    with pytest.raises(InputError, match="only models of Qwen"):
        eagle_jax.load(make_llava(tmp_path / "model"), max_pixels=50_000)
    with pytest.raises(InputError, match="only models of Qwen"):
        eagle_jax.plan("llava-hf/llava-1.5-7b-hf", topology="h100", max_pixels=50_000)


def test_a_plan_has_fewer_tokens():
    plan = eagle_jax.plan(
        "Qwen/Qwen2.5-VL-3B-Instruct", image="4000x3000", topology="h100", max_pixels=200_704
    )
    assert plan.tokens[0] == 234


def test_a_run_uses_and_records_the_bounds(folder, tmp_path):
    Image.fromarray(np.full((90, 120, 3), 99, np.uint8)).save(tmp_path / "a.png")
    entry = {"image": "a.png", "prompt": "Is there a cat?", "answer": "Yes"}
    (tmp_path / "list.jsonl").write_text(json.dumps(entry) + "\n")
    command = [
        "run",
        f"{tmp_path}/list.jsonl",
        "--out",
        f"{tmp_path}/run",
        "--model",
        f"{folder}",
    ]
    command += ["--regions", "grid:2x2", "--search", "exact", "--max-pixels"]
    assert cli.main([*command, "4000"]) == 0
    assert cli.main([*command, "5000"]) == 2
    assert Settings().max_pixels is None
