"""Builds the demo model's tokenizer and writes its files, in Hugging Face layout."""

import json
from pathlib import Path

from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.questions import (
    CAPTION_PROMPT,
    caption,
    colour_answer,
    colour_question,
    presence_question,
)

PAD_TOKEN, END_TOKEN, IMAGE_TOKEN = "<|endoftext|>", "<|im_end|>", "<|image_pad|>"
SPECIAL_TOKENS = (
    PAD_TOKEN,
    "<|im_start|>",
    END_TOKEN,
    "<|vision_start|>",
    "<|vision_end|>",
    IMAGE_TOKEN,
)
"""The special tokens of Qwen2-VL that the demo model knows, in the order of their ids."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- else -%}
{{ part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""

# How Qwen2 cuts text into words: each with the blank before it.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus() -> list[str]:
    """Every sentence frame of the demo world, with every kind and colour in its place."""
    lines = ["user\n", "assistant\n", "system\n", "Yes", "No", CAPTION_PROMPT]
    lines += ["Describe this picture.", "What does the image show? Please answer yes or no."]
    for kind in KINDS:
        question = presence_question(kind)
        lines += [question, question.replace("image", "picture"), f"{kind} and {kind}s"]
        for colour in COLOURS:
            lines += [caption([(colour, kind)] * 3), colour_answer(kind, colour)]
        lines += [colour_question(kind), colour_question(kind).replace("colour", "color")]
    return lines


def build_tokenizer():
    """Trains the byte-level BPE tokenizer: each word of the demo world is one token.

    Returns:
      A `transformers.Qwen2Tokenizer`; any other text still encodes, byte by byte.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import Qwen2Tokenizer

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=1000,
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    trained = json.loads(bpe.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],  # pyright: ignore[reportArgumentType]
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        additional_special_tokens=list(SPECIAL_TOKENS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=4096,
    )


def save_tokenizer(folder: Path) -> None:
    """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    build_tokenizer().save_pretrained(folder)
