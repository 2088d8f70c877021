import itertools

import numpy as np
import pytest
from small_tokenizer import TEMPLATE, save_small_tokenizer

from eagle_jax.errors import InputError
from eagle_jax.prompt import build_prompt, load_tokenizer, rope_positions


@pytest.fixture
def folder(tmp_path):
    save_small_tokenizer(tmp_path)
    return tmp_path


def image_id(tokenizer):
    return tokenizer.convert_tokens_to_ids("<|image_pad|>")


@pytest.fixture
def tokenizer(folder):
    return load_tokenizer(folder, 0)


def test_the_prompt_is_the_published_template(tokenizer):
    pad = image_id(tokenizer)
    ids = build_prompt(tokenizer, "What colour is the car? ", 6, pad)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|>" + 6 * "<|image_pad|>" + "<|vision_end|>"
        "What colour is the car? <|im_end|>\n<|im_start|>assistant\n"
    )
    names = tokenizer.convert_ids_to_tokens(ids)
    assert names[:3] == ["<|im_start|>", "system", "Ċ"]
    assert np.flatnonzero(ids == pad).tolist() == list(range(names.index("<|image_pad|>"), 21))


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_blank_prompt_is_refused(tokenizer, text):
    with pytest.raises(InputError, match="prompt is empty"):
        build_prompt(tokenizer, text, 4, image_id(tokenizer))


@pytest.mark.parametrize(
    "name", ["<|image_pad|>", "<|im_end|>", "<|im_start|>", "<|endoftext|>"]
)
def test_a_prompt_cannot_forge_special_tokens(tokenizer, name):
    with pytest.raises(InputError) as caught:
        build_prompt(tokenizer, f"Is there {name} a cat?", 4, image_id(tokenizer))
    assert name in str(caught.value)


def test_a_prompt_may_look_like_a_template(tokenizer):
    ids = build_prompt(tokenizer, "{{ 1 + 1 }} <|im_ |> {% raise %}", 4, image_id(tokenizer))
    assert "{{ 1 + 1 }} <|im_ |> {% raise %}<|im_end|>" in tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content + 'x' }}", "cannot show an image"),
        ("{{ messages[0].content[1].text }}", "0 times"),
        ("{{ raise_exception('only text') }}", "only text"),
        ("{% if %}", "cannot show an image"),
    ],
)
def test_a_template_without_a_place_for_the_image_is_refused(tokenizer, template, message):
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=message):
        build_prompt(tokenizer, "Is there a cat?", 4, image_id(tokenizer))


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match="no tokenizer"):
        load_tokenizer(tmp_path, 0)


def test_a_damaged_tokenizer_is_refused(folder):
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        load_tokenizer(folder, 0)


def test_the_chat_template_may_lie_with_the_processor(folder):
    import json

    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_tokenizer(folder, 0)
    (folder / "chat_template.json").write_text("{}")
    with pytest.raises(InputError, match="holds no chat_template"):
        load_tokenizer(folder, 0)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert load_tokenizer(folder, 0).chat_template == TEMPLATE


def test_an_image_token_beyond_the_vocabulary_is_refused(folder):
    with pytest.raises(InputError, match="image_token_id 151655 is not among them"):
        load_tokenizer(folder, 151655)


def test_rope_positions_example():
    ids = np.array([1, 1, 1, 1, 9, 9, 9, 9, 9, 9, 1, 1], np.int32)
    np.testing.assert_array_equal(
        rope_positions(ids, 2, 3, 9),
        [
            [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 7, 8],
            [0, 1, 2, 3, 4, 4, 4, 5, 5, 5, 7, 8],
            [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8],
        ],
    )


def test_rope_positions_equal_transformers():
    torch = pytest.importorskip("torch")
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "intermediate_size": 8,
            "vocab_size": 16,
        },
        vision_config={"hidden_size": 8, "depth": 1, "num_heads": 1, "intermediate_size": 8},
    )
    with torch.device("meta"):
        model = Qwen2_5_VLModel(config)
    grids = [(1, 1), (4, 4), (2, 7), (9, 3), (17, 23)]
    for (h, w), before, behind in itertools.product(grids, (0, 1, 15), (0, 1, 33)):
        ids = np.array([1] * before + [9] * h * w + [1] * behind, np.int32)
        expected, _ = model.get_rope_index(
            torch.from_numpy(ids)[None].long(),
            mm_token_type_ids=torch.from_numpy(ids == 9).int()[None],
            image_grid_thw=torch.tensor([[1, 2 * h, 2 * w]]),
        )
        np.testing.assert_array_equal(rope_positions(ids, h, w, 9), expected[:, 0])


@pytest.mark.parametrize("ids", [[1, 9, 9, 9, 1], [9, 9, 1, 9, 9], [9, 9, 9, 9, 1, 9], [1, 1]])
def test_rope_positions_refuse_another_number_of_image_tokens(ids):
    with pytest.raises(InputError, match="not one run of 2 x 2"):
        rope_positions(np.array(ids, np.int32), 2, 2, 9)
