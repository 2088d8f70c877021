"""The prompt as token ids, with the visual tokens of the image."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, require_choice, shown_value
from eagle_jax.inputs.chat_templates import (
    question_messages,
    read_chat_template,
    rendered,
    token_ids,
)
from eagle_jax.inputs.tokenizer import Tokenizer, require_tokenizer
from eagle_jax.inputs.tokenizer_files import read_tokenizer
from eagle_jax.metrics.thoughts import ends_in_thought

THINKING = ("on", "off")
"""Values of `Dialogue.thinking`."""

_PROBE = "system message 7f3a"
# Marks of an image in data formats of other models. A tag of HTML is such a mark only at the
# begin or end of a prompt.
_IMAGE_MARK = re.compile(
    r"<\|?image(?:[_ ]?(?:\d+|pad|token|soft_token|placeholder|here|content))?\|?>"
    r"|<\|(?:video|video_pad|vision_start|vision_end|vision_pad)\|>|<img_context>"
    r"|<(?:start|end)_of_image>|<im_(?:start|patch|end)>|\[img(?:_\w+)?\]|<img>.*</img>"
    r"|\A\s*<(?:img|video)>|<(?:img|video)>\s*\Z",
    re.IGNORECASE | re.DOTALL,
)


@checked
class Dialogue(NamedTuple):
    """What stands around a question, besides the image.

    Attributes:
      system: system message in front of the conversation; None for the template's own, if any.
      thinking: "off" or "on" passes the chat template's own switch for thoughts, where it has
        one; None leaves the template as it is.
    """

    system: str | None = None
    thinking: str | None = None


DEFAULT_DIALOGUE = Dialogue()


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
    from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

    folder = Path(folder)
    tokenizer = read_tokenizer(folder)
    length = tokenizer.model_max_length
    if isinstance(length, bool) or not isinstance(length, int | float):
        raise InputError(
            f"{folder / 'tokenizer_config.json'}: model_max_length is "
            f"{shown_value(length)}; it must be a number"
        )
    # `require_context` checks the length against the model's own limit, while transformers
    # would warn about texts that are short enough.
    tokenizer.model_max_length = VERY_LARGE_INTEGER
    tokenizer.chat_template = read_chat_template(folder, tokenizer, image_token_id)
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer in {folder} has no eos_token to end an answer with")
    if not 0 <= image_token_id < len(tokenizer):
        raise InputError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, so the image_token_id "
            f"{image_token_id} in config.json is not a token"
        )
    return tokenizer


@checked
def build_prompt(
    tokenizer: Tokenizer,
    text: str,
    image_tokens: int,
    image_token_id: int,
    dialogue: Dialogue = DEFAULT_DIALOGUE,
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
      dialogue: system message, and whether the model thinks before it answers.

    Returns:
      int32 (s,) token ids, which the answer's first token follows.

    Raises:
      InputError: the prompt is blank, contains a special token or another model's mark of an
        image, or the chat template has no place for one image or for the system message.
    """
    require_tokenizer(tokenizer, image_tokens=image_tokens, image_token_id=image_token_id)
    if not text.strip():
        raise InputError("the prompt is empty; ask something about the image")
    _check_dialogue(tokenizer, dialogue)
    ids = token_ids(tokenizer, render(tokenizer, text, dialogue))
    specials = special_ids(tokenizer) | {image_token_id}
    structure = [i for i in ids if i in specials]
    probe = dialogue if dialogue.system is None else dialogue._replace(system=_PROBE)
    bare = token_ids(tokenizer, render(tokenizer, "x", probe))
    expected = [i for i in bare if i in specials]
    if structure != expected:
        added = [i for i in structure if structure.count(i) > expected.count(i)]
        name = tokenizer.convert_ids_to_tokens((added or structure)[0])
        where = (
            "prompt or the system message contains" if dialogue.system else "prompt contains"
        )
        raise InputError(f"the {where} the special token {name}; remove it")
    for name, said in (("prompt", text), ("system message", dialogue.system or "")):
        if mark := _IMAGE_MARK.search(said):
            raise InputError(
                f"the {name} contains {mark[0].strip()[:20]!r}, the mark of an image in "
                "another model's format; remove it, the image is shown without a mark"
            )
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


def opens_thought(tokenizer: Tokenizer, dialogue: Dialogue = DEFAULT_DIALOGUE) -> bool:
    """Tells if the chat template begins a thought, which the answer then closes.

    Args:
      tokenizer: the model's tokenizer.
      dialogue: system message, and whether the model thinks before it answers.
    """
    return ends_in_thought(render(tokenizer, "x", dialogue))


def _check_dialogue(tokenizer: Tokenizer, dialogue: Dialogue) -> None:
    if dialogue.thinking is not None:
        require_choice("thinking", dialogue.thinking, THINKING)
    if dialogue.system is None:
        return
    try:
        shown = _PROBE in render(tokenizer, "x", dialogue._replace(system=_PROBE))
    except InputError:
        render(tokenizer, "x", dialogue._replace(system=None))  # Its fault, or the message's?
        shown = False
    if not shown:
        raise InputError(
            "the tokenizer's chat template has no place for a system message; leave it out, or "
            "put its text into the prompt"
        )


def render(tokenizer: Tokenizer, text: str, dialogue: Dialogue = DEFAULT_DIALOGUE) -> str:
    """A conversation with one image as the chat template writes it, up to the answer."""
    messages = question_messages(text)
    if dialogue.system is None:
        return rendered(tokenizer, messages, dialogue.thinking)
    # Most templates write a plain text; some read parts, as of the user's message.
    system: dict[str, Any] = {"role": "system", "content": dialogue.system}
    parts = system | {"content": [{"type": "text", "text": dialogue.system}]}
    probe = system | {"content": _PROBE}
    try:
        plain = _PROBE in rendered(tokenizer, [probe, *messages], dialogue.thinking)
    except InputError:
        plain = False
    message = system if plain else parts
    return rendered(tokenizer, [message, *messages], dialogue.thinking)
