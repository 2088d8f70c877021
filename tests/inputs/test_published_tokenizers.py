"""Tokenizers as they are published, which transformers builds anew from what it finds."""

import io
import json

import numpy as np
import pytest
import tiny_folder
import tiny_internvl
import tiny_llava
from PIL import Image
from transformers import AutoTokenizer, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import (
    decode_answer,
    encode_answer,
    find_target,
    find_target_ids,
    token_texts,
)
from eagle_jax.inputs.prompt import (
    build_prompt,
    load_tokenizer,
    require_image_marks,
    special_ids,
)

PROMPT = "Is there a cat in the image?\n Answer  Yes or No."
ANSWERS = ("There is a cat in the image.", "No", "A catalogue, not a cat.", "Is it 7?\nNo")


def edit(folder, drop=(), **changes):
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if k not in drop}))
    return folder


def added(content):
    return {"content": content, "special": True} | dict.fromkeys(
        ("lstrip", "rstrip", "normalized", "single_word"), False
    )


def llama_class(folder, **fields):
    """The class of the published folder, which drops the normaliser of tokenizer.json."""
    return edit(folder, ["backend"], **fields)


def sentencepiece_alone(folder, **fields):
    """tokenizer.model alone, with the added tokens where transformers 4 kept them."""
    spm = pytest.importorskip("sentencepiece")
    content = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny_folder.CORPUS * 20),
        model_writer=content,
        model_type="bpe",
        vocab_size=300,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(content.getvalue())
    names = {0: "<unk>", 1: "<s>", 2: "</s>", 300: "<image>", 301: "<pad>"}
    tokens = {str(i): added(name) for i, name in names.items()}
    return llama_class(folder, added_tokens_decoder=tokens, **fields)


LLAMA = {"tokenizer_class": "LlamaTokenizer"}
FAST = {"tokenizer_class": "LlamaTokenizerFast"}
VARIANTS = {
    "as transformers 5 saves it": lambda folder: folder,
    "Llama": lambda folder: llama_class(folder, **LLAMA),
    "Llama, fast": lambda folder: llama_class(folder, **FAST, add_bos_token=True),
    "Llama, legacy": lambda folder: llama_class(folder, **LLAMA | {"legacy": True}),
    "Llama, not legacy": lambda folder: llama_class(folder, **LLAMA | {"legacy": False}),
    "sentencepiece": lambda folder: sentencepiece_alone(folder, **LLAMA),
    "sentencepiece, legacy": lambda folder: sentencepiece_alone(
        folder, **LLAMA | {"legacy": True, "add_bos_token": True}
    ),
    "sentencepiece, fast": lambda folder: sentencepiece_alone(folder, **FAST),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_form_of_llavas_tokenizer_reads_as_in_transformers(variant, tmp_path):
    folder = VARIANTS[variant](tiny_llava.make_llava(tmp_path / "model"))
    theirs = AutoTokenizer.from_pretrained(folder)
    image_id = theirs.convert_tokens_to_ids("<image>")
    assert image_id == tiny_llava.IMAGE_TOKEN
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil.from_pretrained(folder),
        tokenizer=theirs,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    parts = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        chat_template=theirs.chat_template,
        add_generation_prompt=True,
        tokenize=False,
    )
    image = Image.fromarray(np.zeros((56, 56, 3), np.uint8))
    expected = processor(images=image, text=text)["input_ids"][0]

    tokenizer = load_tokenizer(folder, image_id)
    np.testing.assert_array_equal(build_prompt(tokenizer, PROMPT, 16, image_id), expected)
    for answer in ANSWERS:
        ids = encode_answer(tokenizer, answer)
        assert ids.tolist()[:-1] == theirs(answer, add_special_tokens=False).input_ids
        assert decode_answer(tokenizer, ids) == theirs.decode(ids[:-1].tolist())
        texts = token_texts(tokenizer, ids)
        if "\N{REPLACEMENT CHARACTER}" not in "".join(texts):
            assert "".join(texts[:-1]).strip() == theirs.decode(ids[:-1].tolist()).strip()
    ids = encode_answer(tokenizer, ANSWERS[0])
    place = find_target(tokenizer, ids, "a cat")
    assert theirs.decode(ids[place].tolist()).strip() == "a cat"
    answered = theirs(f"{text} the").input_ids
    (token,) = find_target_ids(tokenizer, ids, np.array([0], np.int32), "the")
    assert token == answered[len(theirs(text).input_ids)]


def test_a_damaged_sentencepiece_model_is_named(tmp_path):
    folder = sentencepiece_alone(tiny_llava.make_llava(tmp_path / "model"), **LLAMA)
    path = folder / "tokenizer.model"
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 50)
    with pytest.raises(InputError, match="tokenizer.model is damaged or no sentencepiece"):
        load_tokenizer(folder, tiny_llava.IMAGE_TOKEN)


MARKS = tiny_internvl.MARKS
NAMED = {"additional_special_tokens": list(tiny_internvl.SPECIAL_TOKENS)}


@pytest.mark.parametrize(
    "fields",
    [
        NAMED | {"extra_special_tokens": MARKS},
        NAMED | {"extra_special_tokens": MARKS, **MARKS},
        {"extra_special_tokens": MARKS},
        NAMED | {"extra_special_tokens": {}, **MARKS},
        {"extra_special_tokens": list(MARKS.values()), **MARKS},
    ],
    ids=["both", "all three", "a dictionary", "an empty dictionary", "a list"],
)
def test_extra_tokens_are_special_wherever_they_are_named(fields, tmp_path):
    folder = tiny_internvl.make_internvl(tmp_path / "model")
    edit(folder, ["extra_special_tokens", *MARKS])
    edit(folder, ["backend"], tokenizer_class="Qwen2Tokenizer", **fields)
    theirs = AutoTokenizer.from_pretrained(folder)
    image_id = theirs.convert_tokens_to_ids("<IMG_CONTEXT>")
    tokenizer = load_tokenizer(folder, image_id)
    require_image_marks(tokenizer, folder)
    names = tiny_internvl.SPECIAL_TOKENS
    assert set(theirs.convert_tokens_to_ids(list(names))) <= special_ids(tokenizer)
    text = f"<|im_start|>user\n<img>{'<IMG_CONTEXT>' * 4}</img>\n{PROMPT}<|im_end|>\n"
    expected = theirs(f"{text}<|im_start|>assistant\n").input_ids
    assert build_prompt(tokenizer, PROMPT, 4, image_id).tolist() == expected
    for name in names:
        with pytest.raises(InputError, match="contains the special token"):
            build_prompt(tokenizer, f"Is {name} there?", 4, image_id)


def test_a_list_of_extra_tokens_names_no_marks(tmp_path):
    folder = tiny_internvl.make_internvl(tmp_path / "model")
    edit(folder, [*MARKS], extra_special_tokens=list(MARKS.values()))
    tokenizer = load_tokenizer(folder, 0)
    with pytest.raises(InputError, match="names no start_image_token.* extra_special_tokens"):
        require_image_marks(tokenizer, folder)
