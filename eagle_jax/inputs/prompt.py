"""The prompt as token ids, with the visual tokens of the image."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from eagle_jax.errors import InputError, reason, require_choice
from eagle_jax.metrics.thoughts import ends_in_thought

Tokenizer = Any  # transformers' PreTrainedTokenizerFast, imported when one is loaded

THINKING = ("on", "off")
"""Values of `Dialogue.thinking`."""

# Variables by which chat templates switch thoughts on and off.
_SWITCHES = ("enable_thinking", "thinking")
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
    if not text.strip():
        raise InputError("the prompt is empty; ask something about the image")
    _check_dialogue(tokenizer, dialogue)
    ids = _token_ids(tokenizer, render(tokenizer, text, dialogue))
    specials = special_ids(tokenizer) | {image_token_id}
    structure = [i for i in ids if i in specials]
    probe = dialogue if dialogue.system is None else dialogue._replace(system=_PROBE)
    bare = _token_ids(tokenizer, render(tokenizer, "x", probe))
    expected = [i for i in bare if i in specials]
    if structure != expected:
        added = [i for i in structure if structure.count(i) > expected.count(i)]
        name = tokenizer.convert_ids_to_tokens((added or structure)[0])
        where = "prompt or the system message" if dialogue.system else "prompt"
        raise InputError(f"the {where} contains the special token {name}; remove it")
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
    if not isinstance(dialogue.system, str):
        raise InputError(f"system is {dialogue.system!r}; it must be a text")
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
    messages = _messages(text)
    if dialogue.system is None:
        return _rendered(tokenizer, messages, dialogue.thinking)
    # Most templates write a plain text; some read parts, as of the user's message.
    system: dict[str, Any] = {"role": "system", "content": dialogue.system}
    parts = system | {"content": [{"type": "text", "text": dialogue.system}]}
    probe = system | {"content": _PROBE}
    try:
        plain = _PROBE in _rendered(tokenizer, [probe, *messages], dialogue.thinking)
    except InputError:
        plain = False
    return _rendered(tokenizer, [system if plain else parts, *messages], dialogue.thinking)


def _messages(text: str) -> list[dict[str, Any]]:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def _rendered(
    tokenizer: Tokenizer,
    messages: list[dict],
    thinking: str | None,
    template: str | None = None,
) -> str:
    switches = {} if thinking is None else dict.fromkeys(_SWITCHES, thinking == "on")
    try:
        return tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            add_generation_prompt=True,
            tokenize=False,
            **switches,
        )
    except Exception as error:  # a template is code and may raise any error
        raise InputError(
            "the tokenizer's chat template cannot show an image with a text: "
            f"{reason(error, 120)}; take chat_template.jinja from the original checkpoint"
        ) from error


def lacks_begin(tokenizer: Tokenizer, rendered: str) -> bool:
    """Whether a rendered conversation lacks the token that begins a sequence."""
    return bool(first := tokenizer.bos_token) and not rendered.startswith(first)


def _token_ids(tokenizer: Tokenizer, rendered: str) -> list[int]:
    return tokenizer(rendered, add_special_tokens=lacks_begin(tokenizer, rendered)).input_ids


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
            rendered = _rendered(tokenizer, _messages("x"), None, template)
            if _token_ids(tokenizer, rendered).count(image_token_id) == 1:
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
