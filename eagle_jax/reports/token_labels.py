"""How the tokens of an answer are written where people read them."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from eagle_jax.metrics.reliance import sentence_range
from eagle_jax.reports.characters import whole_characters
from eagle_jax.results.attribution import Attribution

# Pieces of a word boundary that tokenizers leave in single-token texts.
SPACES = " \u2581\u0120"
_END = re.compile(r"<\|?(im_end|eot_id|endoftext|end_of_text|end_of_turn|eos)\|?>|</s>")
_SPECIAL = re.compile(r"<\|(.+)\|>|<(s|pad|bos|unk)>")
_LONGEST = 300
# Where values of reliance differ by less, their differences mean nothing.
_NARROW = 0.01


class Chip(NamedTuple):
    """A token of the answer, or several that spell a character together.

    Attributes:
      positions: positions in the answer.
      scored: indices of the targets at these positions; empty if none was scored.
      text: what to write.
      small: whether to write it small, because it stands for no text.
      gap: whether a blank stands before it.
      newline: whether a line ends after it.
      instead: text that was scored, where it differs from the answer.
    """

    positions: tuple[int, ...]
    scored: tuple[int, ...]
    text: str
    small: bool
    gap: bool
    newline: bool
    instead: str | None


def answer_chips(attribution: Attribution) -> Iterator[Chip]:
    """The answer of an attribution, chip by chip."""
    counterfactual = attribution.counterfactual
    target_at = {position: i for i, position in enumerate(attribution.positions.tolist())}
    for positions, text in whole_characters(attribution.answer_tokens, attribution.answer):
        label, small = token_label(text)
        scored = tuple(target_at[p] for p in positions if p in target_at)
        changed = any(counterfactual[index] for index in scored)
        instead = "".join(attribution.tokens[index] for index in scored) if changed else None
        yield Chip(
            positions=positions,
            scored=scored,
            text=label,
            small=small,
            gap=positions[0] > 0 and text[:1] in tuple(SPACES),
            newline="\n" in text,
            instead=None if instead is None else token_label(instead)[0],
        )


def token_label(token: str) -> tuple[str, bool]:
    """The text of a token without the blanks around it, and whether it stands for no text.

    Args:
      token: text of the token, decoded alone.

    Returns:
      What to write, with signs for line breaks, tabs and blanks, and special tokens in
      brackets; True for blanks and special tokens, which are written small.
    """
    bare = token.strip(SPACES)
    if _END.fullmatch(bare):
        return "[end]", True
    if special := _SPECIAL.fullmatch(bare):
        return f"[{special[1] or special[2]}]", True
    if not bare:
        return "\u2423" * max(1, len(token)), True
    return bare[:_LONGEST].replace("\n", "\u21b5").replace("\t", "\u21e5"), False


def reliance_range(attribution: Attribution) -> tuple[float, float]:
    """Values of reliance at the two ends of the colour scale.

    They are the lowest and the highest value of the answer, so that the colour bar stays
    comparable between answers; 0 and 1 where these are almost equal.
    """
    low, high = sentence_range(attribution.reliance)
    return (low, high) if high - low >= _NARROW else (0.0, 1.0)
