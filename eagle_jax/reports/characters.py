"""Tokens grouped so that no group holds a part of a character."""

from collections.abc import Sequence

# Stands for bytes that are no whole character in a token decoded alone.
_PART = "\ufffd"


def whole_characters(tokens: Sequence[str], answer: str) -> list[tuple[tuple[int, ...], str]]:
    """Groups consecutive tokens that spell a character together.

    Tokenizers that work on bytes split a rare character, such as an emoji, over several
    tokens, each of which decodes to U+FFFD. What they spell together stands in the answer.

    Args:
      tokens: text of each token of the answer, decoded alone.
      answer: the answer as text, without special tokens.

    Returns:
      For each group the positions of its tokens and the text they spell.
    """
    groups: list[tuple[tuple[int, ...], str]] = []
    place = first = 0
    while first < len(tokens):
        last = first
        while last < len(tokens) and _PART in tokens[last]:
            last += 1
        if last == first:
            groups.append(((first,), tokens[first]))
            if (start := answer.find(tokens[first], place)) >= 0:
                place = start + len(tokens[first])
            first += 1
            continue
        following = (answer.find(text, place + 1) for text in tokens[last:] if text)
        end = next((start for start in following if start >= 0), len(answer))
        groups += _split(tokens[first:last], answer[place:end], first)
        first, place = last, end
    return groups


def _split(parts: Sequence[str], text: str, first: int) -> list[tuple[tuple[int, ...], str]]:
    """Groups of tokens that spell a text, cut wherever a character ends with a token."""
    data = text.encode("utf-8", "surrogatepass")
    ends = _token_ends(parts, data)
    if ends is None:
        return [(tuple(range(first, first + len(parts))), text or _PART)]
    groups, begun, start = [], 0, 0
    for count, end in enumerate(ends, start=1):
        # Bytes 10xxxxxx continue a character.
        if end == len(data) or data[end] & 0xC0 != 0x80:
            piece = data[start:end].decode("utf-8", "surrogatepass")
            groups.append((tuple(range(first + begun, first + count)), piece))
            begun, start = count, end
    return groups


def _token_ends(parts: Sequence[str], data: bytes) -> list[int] | None:
    """Where each token ends in the bytes, if there is a cut that decodes to these tokens."""
    # For each token the possible ends, and for each end the end of the token before.
    before: list[dict[int, int]] = [{0: 0}]
    for part in parts:
        reached: dict[int, int] = {}
        for start in before[-1]:
            for end in range(start + 1, min(start + 4 * len(part), len(data)) + 1):
                if data[start:end].decode("utf-8", "replace") == part:
                    reached.setdefault(end, start)
        before.append(reached)
    if len(data) not in before[-1]:
        return None
    ends = [len(data)]
    for reached in reversed(before[2:]):
        ends.append(reached[ends[-1]])
    return ends[::-1]
