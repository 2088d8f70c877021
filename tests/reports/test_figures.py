"""Figures: nothing clipped or overlapping for any shape of image and answer."""

import dataclasses
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from made_attributions import made_attribution, made_values
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch, Rectangle

from eagle_jax.errors import InputError
from eagle_jax.reports import fonts
from eagle_jax.reports.chips import ChipRows
from eagle_jax.reports.comparison_figure import draw_comparison
from eagle_jax.reports.diagnosis_figure import draw_diagnosis
from eagle_jax.reports.explanation_figure import draw_explanation
from eagle_jax.reports.image_panels import enlarged, figure_image, overlay, resized
from eagle_jax.reports.look import RELIANCE_COLOURS, short_number
from eagle_jax.reports.value_panels import word_parts

LONG = tuple(f" word{i % 37}" for i in range(127)) + ("</s>",)
ODD = ("$x_1$", " 图像", " 😀👍", "\n\n", "long" * 60, "  ", "%s{}", "▁piece", "\x00\ud800")


# What byte-level tokenizers make of " \U0001f600": each token alone decodes to U+FFFD.
SPLIT = {
    "answer": ("A", " \ufffd", "\ufffd", "\ufffd", " kite", "."),
    "text": "A \U0001f600 kite.",
}
ESTIMATES = made_values(8, 12) | {
    "pairs": np.array([[0, 1], [2, 3]], np.int32),
    "interaction": np.array([0.25, -0.125], np.float32),
    "order": np.arange(12)[::-1].astype(np.int32),
}
CASES = {
    "landscape": {},
    "estimates": ESTIMATES,
    "portrait": {"shape": (90, 50)},
    "values of a tower": {"shape": (400, 30), **made_values(8, 10)},
    "values of odd texts": {"shape": (40, 300), "answer": ODD, **made_values(9, 5)},
    "tower": {"shape": (400, 30), "prompt": ""},
    "panorama": {"shape": (40, 300), "answer": LONG},
    "one pixel, one token": {"shape": (1, 1), "answer": ("Yes",)},
    "odd texts": {"answer": ODD, "prompt": "$\\alpha$ 图 " + "unbroken" * 80 + " words" * 200},
    "counterfactual": {"answer": ("Yes", "<|im_end|>"), "positions": [0], "scored": ["No"]},
    "large": {"shape": (1300, 1900)},
}


@pytest.mark.parametrize("name", CASES)
def test_no_text_is_clipped_and_no_chips_overlap(name):
    drawing = draw_explanation(made_attribution(**CASES[name]))
    renderer = FigureCanvasAgg(drawing).get_renderer()
    drawing.draw(renderer)
    page = drawing.bbox
    for text in drawing.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text():
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.y0 >= 0, text
            assert box.x1 <= page.x1 and box.y1 <= page.y1, text
    chips = [patch for patch in drawing.findobj(FancyBboxPatch) if patch.axes.axison is False]
    boxes = [chip.get_window_extent(renderer) for chip in chips]
    assert len(boxes) == len(made_attribution(**CASES[name]).answer_tokens)
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= page.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_methods_stand_side_by_side():
    found = {f"method-{i}": made_attribution(**CASES["odd texts"]) for i in range(6)}
    drawing = draw_comparison(found)
    drawing.draw(renderer := FigureCanvasAgg(drawing).get_renderer())
    assert len(drawing.axes) == 7
    boxes = [axes.get_window_extent(renderer) for axes in drawing.axes]
    page, texts = drawing.bbox, drawing.findobj(matplotlib.text.Text)
    shown = [text for text in texts if text.get_visible() and text.get_text()]
    for text in shown:
        box = text.get_window_extent(renderer)
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0, text
        assert box.y1 <= page.y1 and not any(box.overlaps(other) for other in boxes), text
    auc = short_number(found["method-0"].insertion_auc)
    assert sum(f"insertion {auc}" in text.get_text() for text in shown) == 6


def words(drawing):
    return [text.get_text() for text in drawing.findobj(matplotlib.text.Text)]


