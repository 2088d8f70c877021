"""Weights and scores that are not finite: what is named, and what goes on."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_checkpoints import make_qwen2_5_vl

import eagle_jax
from eagle_jax import cli
from eagle_jax.errors import InputError

PROMPT = "Is there a cat?"


def rewrite(folder, name, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors[name])
    save_file(tensors, path, {"format": "pt"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose weights are finite, while white pixels overflow and black ones do not."""
    folder = make_qwen2_5_vl(tmp_path_factory.mktemp("overflow") / "model", seed=1)
    rewrite(folder, "visual.patch_embed.proj.weight", lambda x: x.fill_(1e38))
    path = folder / "preprocessor_config.json"
    plain = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    path.write_text(json.dumps(json.loads(path.read_text()) | plain))
    return folder


def test_a_score_that_is_not_finite_is_named(folder):
    model = eagle_jax.load(folder)
    white = np.full((56, 56, 3), 255, np.uint8)
    for method in ("eagle", "llava-cam"):
        with pytest.raises(InputError, match="probabilities for this image are not finite"):
            eagle_jax.explain(
                model, white, PROMPT, answer="Yes", regions="grid:2x2", method=method
            )
    black = eagle_jax.explain(model, 0 * white, PROMPT, answer="Yes", regions="grid:2x2")
    assert np.isfinite(black.insertion).all()


def test_it_fails_its_item_and_not_the_images_searched_beside_it(folder, tmp_path, capsys):
    for number, value in enumerate((0, 255, 0)):
        Image.new("RGB", (56, 56), (value,) * 3).save(tmp_path / f"{number}.png")
    lines = [{"image": f"{i}.png", "prompt": PROMPT, "answer": "Yes"} for i in range(3)]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    command = ["run", str(path), "--model", str(folder), "--out", str(tmp_path / "run")]
    assert cli.main([*command, "--regions", "grid:2x2"]) == 1
    said = capsys.readouterr()
    assert "2 of 3" in said.out + said.err
    (failed,) = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert "line 2" in failed and "not finite" in failed


@pytest.mark.parametrize("command", ["explain", "run"])
def test_weights_that_are_not_finite_end_the_command_with_their_name(command, tmp_path, capsys):
    folder = make_qwen2_5_vl(tmp_path / "model")
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(folder, name, lambda x: x[3].fill_(torch.nan))
    image = tmp_path / "a.png"
    Image.new("RGB", (56, 56)).save(image)
    item = {"image": "a.png", "prompt": PROMPT}
    (tmp_path / "list.jsonl").write_text(json.dumps(item))
    given = [str(image), "--prompt", PROMPT] if command == "explain" else []
    given = given or [str(tmp_path / "list.jsonl")]
    out = ["--model", str(folder), "--out", str(tmp_path / "out")]
    assert cli.main([command, *given, *out]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{name} in" in said and "not finite" in said
