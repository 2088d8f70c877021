"""Builds a list for a model from its own answers, as the published lists were built."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, reason
from eagle_jax.files import require_new_file
from eagle_jax.inputs.answer import (
    Place,
    find_target,
    find_target_ids,
    require_max_new_tokens,
)
from eagle_jax.inputs.prompt import Dialogue, Tokenizer, opens_thought
from eagle_jax.interrupts import rescue
from eagle_jax.lists.items import Broken, Item
from eagle_jax.lists.lines import write_list
from eagle_jax.lists.words import find_object, said_yes_or_no
from eagle_jax.scoring.answers import DEFAULT_MAX_NEW_TOKENS, generate
from eagle_jax.scoring.model import Model

KEEPS = ("wrong", "all")


class LeftOut(NamedTuple):
    """An item that the new list omits, because its answer leaves nothing to explain.

    Attributes:
      place: place of the item in its list: "line 12" or "entry 3".
      reason: reason for omitting the item, in one line.
    """

    place: str
    reason: str


class Built(NamedTuple):
    """Result of building a list.

    Attributes:
      items: the items of the new list, with the model's answers.
      left_out: items that the new list omits.
      failures: entries that cannot be used, and items whose image cannot be read.
      interrupted: True if Ctrl-C stopped the work before the end of the list.
    """

    items: list[Item]
    left_out: list[LeftOut]
    failures: list[Broken]
    interrupted: bool = False


@checked
def build_list(
    model: Model,
    entries: Sequence[Item | Broken],
    out: str | os.PathLike,
    *,
    count: int | None = None,
    keep: str = "wrong",
    plurals: bool = False,
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    system: str | None = None,
    thinking: str | None = None,
    progress: bool = False,
) -> Built:
    """Lets a model answer a list and writes a new list of what can be explained.

    - A question with a label is kept if the model's Yes or No is wrong; its target is that
      first token, and the opposite word is scored there.
    - An item with a category is kept if the answer names that object; its target is the first
      token of the object's name.
    - An item whose target is a text is kept if the answer contains the text.
    - Any other item is kept, and every token of the answer is its target.

    An answer, or a target given by positions, that an item brings along is dropped, because
    it belongs to another answer. The new list is written even if an error or Ctrl-C stops the
    work, with the items kept until then.

    Args:
      model: a loaded model, from `eagle_jax.load`.
      entries: the list, from `read_list`; broken entries count as failures.
      out: path of the new list, for `read_list`; no file is written if no item is kept.
      count: maximum number of items to keep; None for all.
      keep: "wrong" to keep a question with a label only if its answer is wrong; "all" to keep
        right answers too, whose own first token is scored.
      plurals: True to count the plural of an object's name as its name.
      max_new_tokens: maximum length of an answer, in tokens.
      system: system message in front of each conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.
      progress: True to show a progress bar.

    Returns:
      The items kept, the items omitted and the failures.

    Raises:
      InputError: `out` exists or cannot be written, or an option cannot be used.

    References:
      EAGLE, arXiv 2509.22496, experiments.
    """
    require_new_file(out)
    if keep not in KEEPS:
        raise InputError(f"keep is {keep!r}; it must be one of {', '.join(KEEPS)}")
    require_max_new_tokens(max_new_tokens)
    built = Built([], [], [])
    dialogue = Dialogue(system, thinking)

    @functools.cache  # Several items may ask for the same caption.
    def answer(image: Path, prompt: str) -> Int32[np.ndarray, " a"]:
        return generate(
            model, image, prompt, max_new_tokens=max_new_tokens, **dialogue._asdict()
        )

    find = functools.partial(
        _target,
        tokenizer=model.tokenizer,
        keep=keep,
        plurals=plurals,
        thinking=opens_thought(model.tokenizer, dialogue),
    )

    write = functools.partial(_write, out, built.items)
    try:
        with (
            rescue(write),
            tqdm(total=len(entries), desc="answers", unit="item", disable=not progress) as bar,
        ):
            for entry in entries:
                if count is not None and len(built.items) >= count:
                    break
                outcome = _outcome(entry, answer, find)
                if isinstance(outcome, Item):
                    built.items.append(outcome)
                elif isinstance(outcome, LeftOut):
                    built.left_out.append(outcome)
                else:
                    built.failures.append(outcome)
                bar.set_postfix_str(f"{len(built.items)} kept", refresh=False)
                bar.update()
    except KeyboardInterrupt:
        built = built._replace(interrupted=True)
    finally:
        write()
    return built


def _write(out: str | os.PathLike, items: Sequence[Item]) -> None:
    if items:
        write_list(out, items)


def _outcome(entry: Item | Broken, answer: Callable, find: Callable) -> Item | LeftOut | Broken:
    if isinstance(entry, Broken):
        return entry
    try:
        answer_ids = answer(entry.image, entry.prompt)
    except InputError as error:
        return Broken(entry.place, reason(error))
    try:
        target, target_ids = find(entry, answer_ids)
    except InputError as error:
        return LeftOut(entry.place, reason(error))
    return dataclasses.replace(
        entry,
        answer=tuple(answer_ids.tolist()),
        target=target,
        target_ids=target_ids,
        prompt_ids=None,
    )


def _target(
    item: Item,
    ids: Int32[np.ndarray, " a"],
    *,
    tokenizer: Tokenizer,
    keep: str,
    plurals: bool,
    thinking: bool,
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Positions to explain in an answer, and the ids to score there; None for its own."""
    if item.label is not None:
        first = find_target(tokenizer, ids, Place.FIRST, thinking)
        place = (int(first[0]),)
        said, opposite = said_yes_or_no(tokenizer, ids, *place)
        if said.casefold() != item.label.casefold():
            return place, tuple(find_target_ids(tokenizer, ids, first, opposite).tolist())
        if keep == "wrong":
            raise InputError("the answer is right")
        return place, None
    if item.category is not None:
        return (find_object(tokenizer, ids, item.category, plurals, thinking),), None
    if isinstance(item.target, str):
        try:
            positions = find_target(tokenizer, ids, item.target, thinking)
            return tuple(positions.tolist()), None
        except InputError as error:
            raise InputError(f"the answer does not contain {item.target!r}") from error
    return None, None
