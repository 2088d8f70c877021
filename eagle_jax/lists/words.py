"""Words of an answer that a list is built around: the name of an object, Yes or No."""

import re

import numpy as np
from jaxtyping import Int

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import decode_answer, find_target, token_texts
from eagle_jax.inputs.prompt import Tokenizer
from eagle_jax.metrics.hallucination import OTHER

_PLURALS = {"person": "people", "mouse": "mice", "knife": "knives", "sheep": "sheep"}
_SPELLINGS = (str, str.lower, str.upper)
_OTHER = {spell(one): spell(other) for one, other in OTHER.items() for spell in _SPELLINGS}


def find_object(
    tokenizer: Tokenizer, ids: Int[np.ndarray, " a"], name: str, plurals: bool = False
) -> int:
    """The first token of the first place where an answer names an object.

    Args:
      tokenizer: of the model.
      ids: the answer.
      name: of the object, one word or more; only whole words count, in any case.
      plurals: whether its plural counts as well.

    Returns:
      A position in the answer.

    Raises:
      InputError: the answer does not name it, or no token begins with its word.

    References:
      EAGLE, arXiv 2509.22496, word level; some of the published targets are tokens of other
      words, which this refuses.
    """
    words = name.split()
    endings = [words[-1], plural(words[-1])] if plurals else [words[-1]]
    last = "|".join(map(re.escape, endings))
    pattern = r"\s+".join([*map(re.escape, words[:-1]), f"(?:{last})"])
    pattern = rf"(?<!\w){pattern}(?!\w)"
    match = re.search(pattern, decode_answer(tokenizer, ids), re.IGNORECASE)
    if match is None:
        raise InputError(f"the answer does not name the {name}")
    position = int(find_target(tokenizer, ids, match[0])[0])
    token = token_texts(tokenizer, ids)[position].strip().casefold()
    found = match[0].casefold()
    if not token or not (found.startswith(token) or token.startswith(found)):
        raise InputError(f"the token {token!r} of the answer does not begin with {match[0]!r}")
    return position


def plural(word: str) -> str:
    """The English plural of the name of an object."""
    lower = word.lower()
    if lower in _PLURALS:
        return _PLURALS[lower]
    if re.search(r"[^aeiou]y$", lower):
        return word[:-1] + "ies"
    if re.search(r"(s|x|z|ch|sh)$", lower):
        return word + "es"
    return word + "s"


def said_yes_or_no(tokenizer: Tokenizer, ids: Int[np.ndarray, " a"]) -> tuple[str, str]:
    """The Yes or No that an answer begins with, and the opposite in the same spelling.

    Raises:
      InputError: its first token is neither.
    """
    said = token_texts(tokenizer, ids)[0].strip()
    if said not in _OTHER:
        raise InputError(f"the answer begins with {said!r}, which is neither Yes nor No")
    return said, _OTHER[said]
