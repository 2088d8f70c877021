"""The four lists published with EAGLE: captions, MMVP, RePOPE and COCO objects.

Each entry records the token ids of prompt and answer as one sequence. They are split here and
compared with what the other fields of the entry say about the answer.

References:
  EAGLE, arXiv 2509.22496; the lists are in the folder `datasets/` of the published code.
"""

from pathlib import Path

from eagle_jax.errors import InputError
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.naming import Draft, plain_name
from eagle_jax.lists.prompts import CAPTION, yes_no_prompt

_POSITIONS = "selected_interpretation_token_id"
_IDS = "selected_interpretation_token_word_id"


def read_caption(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a caption whose tokens are all explained."""
    return _read_answer(entry, place, root, "image_path", CAPTION)


def read_mmvp(entry: Entry, place: str, root: Path) -> Draft:
    """Reads an answer to an MMVP question; the model was not shown the options."""
    question = entries.text(entry, "question")
    return _read_answer(entry, place, root, "image_filename", question)


def read_repope(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a wrong answer to a RePOPE question; the opposite word is scored."""
    image = entries.image(entry, "image_name", root)
    prompt = yes_no_prompt(entries.text(entry, "question"))
    prompt_ids, answer = _split(entry, _length(entry))
    target = _checked_target(entry, answer)
    counter = entries.token_ids(entry, "counter_word_id")
    if len(counter) != len(target):
        raise InputError(
            f"'counter_word_id' has {len(counter)} entries for {len(target)} target positions"
        )
    number = entries.number_or_text(entry, "id")
    item = Item(
        name=plain_name(f"{image.stem}_{number}"),
        place=place,
        image=image,
        prompt=prompt,
        answer=answer,
        target=target,
        target_ids=counter,
        prompt_ids=prompt_ids,
        label=entries.yes_or_no(entry, "label"),
    )
    return Draft(item, entry["image_name"])


def read_object(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a caption whose target is the first token of an object's name."""
    image = entries.image(entry, "image_path", root)
    answer = entries.token_ids(entry, "output_word_id")
    prompt_ids, recorded = _split(entry, len(answer))
    if recorded != answer:
        raise InputError(_disagreement("output_word_id", recorded, answer))
    index, token = (
        entries.token_ids({name: [entries.required(entry, name)]}, name)[0]
        for name in ("target_generated_index", "target_generated_id")
    )
    if index >= len(answer):
        raise InputError(
            f"'target_generated_index' is {index}, but the answer has {len(answer)} tokens"
        )
    if answer[index] != token:
        raise InputError(
            f"'target_generated_id' is {token}, but token {index} of the answer is "
            f"{answer[index]}"
        )
    item = Item(
        name=plain_name(image.stem),
        place=place,
        image=image,
        prompt=CAPTION,
        answer=answer,
        target=(index,),
        prompt_ids=prompt_ids,
        category=entries.text(entry, "select_category"),
        boxes=(entries.box(entries.required(entry, "location"), "location"),),
        polygons=entries.polygons(entry, "segmentation"),
    )
    return Draft(item, entry["image_path"])


def _read_answer(entry: Entry, place: str, root: Path, name: str, prompt: str) -> Draft:
    image = entries.image(entry, name, root)
    prompt_ids, answer = _split(entry, _length(entry))
    item = Item(
        name=plain_name(image.stem),
        place=place,
        image=image,
        prompt=prompt,
        answer=answer,
        target=_checked_target(entry, answer),
        prompt_ids=prompt_ids,
    )
    return Draft(item, entry[name])


def _length(entry: Entry) -> int:
    # `words` holds the text of each token of the answer, "" for the end token.
    words = entries.required(entry, "words")
    if not isinstance(words, list) or not words:
        raise InputError(f"'words' must be a list of the answer's tokens, not {shown(words)}")
    return len(words)


def _split(entry: Entry, length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids of the prompt, and of the answer of `length` tokens."""
    ids = entries.required(entry, "generated_ids")
    nested = isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], list)
    flat = entries.token_ids({"generated_ids": ids[0] if nested else ids}, "generated_ids")
    if length >= len(flat):
        raise InputError(
            f"'generated_ids' has {len(flat)} ids, but the answer alone has {length} tokens"
        )
    return flat[:-length], flat[-length:]


def _checked_target(entry: Entry, answer: tuple[int, ...]) -> tuple[int, ...]:
    target = entries.positions(entry, _POSITIONS, len(answer))
    ids = entries.token_ids(entry, _IDS)
    if len(ids) != len(target):
        raise InputError(f"{_IDS!r} has {len(ids)} entries for {len(target)} positions")
    recorded = tuple(answer[position] for position in target)
    if recorded != ids:
        raise InputError(_disagreement(_IDS, recorded, ids))
    return target


def _disagreement(name: str, recorded: tuple[int, ...], ids: tuple[int, ...]) -> str:
    number = next(n for n, (a, b) in enumerate(zip(recorded, ids, strict=True)) if a != b)
    return (
        f"{name!r} has {ids[number]} at index {number}, but the answer in 'generated_ids' has "
        f"{recorded[number]} there"
    )
