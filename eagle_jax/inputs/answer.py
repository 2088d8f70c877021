"""Tokens of an answer: ids, texts, the positions to explain and the ids to score there."""

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.inputs.prompt import Tokenizer, special_ids
from eagle_jax.inputs.tokenizer import require_tokenizer
from eagle_jax.metrics.thoughts import answer_begin, is_tag
from eagle_jax.metrics.word_classes import find_phrase


@checked
class Place(enum.Enum):
    """A place in an answer that its own words do not name."""

    FIRST = "the first token of the answer, behind the thought of a model that thinks"


@checked
def encode_answer(
    tokenizer: Tokenizer, answer: str | Sequence[int] | np.ndarray
) -> Int[np.ndarray, " a"]:
    """Token ids of an answer.

    Args:
      tokenizer: the model's tokenizer, from `load_tokenizer`.
      answer: a text, to which the end-of-turn token of generated answers is appended; or
        token ids, which stay unchanged.

    Returns:
      int32 (a,) token ids.

    Raises:
      InputError: the answer is empty, contains a special token as text, or has an id that
        the tokenizer does not know.
    """
    require_tokenizer(tokenizer)
    if isinstance(answer, str):
        if not answer.strip():
            raise InputError("the answer is empty; give its text or its token ids")
        ids = tokenizer(answer, add_special_tokens=False).input_ids
        specials = _unspoken(tokenizer)
        strange = [i for i in ids if i in specials]
        if strange:
            name = tokenizer.convert_ids_to_tokens(strange[0])
            raise InputError(
                f"the answer contains the special token {name}; remove it (the end-of-turn "
                "token is appended) or give token ids"
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
    """Text of an answer, without special tokens but with the marks of a thought."""
    specials = _unspoken(tokenizer)
    return _decode(tokenizer, [i for i in ids.tolist() if i not in specials])


def token_texts(tokenizer: Tokenizer, ids: Int[np.ndarray, " a"]) -> tuple[str, ...]:
    """Text of each token of an answer.

    The joined texts give the answer, with special tokens by name. Only where a character is
    split over several tokens, each of them shows as "\N{REPLACEMENT CHARACTER}".

    Args:
      tokenizer: the model's tokenizer.
      ids: token ids of the answer.

    Returns:
      The texts, in the order of the tokens.
    """
    text, spans = _spans(tokenizer, ids.tolist())
    texts = []
    for token, (start, end) in zip(ids.tolist(), spans, strict=True):
        whole = start == end or spans.count((start, end)) == 1
        texts.append(text[start:end] if whole else _decode(tokenizer, [token]))
    return tuple(texts)


def answer_position(
    tokenizer: Tokenizer, ids: Int[np.ndarray, " a"], thinking: bool = False
) -> int | None:
    """Position of the first token behind the thought of an answer.

    Args:
      tokenizer: the model's tokenizer.
      ids: token ids of the answer.
      thinking: True if the prompt ends inside a thought, see
        `eagle_jax.inputs.prompt.opens_thought`.

    Returns:
      The position, 0 for an answer without a thought; None if the answer ends inside it.
    """
    text, spans = _spans(tokenizer, ids.tolist())
    begin = answer_begin(text, thinking)
    if not begin:
        return begin
    return next((i for i, (_, end) in enumerate(spans) if end > begin), None)


def find_target(
    tokenizer: Tokenizer,
    ids: Int[np.ndarray, " a"],
    target: None | str | Sequence[int] | np.ndarray | Place,
    thinking: bool = False,
) -> Int[np.ndarray, " t"]:
    """Positions of a target in an answer.

    A word or phrase is searched for behind the thought of a model that thinks first: as whole
    words, then as whole words in any case, then anywhere, then anywhere in any case. The first
    match counts, with every token that overlaps it. The name of a special token finds that
    token.

    Args:
      tokenizer: the model's tokenizer.
      ids: token ids of the answer.
      target: a word or phrase of the answer; positions in the answer, whose order is kept; a
        place; or None for every token, including those of a thought and the end of the turn.
      thinking: True if the prompt ends inside a thought.

    Returns:
      int32 (t,) positions, counted from 0.

    Raises:
      InputError: the text is not in the answer, or the positions are empty, out of range or
        repeated; the message lists the answer's tokens. Or the answer ends inside its thought.
    """
    if target is None:
        return np.arange(len(ids), dtype=np.int32)
    if isinstance(target, str | Place):
        first = answer_position(tokenizer, ids, thinking)
        if first is None:
            raise InputError(
                f"the answer ends inside its thought, after {len(ids)} tokens: raise "
                "max_new_tokens, switch thoughts off, or give positions to explain the thought"
            )
        if target is Place.FIRST:
            return np.array([first], np.int32)
        return _find_text(tokenizer, ids, str(target), first)
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
    positions: Int[np.ndarray, " t"],
    target_ids: None | str | Sequence[int | str] | np.ndarray,
) -> Int[np.ndarray, " t"]:
    """Token ids to score at given positions.

    A text replaces the answer's token in its context: it gets a leading blank if that token
    has a leading blank and the text has none, and must then be exactly one token.

    Args:
      tokenizer: the model's tokenizer.
      ids: token ids of the answer.
      positions: positions to score, from `find_target`.
      target_ids: a token id or a text for each position (such as "No" where the model said
        "Yes"), or a single text for one position; None for the answer's own token ids.

    Returns:
      int32 (t,) token ids.

    Raises:
      InputError: the number of ids and positions differs, the tokenizer does not know an id,
        or a text is not exactly one token.
    """
    if target_ids is None:
        return ids[positions].astype(np.int32)
    wanted = [target_ids] if isinstance(target_ids, str) else list(target_ids)
    if len(wanted) != len(positions):
        raise InputError(
            f"target_ids has {len(wanted)} entries for {len(positions)} target positions; "
            "give one token id or word for each position"
        )
    token_ids = [
        _replacement(tokenizer, ids.tolist(), int(position), word)
        if isinstance(word, str)
        else _whole_numbers([word], "target_ids")[0]
        for position, word in zip(positions, wanted, strict=True)
    ]
    _check_ids(tokenizer, token_ids, "target_ids")
    return np.array(token_ids, np.int32)