def test_estimates_are_drawn_by_place_with_their_errors():
    drawing = draw_explanation(made_attribution(**ESTIMATES))
    shown = words(drawing)
    assert "12 and 11: +0.250, they need each other" in shown
    assert "10 and 9: -0.125, either is enough" in shown
    (panel,) = (one for one in drawing.axes if one.get_xlabel().startswith("region, by"))
    (bars,) = panel.containers
    _, _, (spans,) = bars
    value = ESTIMATES["values"].mean(0)
    error = np.sqrt((ESTIMATES["errors"] ** 2).sum(0)) / 8
    ranked = np.argsort(-value)
    ends = np.array([segment[:, 1] for segment in spans.get_segments()])
    np.testing.assert_allclose(ends.mean(axis=1), value[ranked], atol=1e-6)
    np.testing.assert_allclose(np.ptp(ends, axis=1), 2 * error[ranked], rtol=1e-5)
    # Ticks are places in the order; dots are hollow where a value is not apart from 0.
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        str(12 - region) for region in ranked
    ]
    hollow = {line.get_markerfacecolor(): line.get_xdata() for line in panel.lines}
    apart = np.abs(value[ranked]) >= 2 * error[ranked]
    np.testing.assert_array_equal(hollow["white"], np.flatnonzero(~apart))
    assert 0 < apart.sum() < 12
    assert "Regions that act together" not in words(draw_explanation(made_attribution()))


def test_words_that_rest_most_on_the_image_have_maps_of_their_own():
    insertion = np.full((13, 8), 0.9, np.float32)
    insertion[0] = 0.85, 0.5, 0.2, 0.9, 0.9, 0.1, 0.0, 0.0
    it = made_attribution(**made_values(8, 12), insertion=insertion)
    parts = word_parts(it)
    assert [text for text, _ in parts] == ["red", "car", "house"]
    assert all(part == it.part(text) for text, part in parts)
    drawing = draw_explanation(it)
    shown = words(drawing)
    assert "Words that rest most on the image" in shown
    assert [text in shown for text in ("+0.40", "+0.70", "+0.80")] == [True] * 3
    assert f"{it.image_share.mean:.0%} (" in "".join(shown)
    saliency = overlay(
        resized(it.image, 400), enlarged(it.part("car").saliency, np.empty((300, 400, 3)))
    )
    maps = [axes.images[0].get_array() for axes in drawing.axes if axes.images]
    assert any(shown.shape == saliency.shape and (shown == saliency).all() for shown in maps)
    for nothing in (made_attribution(insertion=insertion), it.part("car")):
        assert word_parts(nothing) == []
    many = made_attribution(
        answer=tuple(f" word{i}" for i in range(9)),
        **made_values(9, 12),
        insertion=np.linspace(0, np.ones(9), 13, dtype=np.float32),
    )
    assert len(word_parts(many)) == 6


def test_a_word_is_drawn_alone():
    it = made_attribution(**made_values(8, 12))
    shown = words(it.plot("car"))
    assert shown == words(draw_explanation(it.part("car"))) != words(it.plot())
    assert "probability of \u201ccar\u201d" in shown
    with pytest.raises(InputError, match="'dog' is not among"):
        it.plot("dog")


def test_a_map_of_values_has_a_scale_in_probability():
    it = made_attribution(**made_values(8, 12))
    top = it.map().max()
    labels = [text for axes in draw_explanation(it).axes for text in axes.get_yticklabels()]
    assert f"{top:.2g}" in [text.get_text() for text in labels]
    against = dataclasses.replace(it, values=-np.abs(it.values))
    draw_explanation(against)


def test_a_diagnosis_shows_values_below_0():
    it = made_attribution(**made_values(8, 12))
    drawing = draw_diagnosis(it, ["Yes"] * 13, "No")
    image = figure_image(it)
    values = np.maximum(-it.map(), 0)
    expected = overlay(image, enlarged(values / values.max(), image), 0.6, "YlOrRd")
    np.testing.assert_array_equal(drawing.axes[0].images[0].get_array(), expected)
    without = made_attribution()
    expected = overlay(image, enlarged(1 - without.saliency, image), 0.6, "YlOrRd")
    shown = draw_diagnosis(without, ["Yes"] * 13, "No").axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, expected)


