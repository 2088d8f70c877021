"""Words: cut from tokens of any kind, and classed by list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagle_jax.metrics.word_classes import CLASSES, PERCEPTION, PRIOR, word_class, words


@pytest.mark.parametrize(
    "text, expected",
    [
        ("giraffe", "content"),
        ("Red", "colour"),
        ("GREY", "colour"),
        ("three", "number"),
        ("12", "number"),
        ("1,250.5", "number"),
        ("3rd", "content"),
        ("Yes", "polarity"),
        ("not", "polarity"),
        ("The", "determiner"),
        ("it", "pronoun"),
        ("It's", "pronoun"),
        ("there\u2019s", "pronoun"),
        ("dog's", "content"),
        ("beneath", "preposition"),
        ("and", "conjunction"),
        ("is", "auxiliary"),
        ("isn\u2019t", "auxiliary"),
        ("half-open", "content"),
        (".", "punctuation"),
        ("_", "punctuation"),
        ("\u201c", "punctuation"),
        ("<|im_end|>", "end"),
        ("</s>", "end"),
        ("\u732b", "content"),
    ],
)
def test_class_of_a_word(text, expected):
    assert word_class(text) == expected
    assert [word.word_class for word in words((text,))] == [expected]


def test_every_class_but_polarity_is_on_one_side():
    assert set(PERCEPTION) | set(PRIOR) | {"polarity"} == set(CLASSES)
    assert len(PERCEPTION) + len(PRIOR) + 1 == len(CLASSES)


def test_words_take_the_tokens_that_spell_them():
    tokens = ("The", " gir", "affe", "'s", " 2", ".", "5", " m", ",\n", "", "isn", "'t", "</s>")
    assert [(word.text, word.tokens) for word in words(tokens)] == [
        ("The", (0,)),
        ("giraffe's", (1, 2, 3)),
        ("2.5", (4, 5, 6)),
        ("m", (7,)),
        (",", (8,)),
        ("isn't", (10, 11)),
        ("</s>", (12,)),
    ]


def test_a_token_of_two_words_belongs_to_both():
    assert [word.tokens for word in words(("red car", "s.", "  "))] == [(0,), (0, 1), (1,)]


def test_no_words():
    assert words(()) == words(("",)) == words((" ", "\n")) == []


@given(st.lists(st.text(max_size=4), max_size=8).map(tuple))
def test_words_of_any_text(tokens):
    found = words(tokens)
    for word in found:
        spelt = "".join(tokens[i] for i in word.tokens)
        assert word.text in spelt and word.word_class in CLASSES
    covered = {i for word in found for i in word.tokens}
    for i, token in enumerate(tokens):
        if token.strip() and not any(c.isspace() or c in "\x1c\x1d\x1e\x1f" for c in token):
            assert i in covered, "no token with a visible character is lost"
