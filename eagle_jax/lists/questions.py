"""Questions of MMVP, POPE and RePOPE as published, without answers of a model."""

from pathlib import Path

from eagle_jax.errors import InputError
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.naming import Draft, plain_name
from eagle_jax.lists.prompts import yes_no_prompt


def read_mmvp_question(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a row of MMVP's Questions.csv; the options are not shown to the model."""
    number = entries.text(entry, "index").strip()
    if not (number.isascii() and number.isdigit()):
        raise InputError(f"'Index' must be the number of an image, not {shown(number)}")
    prompt = entries.text(entry, "question")
    written = f"{number}.jpg"
    image = entries.image({"image": written}, "image", root)
    return Draft(Item(plain_name(number), place, image, prompt), written)


def read_repope_label(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a question of POPE or RePOPE and its right answer."""
    image = entries.image(entry, "image", root)
    question = entries.text(entry, "text" if "text" in entry else "question")
    name = image.stem
    if "question_id" in entry:
        name = f"{name}_{entries.number_or_text(entry, 'question_id')}"
    item = Item(
        name=plain_name(name),
        place=place,
        image=image,
        prompt=yes_no_prompt(question),
        label=entries.yes_or_no(entry, "label"),
    )
    return Draft(item, entry["image"])