def test_chips_name_special_and_counterfactual_tokens():
    assert "[end]" in words(draw_explanation(made_attribution()))
    shown = words(draw_explanation(made_attribution(**CASES["counterfactual"])))
    assert "No (scored instead of Yes)" in shown and "[end]" in shown
    assert "probability of \u201cNo\u201d" in shown


def split_attribution(**fields):
    made = made_attribution(answer=SPLIT["answer"], **fields)
    return dataclasses.replace(made, answer=SPLIT["text"])


def test_a_character_split_over_tokens_is_one_chip_with_a_stripe_for_each():
    it = split_attribution()
    drawing = draw_explanation(it)
    shown = words(drawing)
    assert "\U0001f600" in shown and "\ufffd" not in shown
    chips = [patch for patch in drawing.findobj(FancyBboxPatch) if patch.axes.axison is False]
    assert len(chips) == 4
    box = chips[1].get_bbox()
    stripes = [one for one in chips[1].axes.patches if isinstance(one, Rectangle)]
    colours = [RELIANCE_COLOURS(ChipRows(it, 700.0).scale(v)) for v in it.reliance[1:4]]
    assert [stripe.get_facecolor() for stripe in stripes] == colours
    ends = [stripe.get_x() for stripe in stripes]
    np.testing.assert_allclose(ends, box.x0 + box.width * np.arange(3) / 3)
    assert [f"{value:.2f}" in shown for value in it.reliance] == [True] * 6
    part = draw_explanation(split_attribution(positions=[2]))
    chips = [patch for patch in part.findobj(FancyBboxPatch) if patch.axes.axison is False]
    assert [chip.get_linewidth() > 1 for chip in chips] == [False, True, False, False]


def test_the_footer_counts_regions_and_names_search_or_method():
    def footer(**fields):
        return words(draw_explanation(made_attribution(**fields)))[-1].split("    ")

    whole = made_attribution()
    assert footer() == ["demo", "12 regions", "exact search", "156 forwards", "3.0 s"]
    cut = {
        "order": whole.order[:4],
        "insertion": whole.insertion[:5],
        "deletion": whole.deletion[:5],
    }
    assert footer(**cut)[1] == "4 of 12 regions in order"
    assert footer(method="igos++", options={"seed": 0})[2] == "igos++"
    assert "fill: mean" in footer(fill="mean") and "fill: mean" not in footer()
    pixels = np.zeros((48, 64, 3), np.uint8)
    assert "fill: an image" in footer(fill=pixels)


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 1e-30, 0])
def test_very_small_probabilities_have_an_axis_and_no_red(scale):
    rising = np.linspace(0.1, 1, 13, dtype=np.float32)[:, None].repeat(8, 1) * np.float32(scale)
    it = made_attribution(insertion=rising, deletion=rising[::-1].copy())
    drawing = draw_explanation(it)
    renderer = FigureCanvasAgg(drawing).get_renderer()
    drawing.draw(renderer)
    (axes,) = (one for one in drawing.axes if one.get_xlabel().startswith("image area"))
    assert axes.yaxis.get_offset_text().get_text() == ""
    legend = axes.get_legend().get_window_extent(renderer)
    labels = [text for text in axes.get_yticklabels() if text.get_text()]
    assert len({text.get_text() for text in labels}) == len(labels) > 1
    assert not any(text.get_window_extent(renderer).overlaps(legend) for text in labels)
    assert axes.get_ylim()[1] == pytest.approx(1.08 * scale or 1.0)
    assert (ChipRows(it, 700.0).scale.vmin, ChipRows(it, 700.0).scale.vmax) == (0, 1)


