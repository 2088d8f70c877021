"""Words of an answer that become targets: the name of an object, Yes or No."""

import re

import numpy as np
from jaxtyping import Int

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import decode_answer, find_target, token_texts
from eagle_jax.inputs.tokenizer import Tokenizer
from eagle_jax.metrics.hallucination import OPPOSITE
from eagle_jax.metrics.thoughts import answer_part

_PLURALS = {"person": "people", "mouse": "mice", "knife": "knives", "sheep": "sheep"}
_OPPOSITE = {
    spell(label): spell(opposite)
    for label, opposite in OPPOSITE.items()
    for spell in (str, str.lower, str.upper)
}


def find_object(
    tokenizer: Tokenizer,
    ids: Int[np.ndarray, " a"],
    name: str,
    plurals: bool = False,
    thinking: bool = False,
) -> int:
    """Position of the first token of an object's name in an answer, where it first occurs.

    Args:
      tokenizer: the model's tokenizer.
      ids: token ids of the answer.
      name: name of the object, one or more words; only whole words count, in any case.
      plurals: True to count the plural of the name as well.
      thinking: True if the prompt ends inside a thought; an answer begins behind its thought.

    Returns:
      The position in the answer.

    Raises:
      InputError: the answer does not name the object, or no token begins with the name.

    References:
      EAGLE, arXiv 2509.22496, word level. Some of the published targets are tokens of other
      words; such tokens are refused here.
    """
    words = name.split()
    endings = [words[-1], plural(words[-1])] if plurals else [words[-1]]
    last = "|".join(map(re.escape, endings))
    pattern = r"\s+".join([*map(re.escape, words[:-1]), f"(?:{last})"])
    pattern = rf"(?<!\w){pattern}(?!\w)"
    text = answer_part(decode_answer(tokenizer, ids), thinking)
    match = re.search(pattern, text, re.IGNORECASE)
    if match is None:
        raise InputError(f"the answer does not name the {name}")
    position = int(find_target(tokenizer, ids, match[0], thinking)[0])
    token = token_texts(tokenizer, ids)[position].strip().casefold()
    spelling = match[0].casefold()
    if not token or not (spelling.startswith(token) or token.startswith(spelling)):
        raise InputError(f"the token {token!r} of the answer does not begin with {match[0]!r}")
    return position


def plural(word: str) -> str:
    """The English plural of a noun."""
    lower = word.lower()
    if lower in _PLURALS:
        return _PLURALS[lower]
    if re.search(r"[^aeiou]y$", lower):
        return word[:-1] + "ies"
    if re.search(r"(s|x|z|ch|sh)$", lower):
        return word + "es"
    return word + "s"


def said_yes_or_no(
    tokenizer: Tokenizer, ids: Int[np.ndarray, " a"], position: int = 0
) -> tuple[str, str]:
    """The first word of an answer, Yes or No, and its opposite in the same spelling.

    Args:
      tokenizer: the model's tokenizer.
      ids: token ids of the answer.
      position: position of the first word, behind the thought of a model that thinks first.

    Raises:
      InputError: the first token is neither Yes nor No.
    """
    said = token_texts(tokenizer, ids)[position].strip()
    if said not in _OPPOSITE:
        raise InputError(f"the answer begins with {said!r}, which is neither Yes nor No")
    return said, _OPPOSITE[said]
