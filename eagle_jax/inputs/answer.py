"""An answer's tokens: ids, texts, the positions to explain and the ids to score there."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from eagle_jax.errors import InputError
from eagle_jax.inputs.prompt import Tokenizer, special_ids


def encode_answer(
    tokenizer: Tokenizer, answer: str | Sequence[int] | np.ndarray
) -> Int[np.ndarray, " a"]:
    """Ids of an answer.

    Args:
      tokenizer: from `load_tokenizer`.
      answer: text, which gets the end-of-turn token that a generated answer ends
        with; or ids, taken as they are.

    Returns:
      int32 ids, shape (a,).

    Raises:
      InputError: the answer is empty, spells a special token, or has an id that
        the tokenizer does not know.
    """
    if isinstance(answer, str):
        if not answer.strip():
            raise InputError("the answer is empty; give its text or its token ids")
        ids = tokenizer(answer, add_special_tokens=False).input_ids
        if forged := [i for i in ids if i in special_ids(tokenizer)]:
            name = tokenizer.convert_ids_to_tokens(forged[0])
            raise InputError(
                f"the answer contains the special token {name}; leave it out (the end of the "
                "turn is added) or give token ids"
            )
        return np.array([*ids, tokenizer.eos_token_id], np.int32)
    ids = _whole_numbers(answer, "the answer")
    if not ids:
        raise InputError("the answer is empty; give its text or its token ids")
    _check_ids(tokenizer, ids, "the answer")
    return np.array(ids, np.int32)


def require_max_new_tokens(max_new_tokens: int) -> None:
    """Refuses a maximum length of an answer that leaves no token.

    Raises:
      InputError: `max_new_tokens` is below 1.
    """
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")


def decode_answer(tokenizer: Tokenizer, ids: Int[np.ndarray, " a"]) -> str:
    """The answer as text, without special tokens."""
    return _decode(tokenizer, [i for i in ids.tolist() if i not in special_ids(tokenizer)])


def token_texts(tokenizer: Tokenizer, ids: Int[np.ndarray, " a"]) -> tuple[str, ...]:
    """The text of each token of an answer.

    Joined they are the answer with its special tokens by name, except where one
    character is split over several tokens: each of these shows as "\N{REPLACEMENT CHARACTER}".

    Args:
      tokenizer: from `load_tokenizer`.
      ids: the answer.

    Returns:
      One text per token.
    """
    text, spans = _spans(tokenizer, ids.tolist())
    texts = []
    for token, span in zip(ids.tolist(), spans, strict=True):
        alone = spans.count(span) == 1 or span[0] == span[1]
        texts.append(text[slice(*span)] if alone else _decode(tokenizer, [token]))
    return tuple(texts)


def find_target(
    tokenizer: Tokenizer,
    ids: Int[np.ndarray, " a"],
    target: None | str | Sequence[int] | np.ndarray,
) -> Int[np.ndarray, " t"]:
    """Positions in the answer that an explanation is about.

    A word or phrase is looked for as a whole word, then as a whole word in any
    case, then anywhere, then anywhere in any case; the first place counts, and
    every token that overlaps it. The name of a special token finds that token.

    Args:
      tokenizer: from `load_tokenizer`.
      ids: the answer.
      target: None for every token of the answer, end of turn included; a word or
        phrase of the answer; or positions in the answer, kept in their order.

    Returns:
      int32 positions, from 0.

    Raises:
      InputError: the text is not in the answer, or the positions are empty, out
        of range or repeated. The message lists the answer's tokens.
    """
    if target is None:
        return np.arange(len(ids), dtype=np.int32)
    if isinstance(target, str):
        return _find_text(tokenizer, ids, target)
    positions = _whole_numbers(target, "the target")
    if not positions:
        raise InputError(f"the target is empty; {_choices(tokenizer, ids)}")
    for position in positions:
        if not 0 <= position < len(ids):
            raise InputError(
                f"target position {position} is not in the answer; {_choices(tokenizer, ids)}"
            )
    if len(set(positions)) < len(positions):
        raise InputError(f"target positions {positions} repeat; {_choices(tokenizer, ids)}")
    return np.array(positions, np.int32)


def find_target_ids(
    tokenizer: Tokenizer,
    ids: Int[np.ndarray, " a"],
    target: Int[np.ndarray, " t"],
    target_ids: None | str | Sequence[int | str] | np.ndarray,
) -> Int[np.ndarray, " t"]:
    """Ids to score at the target positions.

    A text takes the place of the answer's token in context: it gets a leading
    blank where that token has one (unless it brings its own), and must then be
    exactly one token.

    Args:
      tokenizer: from `load_tokenizer`.
      ids: the answer.
      target: positions from `find_target`.
      target_ids: None for the answer's own ids; else an id or a text for each
        position ("No" where the model said "Yes"); one text for one position.

    Returns:
      int32 ids.

    Raises:
      InputError: not one for each position, an id the tokenizer does not know,
        or a text that is not exactly one token.
    """
    if target_ids is None:
        return ids[target].astype(np.int32)
    wanted = [target_ids] if isinstance(target_ids, str) else list(target_ids)
    if len(wanted) != len(target):
        raise InputError(
            f"target_ids has {len(wanted)} entries for {len(target)} target positions; "
            "give one id or word for each"
        )
    found = [
        _replacement(tokenizer, ids.tolist(), int(position), word)
        if isinstance(word, str)
        else _whole_numbers([word], "target_ids")[0]
        for position, word in zip(target, wanted, strict=True)
    ]
    _check_ids(tokenizer, found, "target_ids")
    return np.array(found, np.int32)


def _find_text(
    tokenizer: Tokenizer, ids: Int[np.ndarray, " a"], target: str
) -> Int[np.ndarray, " t"]:
    words = target.split()
    if not words:
        raise InputError(f"the target is empty; {_choices(tokenizer, ids)}")
    text, spans = _spans(tokenizer, ids.tolist())
    specials = special_ids(tokenizer)
    for position, token in enumerate(ids.tolist()):
        if token in specials:
            if tokenizer.convert_ids_to_tokens(token) == target.strip():
                return np.array([position], np.int32)
            start, end = spans[position]
            text = text[:start] + "\0" * (end - start) + text[end:]
    phrase = r"\s+".join(map(re.escape, words))
    for pattern in (rf"(?<!\w){phrase}(?!\w)", phrase):
        for flags in (re.NOFLAG, re.IGNORECASE):
            if match := re.search(pattern, text, flags):
                overlaps = [a < match.end() and b > match.start() for a, b in spans]
                return np.flatnonzero(overlaps).astype(np.int32)
    raise InputError(f"the target {target!r} is not in the answer; {_choices(tokenizer, ids)}")


def _replacement(tokenizer: Tokenizer, ids: list[int], position: int, word: str) -> int:
    if word in tokenizer.all_special_tokens:
        return tokenizer.convert_tokens_to_ids(word)
    text, spans = _spans(tokenizer, ids)
    replaced = text[slice(*spans[position])]
    blank = " " if replaced[:1].isspace() and not word[:1].isspace() else ""
    before = _decode(tokenizer, ids[:position])
    head, whole, alone = (
        tokenizer(part, add_special_tokens=False).input_ids if part else []
        for part in (before, before + blank + word, blank + word)
    )
    candidates = [whole[len(head) :]] if whole[: len(head)] == head else []
    for candidate in [*candidates, alone]:
        reads = _decode(tokenizer, ids[:position] + candidate)
        if len(candidate) == 1 and reads == before + blank + word:
            return candidate[0]
    raise InputError(
        f"{word!r} is not one token in the place of {replaced!r} (position {position}) but "
        f"{tokenizer.convert_ids_to_tokens(alone)}; choose another word or give its token id"
    )


def _choices(tokenizer: Tokenizer, ids: Int[np.ndarray, " a"]) -> str:
    texts = token_texts(tokenizer, ids)
    return "the answer's tokens are " + ", ".join(f"{i} {t!r}" for i, t in enumerate(texts))


def _whole_numbers(values: Sequence[Any] | np.ndarray, what: str) -> list[int]:
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputError(f"{what} must be text or whole numbers, not {value!r}")
    return [int(value) for value in values]


def _check_ids(tokenizer: Tokenizer, ids: list[int], what: str) -> None:
    for token in ids:
        if not 0 <= token < len(tokenizer):
            raise InputError(
                f"{what} has the id {token}, but the tokenizer has {len(tokenizer)} tokens"
            )


def _decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _spans(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, list[tuple[int, int]]]:
    """The whole text and, for each token, its first and last-plus-one character.

    Tokens that share a character share a span.
    """
    text = _decode(tokenizer, ids)
    spans: list[tuple[int, int]] = []
    start = 0
    for count in range(1, len(ids) + 1):
        # An unfinished character decodes to replacement characters at the end.
        end = len(_decode(tokenizer, ids[:count]).rstrip("\N{REPLACEMENT CHARACTER}"))
        if count == len(ids):
            end = len(text)
        unfinished = end <= start and _decode(tokenizer, ids[count - 1 : count]) != ""
        if not unfinished:
            spans += [(start, end)] * (count - len(spans))
            start = end
    return text, spans + [(start, len(text))] * (len(ids) - len(spans))
