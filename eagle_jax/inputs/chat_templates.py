"""The chat template of a checkpoint: the file that holds it, and the text that it writes."""

import json
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, reason

# Variables by which chat templates switch thoughts on and off.
_SWITCHES = ("enable_thinking", "thinking")


def question_messages(text: str) -> list[dict[str, Any]]:
    """A conversation that shows one image and asks `text`."""
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def rendered(
    tokenizer: Any,
    messages: list[dict],
    thinking: str | None,
    template: str | None = None,
) -> str:
    """The text that a chat template makes of a conversation, up to the model's answer.

    Args:
      tokenizer: the model's tokenizer.
      messages: the conversation.
      thinking: "off" or "on" passes the template's own switch for thoughts; None does not.
      template: the template; None for the tokenizer's.

    Raises:
      InputError: the template fails.
    """
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


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of what a chat template has written."""
    return tokenizer(text, add_special_tokens=lacks_begin(tokenizer, text)).input_ids


def lacks_begin(tokenizer: Any, text: str) -> bool:
    """Whether the tokenizer adds the tokens that begin a sequence to what a template wrote."""
    # As in transformers: without a begin token in the text the tokenizer adds its own.
    first = tokenizer.bos_token
    return first is None or not text.startswith(first)


def read_chat_template(folder: Path, tokenizer: Any, image_token_id: int) -> str:
    """The first template that shows one image; the processor's come first, as in transformers.

    Fine-tuned folders often have a template for text alone with the tokenizer.

    Args:
      folder: the checkpoint folder.
      tokenizer: its tokenizer.
      image_token_id: id of the image placeholder.

    Raises:
      InputError: the folder has no chat template, or none named default.
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
            text = rendered(tokenizer, question_messages("x"), None, template)
            if token_ids(tokenizer, text).count(image_token_id) == 1:
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
