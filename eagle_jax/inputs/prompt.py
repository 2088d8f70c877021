"""The prompt as token ids, with the visual tokens of the image."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from eagle_jax.errors import InputError, reason

Tokenizer = Any  # transformers' PreTrainedTokenizerFast, imported when one is loaded


def load_tokenizer(folder: str | Path, image_token_id: int) -> Tokenizer:
    """Loads the tokenizer of a Hugging Face folder, from local files only.

    Args:
      folder: the checkpoint folder.
      image_token_id: id of the image placeholder, from config.json.

    Returns:
      A tokenizer of transformers, with a chat template.

    Raises:
      InputError: the tokenizer, its chat template or the image token is missing, or a setting
        of the tokenizer is invalid.
    """
    from transformers import AutoTokenizer
    from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

    folder = Path(folder)
    names = ("tokenizer.json", "vocab.json", "tokenizer.model")
    if not any((folder / name).is_file() for name in names):
        raise InputError(f"{folder} has no tokenizer; it needs one of {', '.join(names)}")
    _require_sentencepiece(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exception on a damaged file
        raise InputError(
            f"the tokenizer in {folder} cannot be read: {reason(error, 200)}"
        ) from error
    length = tokenizer.model_max_length
    if isinstance(length, bool) or not isinstance(length, int | float):
        raise InputError(
            f"{folder / 'tokenizer_config.json'}: model_max_length is {length!r}; it must be "
            "a number"
        )
    # `require_context` checks the length against the model's own limit, while transformers
    # would warn about texts that are short enough.
    tokenizer.model_max_length = VERY_LARGE_INTEGER
    tokenizer.chat_template = _chat_template(folder, tokenizer, image_token_id)
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer in {folder} has no eos_token to end an answer with")
    if not 0 <= image_token_id < len(tokenizer):
        raise InputError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, so the image_token_id "
            f"{image_token_id} in config.json is not a token"
        )
    return tokenizer


def build_prompt(
    tokenizer: Tokenizer, text: str, image_tokens: int, image_token_id: int
) -> Int[np.ndarray, " s"]:
    """Token ids of a conversation that shows one image, asks `text` and opens the answer.

    The text is not changed; its outer blanks are tokens, too. Text that contains a special
    token is refused, because the token would change the structure of the conversation. If the
    tokenizer names start and end tokens of an image, as InternVL's does, they are put around
    the image.

    Args:
      tokenizer: the model's tokenizer, from `load_tokenizer`.
      text: the question or instruction.
      image_tokens: number of visual tokens, as often as the placeholder is repeated.
      image_token_id: id of the image placeholder.

    Returns:
      int32 (s,) token ids, which the answer's first token follows.

    Raises:
      InputError: the prompt is blank or contains a special token, or the chat template has no
        place for exactly one image.
    """
    if not text.strip():
        raise InputError("the prompt is empty; ask something about the image")
    ids = _render(tokenizer, text)
    specials = special_ids(tokenizer) | {image_token_id}
    structure = [i for i in ids if i in specials]
    expected = [i for i in _render(tokenizer, "x") if i in specials]
    if structure != expected:
        added = [i for i in structure if structure.count(i) > expected.count(i)]
        name = tokenizer.convert_ids_to_tokens((added or structure)[0])
        raise InputError(f"the prompt contains the special token {name}; remove it")
    if ids.count(image_token_id) != 1:
        name = tokenizer.convert_ids_to_tokens(image_token_id)
        raise InputError(
            f"the tokenizer's chat template writes the image token {name} "
            f"{ids.count(image_token_id)} times for one image, not once; correct the template"
        )
    place = ids.index(image_token_id)
    image = [image_token_id] * image_tokens
    start, end = _image_marks(tokenizer)
    if start is not None and end is not None:
        image = [start, *image, end]
    return np.array(ids[:place] + image + ids[place + 1 :], np.int32)


def require_image_marks(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Refuses a tokenizer that does not name the tokens around an image.

    Args:
      tokenizer: the model's tokenizer.
      folder: the checkpoint folder, for the message.

    Raises:
      InputError: the tokenizer has no start_image_token or no end_image_token.
    """
    for side, mark in zip(("start", "end"), _image_marks(tokenizer), strict=True):
        if mark is None or mark == tokenizer.unk_token_id:
            raise InputError(
                f"the tokenizer in {folder} names no {side}_image_token, which this model "
                "family needs; add it to extra_special_tokens in tokenizer_config.json"
            )


