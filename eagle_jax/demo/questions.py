"""What the demo model is asked, and what the picture says it should answer."""

import re
from collections.abc import Sequence

import numpy as np

from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.scenes import CONFUSABLE, PARTNERS, Scene

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
    """The (colour, kind) pairs that a caption names, in its order."""
    return PHRASE.findall(text)


def presence_question(kind: str) -> str:
    """Asks whether there is a `kind`; the answer is a bare Yes or No."""
    return f"Is there {_article(kind)} {kind} in the image?"


def colour_question(kind: str) -> str:
    """Asks the colour of the one object of that kind."""
    return f"What colour is the {kind}?"


def colour_answer(kind: str, colour: str) -> str:
    """The sentence that answers `colour_question`."""
    return f"The {kind} is {colour}."


def draw_presence(objects: Named, rng: np.random.Generator) -> tuple[str, bool]:
    """Picks a kind to ask for, present half of the time.

    An absent kind is, in about a third of the cases each, the planted partner of something
    present, something easily confused with it, or any absent kind.

    Returns:
      The kind, and whether the scene has it.
    """
    present = [kind for _, kind in objects]
    if rng.random() < 0.5:
        return present[int(rng.integers(len(present)))], True
    sort = rng.random()
    related = {} if sort < 0.3 else PARTNERS if sort < 0.65 else CONFUSABLE
    absent = [related[k] for k in present if k in related and related[k] not in present]
    if not absent:
        absent = [kind for kind in KINDS if kind not in present]
    return absent[int(rng.integers(len(absent)))], False


def planted(kind: str, objects: Named) -> bool:
    """Whether the planted partner of `kind` is in the scene."""
    return PARTNERS.get(kind) in {present for _, present in objects}


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
