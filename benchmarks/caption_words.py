"""Which words of a storybook caption only the image decides, and which the grammar forces."""

from collections.abc import Sequence

from eagle_jax.demo.drawings import COLOURS, KINDS


def is_content_word(token: str) -> bool:
    """Whether a token names a colour or a kind of object; all others are function words.

    Which colour and which kind only the image says. Among the function words the frame ("The
    image shows") is always the same, while "and", commas and "a" tell how many objects there
    are, and "an" the initial of the next word.
    """
    return token.strip() in COLOURS or token.strip() in KINDS


def image_decides(tokens: Sequence[str]) -> list[bool]:
    """For each token of a caption, whether the words before it leave a choice.

    The grammar of captions forces the frame, the end, the full stop behind the last of
    several objects, and "orange" behind "an"; all other words only the image can decide:
    colours and kinds, but also "a" or "an", and a comma, "and" or a full stop behind an object.

    Args:
      tokens: tokens of a whole caption, in their order.
    """
    words = [token.strip() for token in tokens]
    decides = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word in COLOURS:
            # An article leaves the colours with such an initial.
            vowel = [colour[0] in "aeiou" for colour in COLOURS]
            decides.append(vowel.count(before == "an") > 1)
        elif word == ".":
            decides.append("and" not in words[:place])
        else:
            decides.append(word in KINDS or word in ("a", "an", ",", "and"))
    return decides
