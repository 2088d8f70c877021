"""Lists made as the published ones were: from a model's own answers."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

from eagle_jax.errors import InputError, reason
from eagle_jax.files import require_new_file
from eagle_jax.inputs.answer import find_target, find_target_ids
from eagle_jax.inputs.prompt import Tokenizer
from eagle_jax.lists.items import Broken, Item
from eagle_jax.lists.lines import write_list
from eagle_jax.lists.words import find_object, said_yes_or_no
from eagle_jax.scoring.answers import generate
from eagle_jax.scoring.model import Model

KEEPS = ("wrong", "all")


class LeftOut(NamedTuple):
    """An item of which the model's answer leaves nothing to explain.

    Attributes:
      place: where it stands in its list.
      reason: why, one line.
    """

    place: str
    reason: str


class Built(NamedTuple):
    """What became of the entries of a list.

    Attributes:
      items: what was kept, with the model's answers.
      left_out: items that do not belong into the new list.
      failures: entries that could not be used, and pictures that could not be read.
      interrupted: whether Ctrl-C ended the work before the list did.
    """

    items: list[Item]
    left_out: list[LeftOut]
    failures: list[Broken]
    interrupted: bool = False


def build_list(
    model: Model,
    entries: Sequence[Item | Broken],
    out: str | os.PathLike,
    *,
    count: int | None = None,
    keep: str = "wrong",
    plurals: bool = False,
    max_new_tokens: int = 128,
    progress: bool = False,
) -> Built:
    """Builds a list and writes it; what is done is written, whatever ends the work.

    Args:
      model: see `build_items`, like all that is not named here.
      entries: see `build_items`.
      out: the new list, for `read_list`; not written while nothing is kept.
      count: see `build_items`.
      keep: see `build_items`.
      plurals: see `build_items`.
      max_new_tokens: see `build_items`.
      progress: show a progress bar.

    Returns:
      What became of the entries, up to where Ctrl-C was pressed.

    Raises:
      InputError: `out` exists or cannot be written, or an option cannot be used.
    """
    require_new_file(out)
    items, left_out, failures = [], [], []
    piles = {Item: items, LeftOut: left_out, Broken: failures}
    interrupted = False
    try:
        found_items = build_items(
            model,
            entries,
            count=count,
            keep=keep,
            plurals=plurals,
            max_new_tokens=max_new_tokens,
        )
        with tqdm(total=len(entries), desc="answers", unit="item", disable=not progress) as bar:
            for found in found_items:
                piles[type(found)].append(found)
                bar.set_postfix_str(f"{len(items)} kept", refresh=False)
                bar.update()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if items:
            write_list(out, items)
    return Built(items, left_out, failures, interrupted)


def build_items(
    model: Model,
    entries: Sequence[Item | Broken],
    *,
    count: int | None = None,
    keep: str = "wrong",
    plurals: bool = False,
    max_new_tokens: int = 128,
) -> Iterator[Item | LeftOut | Broken]:
    """Lets a model answer, and makes of each answer what the published lists hold.

    - A question with a label is kept if the model's Yes or No is wrong; its target is that
      first token, and the opposite word is what is scored there.
    - An item with a category is kept if the answer names that object; its target is the first
      token of that word.
    - An item whose target is a text is kept if the answer has it.
    - Of everything else every token is a target.

    Answers, and targets by position, that an item brings along belong to another answer and
    are dropped.

    Args:
      model: from `eagle_jax.load`.
      entries: from `read_list`; what is broken is passed on.
      count: stop when so many items are kept.
      keep: "wrong", or "all" for right Yes and No answers as well; those score their own word.
      plurals: whether an answer that has an object's plural names it.
      max_new_tokens: limit of an answer.

    Yields:
      For each entry, in order: the new item, why there is none, or what went wrong.

    Raises:
      InputError: an option cannot be used.

    References:
      EAGLE, arXiv 2509.22496, experiments.
    """
    if keep not in KEEPS:
        raise InputError(f"keep is {keep!r}; it must be one of {', '.join(KEEPS)}")
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    kept = 0
    # Several objects may be asked for in the caption of one picture.
    answers: dict[tuple[Path, str], Int32[np.ndarray, " a"]] = {}
    for entry in entries:
        if count is not None and kept >= count:
            return
        if isinstance(entry, Broken):
            yield entry
            continue
        asked = entry.image, entry.prompt
        try:
            if asked not in answers:
                answers[asked] = generate(model, *asked, max_new_tokens=max_new_tokens)
        except InputError as error:
            yield Broken(entry.place, reason(error))
            continue
        built = _built(entry, answers[asked], model.tokenizer, keep, plurals)
        kept += isinstance(built, Item)
        yield built


def _built(
    item: Item, ids: Int32[np.ndarray, " a"], tokenizer: Tokenizer, keep: str, plurals: bool
) -> Item | LeftOut:
    target, target_ids = None, None
    try:
        if item.label is not None:
            said, other = said_yes_or_no(tokenizer, ids)
            right = said.casefold() == item.label.casefold()
            if right and keep == "wrong":
                return LeftOut(item.place, "the answer is right")
            target = (0,)
            if not right:
                found = find_target_ids(tokenizer, ids, np.array(target, np.int32), other)
                target_ids = tuple(found.tolist())
        elif item.category is not None:
            target = (find_object(tokenizer, ids, item.category, plurals),)
        elif isinstance(item.target, str):
            target = _phrase(tokenizer, ids, item.target)
    except InputError as error:
        return LeftOut(item.place, reason(error))
    return dataclasses.replace(
        item,
        answer=tuple(ids.tolist()),
        target=target,
        target_ids=target_ids,
        prompt_ids=None,
    )


def _phrase(tokenizer: Tokenizer, ids: Int32[np.ndarray, " a"], phrase: str) -> tuple[int, ...]:
    try:
        return tuple(find_target(tokenizer, ids, phrase).tolist())
    except InputError as error:
        raise InputError(f"the answer does not have {phrase!r}") from error
