"""Thoughts of models that think before they answer: where they end in a text."""

import re

_NAMES = ("think", "thinking", "thought", "reasoning")
_OPENINGS = (*(f"<{name}>" for name in _NAMES), "\u25c1think\u25b7")
_CLOSINGS = (*(f"</{name}>" for name in _NAMES), "\u25c1/think\u25b7")
_OPENING = re.compile("|".join(_OPENINGS), re.IGNORECASE)
_CLOSING = re.compile("|".join(_CLOSINGS), re.IGNORECASE)
# Some models mark the answer behind their thought as well.
_ANSWER = re.compile(r"\s*<answer>", re.IGNORECASE)


def is_tag(text: str) -> bool:
    """Tells if a text is a mark that opens or closes a thought."""
    return bool(_OPENING.fullmatch(text) or _CLOSING.fullmatch(text))


def closes_thought(text: str) -> bool:
    """Tells if a text contains a mark that closes a thought."""
    return bool(_CLOSING.search(text))


def may_open_thought(text: str) -> bool:
    """Tells if a token's text is a mark that opens a thought, or the begin of such a mark."""
    text = text.strip().lower()
    return bool(text) and any(tag.startswith(text) or text.startswith(tag) for tag in _OPENINGS)


def ends_in_thought(text: str) -> bool:
    """Tells if a text ends with a mark that opens a thought."""
    return any(match.end() == len(text.rstrip()) for match in _OPENING.finditer(text))


def answer_begin(text: str, thinking: bool = False) -> int | None:
    """Where the answer begins behind the thought of a text.

    The thought may be empty, and there may be several in a row.

    Args:
      text: an answer with its thought, if it has one.
      thinking: True if the thought was opened before the text.

    Returns:
      Number of characters before the answer, blanks behind the thought and a mark such as
      <answer> included; 0 without a thought; None if the text ends inside a thought.
    """
    begin = 0
    closings = list(_CLOSING.finditer(text))
    if closings:
        begin, thinking = closings[-1].end(), False
    rest = text[begin:]
    if thinking or _OPENING.match(rest.lstrip()):
        return None
    if match := _ANSWER.match(rest):
        begin += match.end()
    if not begin:
        return 0
    return begin + len(text[begin:]) - len(text[begin:].lstrip())


def answer_part(text: str, thinking: bool = False) -> str:
    """The answer behind the thought of a text; empty if the text ends inside the thought."""
    begin = answer_begin(text, thinking)
    return "" if begin is None else text[begin:]