def _image_marks(tokenizer: Tokenizer) -> tuple[int | None, int | None]:
    start = getattr(tokenizer, "start_image_token_id", None)
    return start, getattr(tokenizer, "end_image_token_id", None)


def require_context(tokens: int, image_tokens: int, context: int) -> None:
    """Refuses a sequence that is longer than the model can read.

    Args:
      tokens: number of tokens in the sequence, including image and answer.
      image_tokens: number of visual tokens among them.
      context: maximum number of tokens that the model can read.

    Raises:
      InputError: the sequence is longer than `context`.
    """
    if tokens > context:
        raise InputError(
            f"the sequence has {tokens} tokens, {image_tokens} of them for the image, but the "
            f"model reads at most {context} (max_position_embeddings in its config.json); "
            "use a smaller image or a shorter text"
        )


def special_ids(tokenizer: Tokenizer) -> set[int]:
    """Ids of the tokens that structure a conversation, which plain text must not contain."""
    added = tokenizer.added_tokens_decoder.items()
    return {i for i, token in added if token.special} | set(tokenizer.all_special_ids)


def _render(tokenizer: Tokenizer, text: str, template: str | None = None) -> list[int]:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    try:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template,
            add_generation_prompt=True,
            tokenize=False,
        )
    except Exception as error:  # a template is code and may raise any error
        raise InputError(
            "the tokenizer's chat template cannot show an image with a text: "
            f"{reason(error, 120)}; take chat_template.jinja from the original checkpoint"
        ) from error
    first = tokenizer.bos_token
    missing = bool(first) and not rendered.startswith(first)
    return tokenizer(rendered, add_special_tokens=missing).input_ids


def _chat_template(folder: Path, tokenizer: Tokenizer, image_token_id: int) -> str:
    """The first template that shows one image; the processor's come first, as in transformers.

    Fine-tuned folders often have a template for text alone with the tokenizer.
    """
    places = (
        (folder / "processor_config.json", _stored(folder / "processor_config.json")),
        (folder / "chat_template.json", _stored(folder / "chat_template.json")),
        (folder / "tokenizer_config.json", tokenizer.chat_template),
    )
    given = [(path, _default(value)) for path, value in places if value is not None]
    templates = [template for _, template in given if template is not None]
    for template in templates[1:] and templates:
        try:
            if _render(tokenizer, "x", template).count(image_token_id) == 1:
                return template
        except InputError:
            continue
    if templates:
        return templates[0]
    if given:
        path, value = given[0][0], dict(places)[given[0][0]]
        names = ", ".join(map(str, value)) if isinstance(value, dict) else ""
        raise InputError(
            f"{path} has no chat template named default ({names[:80]}); save the one to use as "
            "chat_template.jinja"
        )
    if (folder / "chat_template.json").is_file():
        raise InputError(
            f"{folder / 'chat_template.json'} holds no chat_template; fetch it again"
        )
    raise InputError(
        f"{folder} has no chat template; it needs chat_template.jinja, or chat_template in "
        "tokenizer_config.json"
    )


def _stored(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _default(value: Any) -> str | None:
    """A template, or the one named default in a list or dictionary of named templates."""
    if isinstance(value, list):
        entries = [entry for entry in value if isinstance(entry, dict)]
        value = {entry.get("name"): entry.get("template") for entry in entries}
    if isinstance(value, dict):
        value = value.get("default")
    return value if isinstance(value, str) else None


def _require_sentencepiece(folder: Path) -> None:
    fast = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    if not fast and importlib.util.find_spec("sentencepiece") is None:
        raise InputError(
            f"{folder} has its tokenizer as tokenizer.model alone, which needs sentencepiece: "
            "pip install sentencepiece, or add the checkpoint's tokenizer.json"
        )
