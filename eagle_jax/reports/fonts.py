"""Text in figures: fonts that have its characters, its width, and lines of a width."""

import bisect
import contextlib
import functools
import itertools
import logging
import unicodedata
from typing import NamedTuple

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_LOG = logging.getLogger(__name__)
_UNKNOWN = "\ufffd"
# They join or style the characters beside them, and leave no gap where no font knows them.
_JOINERS = "\u200d\ufe0e\ufe0f"
_FACES = ("Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")


class _Script(NamedTuple):
    name: str
    faces: tuple[str, ...]
    package: str


_EAST_ASIAN = _Script(
    "Chinese, Japanese and Korean",
    (
        *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei"),
        *("WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans"),
        *("Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
        "Arial Unicode MS",
    ),
    "fonts-noto-cjk",
)
# Fonts of coloured bitmaps, such as Noto Color Emoji, are none that matplotlib draws.
_EMOJI = _Script(
    "emoji and symbols",
    ("Noto Emoji", "Symbola", "Segoe UI Emoji", "Segoe UI Symbol", "Noto Sans Symbols2"),
    "fonts-symbola",
)
_EAST_ASIAN_NAMES = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")
_EAST_ASIAN_NAMES += ("FULLWIDTH", "HALFWIDTH", "KATAKANA-HIRAGANA")


def font(size: float | int, bold: bool = False, text: str = "") -> FontProperties:
    """Fonts of a text in the figures.

    Args:
      size: size in points.
      bold: whether the text is bold.
      text: the text, if it may hold other than Latin characters.
    """
    faces = dict.fromkeys([*_latin(), *filter(None, map(_face, text))])
    return FontProperties(family=list(faces), size=size, weight="bold" if bold else "normal")


def drawable(text: str) -> str:
    """Replaces what no installed font can draw, each run of such characters by one mark.

    The first missing character of a script is logged, with the package that has a font for it.
    """
    text = "".join(c for c in text if c not in _JOINERS or _face(c))
    runs = itertools.groupby(text, key=lambda character: _face(character) is not None)
    return "".join("".join(run) if known else _UNKNOWN for known, run in runs)


def text_width(text: str, size: float | int, bold: bool = False) -> float:
    """Width of a line of text in points."""
    return text_to_path.get_text_width_height_descent(text, font(size, bold, text), False)[0]


def wrapped(text: str, size: float | int, width: float, most: int) -> list[str]:
    """Lines of a text; where it is cut, the last line ends in an ellipsis.

    Args:
      text: text that is wrapped; white space counts as one blank.
      size: size in points.
      width: width of the lines in points.
      most: maximum number of lines.
    """
    # More than this never fits, and measuring a very long prompt takes seconds.
    rest = drawable(" ".join(text.split())[:1000])
    lines = []
    while rest and len(lines) < most:
        # The longest start that fits, cut at a space where there is one.
        fits = bisect.bisect_right(
            range(1, len(rest) + 1), width, key=lambda k: text_width(rest[:k], size)
        )
        cut = fits
        if fits < len(rest) and " " in rest[: fits + 1]:
            cut = rest.rindex(" ", 0, fits + 1)
        lines.append(rest[:cut])
        rest = rest[cut:].lstrip()
    if rest:
        while text_width(lines[-1] + "\u2026", size) > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "\u2026"
    return lines or [""]


@functools.cache
def _face(character: str) -> str | None:
    """Name of an installed font that has the character."""
    if unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co"):
        return None
    script = _script(character)
    for face in (*_latin(), *script.faces):
        if _has_glyph(face, character):
            return face
    _add_new_fonts()
    for face in script.faces:
        if _has_glyph(face, character):
            return face
    if character not in _JOINERS:
        _log_missing(script)
    return None


def _script(character: str) -> _Script:
    first = unicodedata.name(character, "SYMBOL").split()[0]
    if first in _EAST_ASIAN_NAMES:
        return _EAST_ASIAN
    if unicodedata.category(character)[0] in "LMN":
        return _Script(first.title(), (f"Noto Sans {first.title()}",), "fonts-noto-core")
    return _EMOJI


def _has_glyph(face: str, character: str) -> bool:
    if face not in _installed():
        return False
    path = font_manager.findfont(FontProperties(family=face))
    return font_manager.get_font(path).get_char_index(ord(character)) != 0


@functools.cache
def _installed() -> frozenset[str]:
    return frozenset(font_manager.fontManager.get_font_names())


@functools.cache
def _latin() -> tuple[str, ...]:
    return tuple(face for face in _FACES if face in _installed())


@functools.cache
def _add_new_fonts() -> None:
    # Matplotlib lists fonts when it is first used and keeps the list on disk.
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        with contextlib.suppress(Exception):
            font_manager.fontManager.addfont(path)
    _installed.cache_clear()


@functools.cache
def _log_missing(script: _Script) -> None:
    _LOG.warning(
        "no installed font has the characters of %s, so figures show a mark in their place: "
        "install a font, for example with apt-get install %s",
        script.name,
        script.package,
    )


def fitting(text: str, size: float | int, width: float) -> str:
    """A bold text, cut to a width in points."""
    while text_width(text, size, True) > width and len(text) > 1:
        text = text[:-2] + "\u2026"
    return text