def _find_text(
    tokenizer: Tokenizer, ids: Int[np.ndarray, " a"], target: str, first: int
) -> Int[np.ndarray, " t"]:
    if not target.strip():
        raise InputError(f"the target is empty; {_choices(tokenizer, ids)}")
    text, spans = _spans(tokenizer, ids.tolist())
    specials = special_ids(tokenizer)
    for position, token in enumerate(ids.tolist()):
        if token in specials and position >= first:
            if tokenizer.convert_ids_to_tokens(token) == target.strip():
                return np.array([position], np.int32)
            start, end = spans[position]
            text = text[:start] + "\0" * (end - start) + text[end:]
    match = find_phrase(text, target, spans[first][0])
    if match is None:
        raise InputError(
            f"the target {target!r} is not in the answer; {_choices(tokenizer, ids)}"
        )
    overlaps = [start < match.end() and end > match.start() for start, end in spans]
    return np.flatnonzero(overlaps).astype(np.int32)


def _replacement(tokenizer: Tokenizer, ids: list[int], position: int, word: str) -> int:
    if word in tokenizer.all_special_tokens:
        return tokenizer.convert_tokens_to_ids(word)
    text, spans = _spans(tokenizer, ids)
    start, end = spans[position]
    replaced = text[start:end]
    blank = " " if replaced[:1].isspace() and not word[:1].isspace() else ""
    before = _decode(tokenizer, ids[:position])
    head, whole, alone = (
        tokenizer(part, add_special_tokens=False).input_ids if part else []
        for part in (before, before + blank + word, blank + word)
    )
    candidates = [whole[len(head) :]] if whole[: len(head)] == head else []
    for candidate in [*candidates, alone]:
        reading = _decode(tokenizer, ids[:position] + candidate)
        if len(candidate) == 1 and reading == before + blank + word:
            return candidate[0]
    raise InputError(
        f"{word!r} is not a single token in place of {replaced!r} (position {position}) but "
        f"{tokenizer.convert_ids_to_tokens(alone)}; choose another word or give a token id"
    )


def _unspoken(tokenizer: Tokenizer) -> set[int]:
    """Ids of the special tokens that are no text of an answer; marks of a thought are."""
    specials = special_ids(tokenizer)
    return {i for i in specials if not is_tag(tokenizer.convert_ids_to_tokens(i))}


def _choices(tokenizer: Tokenizer, ids: Int[np.ndarray, " a"]) -> str:
    texts = token_texts(tokenizer, ids)
    return "the answer's tokens are " + ", ".join(f"{i} {t!r}" for i, t in enumerate(texts))


def _whole_numbers(values: Sequence[Any] | np.ndarray, name: str) -> list[int]:
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputError(f"{name} must be text or whole numbers, not {value!r}")
    return [int(value) for value in values]


def _check_ids(tokenizer: Tokenizer, ids: list[int], name: str) -> None:
    for token in ids:
        if not 0 <= token < len(tokenizer):
            raise InputError(
                f"{name} has the id {token}, but the tokenizer has only {len(tokenizer)} tokens"
            )


def _decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _spans(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, list[tuple[int, int]]]:
    """The answer's text, and where each token starts and ends in it.

    Tokens that spell one character together share its span.
    """
    text = _decode(tokenizer, ids)
    spans: list[tuple[int, int]] = []
    start = 0
    for count, token in enumerate(ids, 1):
        # While the tokens of a character are incomplete, they decode to replacement characters.
        end = len(_decode(tokenizer, ids[:count]).rstrip("\N{REPLACEMENT CHARACTER}"))
        if count == len(ids):
            end = len(text)
        if end > start or _decode(tokenizer, [token]) == "":
            spans += [(start, end)] * (count - len(spans))
            start = end
    return text, spans + [(start, len(text))] * (len(ids) - len(spans))
