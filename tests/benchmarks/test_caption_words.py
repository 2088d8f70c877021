"""Words of captions: content words, and words that the grammar forces."""

import pytest
from caption_words import image_decides, is_content_word


@pytest.mark.parametrize(
    ("token", "content"),
    [(" red", True), ("car", True), (" a", False), (",", False), ("<|im_end|>", False)],
)
def test_content_words(token, content):
    assert is_content_word(token) is content


@pytest.mark.parametrize(
    ("caption", "forced"),
    [
        ("The image shows a red cat .", "The image shows"),
        ("The image shows an orange cat and a red car .", "The image shows orange ."),
        (
            "The image shows a red cat , an orange car and a blue hat .",
            "The image shows orange .",
        ),
    ],
)
def test_what_the_grammar_of_captions_forces(caption, forced):
    words = [*caption.split(), "<|im_end|>"]
    found = image_decides([f" {word}" for word in words])
    kept = [word for word, open_ in zip(words, found, strict=True) if not open_]
    assert kept == [*forced.split(), "<|im_end|>"]
