"""Words of an English answer and their classes, from lists of words.

Determiners, pronouns, prepositions, conjunctions and auxiliaries are closed classes, so lists
cover nearly all of them; colours and numbers are short lists too. Every other word is
"content", and so is every word of another language. A word has the same class everywhere:
"that" is always a determiner, "like" always a preposition, "orange" always a colour.
"""

import re
from typing import Literal, NamedTuple, get_args

import numpy as np

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError

WordClass = Literal[
    "content",
    "colour",
    "number",
    "polarity",
    "determiner",
    "pronoun",
    "preposition",
    "conjunction",
    "auxiliary",
    "punctuation",
    "end",
]
CLASSES: tuple[WordClass, ...] = get_args(WordClass)
# "yes", "no" and "not" may be claims about the image or figures of speech, so "polarity" is in
# neither group.
PERCEPTION: tuple[WordClass, ...] = ("content", "colour", "number")
PRIOR: tuple[WordClass, ...] = CLASSES[CLASSES.index("determiner") :]

_WORDS: dict[WordClass, str] = {
    "colour": """
        beige black blue bronze brown crimson cyan cream gold golden gray green grey indigo
        ivory khaki lavender lime magenta maroon navy olive orange pink purple red scarlet
        silver tan teal turquoise violet white yellow
    """,
    "number": """
        zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
        fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy
        eighty ninety hundred thousand million dozen
    """,
    "polarity": "yes no not",
    "determiner": """
        a all an another any both each either enough every few many more most much neither
        other several some such that the these this those what which whose
        her his its my our their your
    """,
    "pronoun": """
        anybody anyone anything everybody everyone everything he hers herself him himself i it
        itself me mine myself nobody none nothing ours ourselves she somebody someone something
        theirs them themselves there they us we who whom you yours yourself
    """,
    "preposition": """
        about above across after against along alongside amid among around at atop before behind
        below beneath beside besides between beyond by down during for from in inside into like
        near of off on onto out outside over past per through throughout to toward towards under
        underneath until up upon via with within without
    """,
    "conjunction": """
        although and as because but if nor or since so than though unless when where whether
        while yet
    """,
    "auxiliary": """
        am are be been being can cannot could did do does had has have having is may might must
        shall should was were will would
    """,
}
_CLASS_OF: dict[str, WordClass] = {
    word: word_class for word_class, words in _WORDS.items() for word in words.split()
}
# The end of the answer by its name, a number, a word with marks inside it, or a mark.
_PIECES = re.compile(
    r"<\|[^|>]+\|>|</s>|<(?:eos|end_of_turn)>"
    r"|\d+(?:[.,]\d+)*(?![^\W_])"
    r"|[^\W_]+(?:['\u2019-][^\W_]+)*"
    r"|[^\w\s]|_"
)


class Word(NamedTuple):
    """A word, mark or end-of-answer token.

    Attributes:
      text: text of the word in the answer.
      word_class: class of the word.
      tokens: positions of the tokens that spell the word.
    """

    text: str
    word_class: WordClass
    tokens: tuple[int, ...]


@checked
def words(tokens: tuple[str, ...]) -> list[Word]:
    """Cuts an answer into words and classifies each word.

    "don't" and "half-open" are one word each. A token that spells parts of two words belongs
    to both; a token of blanks belongs to no word.

    Args:
      tokens: texts of the answer's tokens, which joined give the answer.

    Returns:
      The words in the order of the answer.
    """
    ends = [0]
    for token in tokens:
        ends.append(ends[-1] + len(token))
    answer_words, first = [], 0
    for piece in _PIECES.finditer("".join(tokens)):
        while ends[first + 1] <= piece.start():
            first += 1
        last = first
        while ends[last + 1] < piece.end():
            last += 1
        # A token whose text is empty belongs to no word.
        spelt = [i for i in range(first, last + 1) if ends[i] < ends[i + 1]]
        answer_words.append(Word(piece[0], word_class(piece[0]), tuple(spelt)))
    return answer_words


@checked
def word_class(word: str) -> WordClass:
    """The class of a word, a mark or an end-of-answer token.

    Args:
      word: text of a `Word`, in any case.
    """
    if not word:
        raise InputError("word is empty")
    plain = word.lower().replace("\u2019", "'")
    if len(word) > 1 and not word[0].isalnum():
        return "end"
    if not plain[0].isalnum():
        return "punctuation"
    if plain[0].isdigit() and plain[-1].isdigit():
        return "number"
    if plain.endswith("n't"):
        return "auxiliary"
    stem = plain.split("'")[0]
    # "it's" has the class of "it", "dog's" that of "dog".
    return _CLASS_OF.get(plain) or _CLASS_OF.get(stem, "content")


@checked
def phrase_tokens(tokens: tuple[str, ...], phrase: str) -> tuple[int, ...]:
    """Positions of the tokens that spell the first occurrence of a phrase in an answer.

    Args:
      tokens: texts of the answer's tokens, which joined give the answer.
      phrase: a word or phrase.

    Returns:
      The positions; empty if the answer does not contain the phrase.
    """
    match = find_phrase("".join(tokens), phrase)
    if match is None:
        return ()
    ends = np.cumsum([len(token) for token in tokens])
    starts = np.append(0, ends[:-1])
    overlap = (starts < match.end()) & (ends > match.start())
    return tuple(np.flatnonzero(overlap).tolist())


@checked
def find_phrase(text: str, phrase: str, start: int = 0) -> re.Match[str] | None:
    """The first occurrence of a phrase in a text, whatever blanks separate its words.

    Whole words are preferred to parts of words, and equal letters to letters in another case.

    Args:
      text: where to search.
      phrase: a word or phrase.
      start: number of characters to skip.

    Returns:
      The match; None if the text does not contain the phrase, or the phrase is blank.
    """
    words = r"\s+".join(map(re.escape, phrase.split()))
    if not words:
        return None
    for pattern in (rf"(?<!\w){words}(?!\w)", words):
        for flags in (re.NOFLAG, re.IGNORECASE):
            if match := re.compile(pattern, flags).search(text, min(start, len(text))):
                return match
    return None
