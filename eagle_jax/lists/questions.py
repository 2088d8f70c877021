"""Questions as benchmarks and training sets hold them, without answers of a model.

MMVP, POPE and RePOPE in each of their published forms, the question files of LLaVA, and its
conversations.
"""

from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.naming import Draft, plain_name
from eagle_jax.lists.paths import image_path
from eagle_jax.lists.prompts import yes_no_prompt
from eagle_jax.metrics.hallucination import LABELS

# The samplings of POPE, which name its categories.
_POPE = ("random", "popular", "adversarial")
_IMAGE = "<image>"
_USERS, _SYSTEMS = ("human", "user"), ("system",)
# Folder of the images beside MMVP's Questions.csv.
_MMVP_IMAGES = "MMVP Images"


def read_mmvp_question(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a row of MMVP's Questions.csv; the options are not shown to the model."""
    entry = {str(name).lower(): value for name, value in entry.items()}
    # One edition misspells its first column.
    name = "index" if "index" in entry else "lndex"
    number = str(entries.number_or_text(entry, name)).strip()
    if not (number.isascii() and number.isdigit()):
        raise InputError(f"'Index' must be the number of an image, not {shown(number)}")
    prompt = entries.text(entry, "question")
    written = f"{number}.jpg"
    try:
        image = image_path(written, root / _MMVP_IMAGES)
    except InputError:
        image = image_path(written, root)
    return Draft(Item(plain_name(number), place, image, prompt), written)


def is_pope_question(entry: Any) -> bool:
    """Whether an entry is a question of POPE that came without its answer."""
    return (
        isinstance(entry, dict)
        and {"question_id", "image", "text"} <= entry.keys()
        and entry.get("category") in _POPE
        and "label" not in entry
    )


def read_repope_label(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a question of POPE or RePOPE and its right answer."""
    if is_pope_question(entry):
        raise InputError("the question of POPE is without its answer: take coco_pope_*.json")
    if "image_source" in entry and "label" not in entry:
        return read_pope_export(entry, place, root)
    image = entries.image(entry, "image", root)
    question = entries.text(entry, "text" if "text" in entry else "question")
    return _yes_no(entry, place, image, entry["image"], question, "label")


def read_pope_export(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a question of POPE in the hub's copy, where `image_source` names the image."""
    written = entries.text(entry, "image_source")
    try:
        image = entries.image(entry, "image_source", root)
    except InputError:
        image = image_path(f"{written}.jpg", root)
    question = entries.text(entry, "question")
    return _yes_no(entry, place, image, written, question, "answer")


def read_question(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a question of a file that LLaVA is evaluated on, whose text is the whole prompt."""
    image = entries.image(entry, "image", root)
    name = f"{image.stem}_{entries.number_or_text(entry, 'question_id')}"
    prompt = _without_mark(entries.text(entry, "text"))
    return Draft(Item(plain_name(name), place, image, prompt), entry["image"])


def read_conversation(entry: Entry, place: str, root: Path) -> Draft:
    """Reads the first question of a conversation, as LLaVA is trained on.

    The reply is that of the data set and not of the model: it is the label if it is Yes or No,
    and otherwise ignored. Later turns are ignored, because they depend on replies.
    """
    images = entry.get("image") or entry.get("images")
    if isinstance(images, list):
        if len(images) != 1:
            raise InputError(f"the conversation has {len(images)} images; an item has one")
        images = images[0]
    image = entries.image({"image": images}, "image", root)
    turns = entry.get("conversations") or entries.required(entry, "messages")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise InputError(f"the conversation must be a list of turns, not {shown(turns)}")
    texts = [(turn.get("from", turn.get("role")), _words(turn)) for turn in turns]
    if texts and texts[0][0] in _SYSTEMS:
        raise InputError(
            "the conversation begins with a system text: write it into the question"
        )
    if not texts or texts[0][0] not in _USERS:
        raise InputError("the conversation must begin with a question of a human or user")
    prompt = _without_mark(texts[0][1])
    reply = texts[1][1].strip().rstrip(".").capitalize() if len(texts) > 1 else ""
    name = plain_name(image.stem)
    item = Item(name, place, image, prompt, label=reply if reply in LABELS else None)
    return Draft(item, entries.text({"image": images}, "image"))


def _yes_no(
    entry: Entry, place: str, image: Path, written: str, question: str, label: str
) -> Draft:
    name = image.stem
    if "question_id" in entry:
        name = f"{name}_{entries.number_or_text(entry, 'question_id')}"
    item = Item(
        name=plain_name(name),
        place=place,
        image=image,
        prompt=yes_no_prompt(question),
        label=entries.yes_or_no(entry, label),
    )
    return Draft(item, written)


def _words(turn: dict[str, Any]) -> str:
    """The text of a turn, from its parts where it is written in parts."""
    value = turn.get("value", turn.get("content"))
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, dict)]
        texts = [part["text"] for part in parts if part.get("text") is not None]
        value = "".join(texts) if all(isinstance(text, str) for text in texts) else texts
    return entries.text({"turn": value}, "turn")


def _without_mark(text: str) -> str:
    """A question without the mark of its image at the beginning or end."""
    text = text.strip()
    if text.count(_IMAGE) > 1:
        raise InputError(f"the question has {text.count(_IMAGE)} images; an item has one")
    text = text.removeprefix(_IMAGE).removesuffix(_IMAGE).strip()
    return entries.text({"question": text}, "question")
