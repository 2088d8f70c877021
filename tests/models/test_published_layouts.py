"""Folders of other versions and programs: token ids, pixels and scores as in transformers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import published_layouts
import pytest
import torch
from PIL import Image
from published_layouts import CASES
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

import eagle_jax
from eagle_jax.inputs.patches import masked_patches, plan_image

PROMPT = "Is there a cat in the image? Yes, a red car."
ANSWER = " There is a cat."
VISIBLE = np.array([[True] * 4, [True, False, False, True]])
# Every family and every layout once; all pairs in the slow tests.
_QUICK = {("transformers 4.37", "llava"), ("transformers 4.45", "qwen2-vl")}
_QUICK |= {("transformers 4.52", "internvl"), ("transformers 4.57", "qwen3-vl")}
_QUICK |= {("transformers 5", "qwen2.5-vl"), ("ms-swift", "llava"), ("Unsloth", "qwen2.5-vl")}
_QUICK |= {("LLaMA-Factory", "qwen3-vl"), ("PEFT", "internvl")}
_patches = jax.jit(masked_patches)


def marked(layout, family):
    marks = () if (layout, family) in _QUICK else pytest.mark.slow
    return pytest.param(layout, family, marks=marks, id=f"{layout}, {family}")


def processor_template(folder):
    """The chat template of transformers' processors: their own file before the tokenizer's."""
    if (folder / "chat_template.json").exists():
        return json.loads((folder / "chat_template.json").read_text())["chat_template"]
    return None


def their_ids(folder, family, tokens):
    """Ids of prompt and answer by the tokenizer of transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": parts}],
        chat_template=processor_template(folder),
        add_generation_prompt=True,
        tokenize=False,
    )
    mark = {"llava": "<image>", "internvl": "<IMG_CONTEXT>"}.get(family, "<|image_pad|>")
    image = mark * tokens
    if family == "internvl":
        image = f"<img>{image}</img>"
    assert text.count(mark) == 1
    prompt = tokenizer(text.replace(mark, image)).input_ids
    return prompt, tokenizer(ANSWER, add_special_tokens=False).input_ids


def cut(pixels, patch):
    """(tiles, 3, side, side) -> (p, 3 * patch**2), as in the patches of eagle-jax."""
    tiles, channels, height, width = pixels.shape
    pixels = pixels.reshape(tiles, channels, height // patch, patch, width // patch, patch)
    return pixels.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels * patch**2)


def their_pixels(folder, family, image):
    more = {"crop_to_patches": True} if family == "internvl" else {}
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor(images=[Image.fromarray(image)], return_tensors="pt", **more)


@torch.inference_mode()
def their_logs(network, pixels, ids, answer):
    whole = torch.tensor([ids + answer])
    inputs = dict(pixels)
    if "image_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (whole == network.config.image_token_id).int()
    logits = network(input_ids=whole, attention_mask=torch.ones_like(whole), **inputs).logits[
        0, len(ids) - 1 : -1
    ]
    logs = torch.log_softmax(logits.double(), -1)
    return logs[torch.arange(len(answer)), torch.tensor(answer)].numpy()


@pytest.mark.parametrize("layout, family", [marked(*case) for case in CASES])
def test_ids_pixels_and_scores_equal_transformers(layout, family, tmp_path, make_image):
    folder = published_layouts.make(layout, family, tmp_path / "model")
    image = make_image(3, 90, 150)
    model = eagle_jax.load(folder, dtype="float32")
    case = eagle_jax.ask(model, image, PROMPT, answer=ANSWER, regions="grid:2x2")
    scores = np.log(case.scorer(VISIBLE))

    folder = published_layouts.as_transformers_5_reads(folder, tmp_path / "theirs")
    network = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    image_token = model.network.config.image_token_id
    ids, answer = their_ids(folder, family, list(case.prompt_ids).count(image_token))
    assert list(case.prompt_ids) == ids
    assert list(case.answer_ids[: len(answer)]) == answer
    plan = plan_image(image, case.labels, model.image_settings)
    ours = np.asarray(_patches(plan, jnp.asarray(VISIBLE)))
    for row, patches, logs in zip(VISIBLE, ours, scores, strict=True):
        pixels = their_pixels(folder, family, image * row[case.labels][..., None])
        theirs = pixels["pixel_values"].numpy()
        if theirs.ndim == 2:  # of Qwen, with each frame twice
            theirs = theirs.reshape(len(theirs), 3, 2, -1)[:, :, 0].reshape(len(theirs), -1)
        else:
            theirs = cut(theirs, model.image_settings.patch_size)
        np.testing.assert_array_equal(patches, theirs)
        expected = their_logs(network, pixels, ids, answer)
        np.testing.assert_allclose(logs[: len(answer)], expected, rtol=1e-4, atol=2e-5)
