"""Questions that the demo model understands, and their right answers."""

import re
from collections.abc import Sequence

from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.scenes import Scene

Named = Sequence[tuple[str, str]]
"""The (colour, kind) of each object of a scene, from left to right."""

CAPTION_PROMPT = "Describe the image."
PHRASE = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(KINDS)})\b")


def named(scene: Scene) -> list[tuple[str, str]]:
    """The (colour, kind) of each object, from left to right."""
    return [(item.colour, item.kind) for item in scene.objects]


def caption(objects: Named) -> str:
    """The sentence that names every object, from left to right."""
    phrases = [f"{_article(colour)} {colour} {kind}" for colour, kind in objects]
    listed = phrases[0]
    if len(phrases) > 1:
        listed = f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return f"The image shows {listed}."


def read_caption(text: str) -> list[tuple[str, str]]:
    """The (colour, kind) pairs that a caption names, in their order."""
    return PHRASE.findall(text)


def presence_question(kind: str) -> str:
    """The question whether there is a `kind`; its answer is a bare Yes or No."""
    return f"Is there {_article(kind)} {kind} in the image?"


def colour_question(kind: str) -> str:
    """The question for the colour of the only object of that kind."""
    return f"What colour is the {kind}?"


def colour_answer(kind: str, colour: str) -> str:
    """The sentence that answers `colour_question`."""
    return f"The {kind} is {colour}."


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