@pytest.fixture
def fonts_of_a_bare_machine(monkeypatch):
    """No font besides the one that comes with matplotlib."""
    cached = (fonts._face, fonts._latin, fonts._log_missing)
    for function in cached:
        function.cache_clear()
    monkeypatch.setattr(fonts, "_installed", lambda: frozenset({"DejaVu Sans"}))
    monkeypatch.setattr(fonts, "_add_new_fonts", lambda: None)
    yield
    for function in cached:
        function.cache_clear()


def test_a_missing_font_is_named_once_with_its_package(fonts_of_a_bare_machine, caplog):
    it = made_attribution(answer=(" 图像", " 日本", " 한국어", " नमस्ते", " \U0001f98a", "."))
    for _ in range(2):
        shown = words(draw_explanation(it))
    assert shown.count("\ufffd") == 5
    said = [record.getMessage() for record in caplog.records if "font" in record.name]
    packages = ["fonts-noto-cjk", "fonts-noto-core", "fonts-symbola"]
    assert [line.split()[-1] for line in said] == packages
    assert "characters of Chinese, Japanese and Korean" in said[0]


def test_fonts_follow_the_script_where_the_machine_has_them(monkeypatch):
    for function in (fonts._face, fonts._latin):
        function.cache_clear()
    held = {"DejaVu Sans", "Noto Sans CJK JP", "Noto Sans Devanagari", "Noto Emoji"}
    monkeypatch.setattr(fonts, "_installed", lambda: frozenset(held))
    latin = set(map(chr, range(32, 127)))
    monkeypatch.setattr(
        fonts, "_has_glyph", lambda face, c: face in held and (c in latin) == ("Vu" in face)
    )
    families = {
        text: fonts.font(8, text=text).get_family() for text in ("a", "图", "न", "\U0001f98a")
    }
    assert families["a"] == ["DejaVu Sans"]
    assert families["图"] == ["DejaVu Sans", "Noto Sans CJK JP"]
    assert families["न"] == ["DejaVu Sans", "Noto Sans Devanagari"]
    assert families["\U0001f98a"] == ["DejaVu Sans", "Noto Emoji"]
    for function in (fonts._face, fonts._latin):
        function.cache_clear()


def test_only_scored_tokens_are_coloured_and_outlined():
    drawing = draw_explanation(made_attribution(positions=[2]))
    chips = [patch for patch in drawing.findobj(FancyBboxPatch) if patch.axes.axison is False]
    white = [chip.get_facecolor()[:3] == (1, 1, 1) for chip in chips]
    assert white == [True, True, False, True, True, True, True, True]
    assert chips[2].get_linewidth() > chips[1].get_linewidth()


def test_colour_range_of_the_chips_is_raw():
    it = made_attribution()
    scale = ChipRows(it, 700.0).scale
    assert scale.vmin == it.reliance.min() and scale.vmax == it.reliance.max()
    alone = ChipRows(made_attribution(positions=[2]), 700.0).scale
    assert (alone.vmin, alone.vmax) == (0, 1)


def test_legend_gives_the_aucs():
    it = made_attribution()
    shown = words(draw_explanation(it))
    assert f"insertion (AUC {it.insertion_auc:.2f})" in shown
    assert f"deletion (AUC {it.deletion_auc:.2f})" in shown


def test_overlay_is_yellow_where_salient_and_violet_elsewhere():
    saliency = np.zeros((80, 80), np.float32)
    saliency[20:60, 20:60] = 1
    mixed = overlay(np.full((80, 80, 3), 100, np.uint8), saliency).astype(int)
    ground = np.round(0.45 * 100)
    np.testing.assert_allclose(mixed[40, 40], ground + 0.55 * np.array([253, 231, 37]), atol=1)
    np.testing.assert_allclose(mixed[2, 2], ground + 0.55 * np.array([68, 1, 84]), atol=1)


def test_no_global_state_is_touched(tmp_path):
    before = dict(matplotlib.rcParams)
    made_attribution().plot().savefig(tmp_path / "figure.pdf")
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys, eagle_jax.results.storage, eagle_jax.metrics.faithfulness\n"
        "heavy = {'matplotlib', 'torch', 'transformers', 'scipy', 'skimage'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "import eagle_jax.reports.explanation_figure\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
