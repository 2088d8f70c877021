"""The pages as people use them: real clicks in a headless Chromium."""

import base64
import contextlib
import dataclasses
import io
import json
import threading
import time

import numpy as np
import pytest
from chromium import CHROMIUM, FLAGS
from live_server import live_server
from made_attributions import made_attribution, made_values
from made_results import corrected_from, made_result
from PIL import Image

import eagle_jax
from eagle_jax import demo
from eagle_jax.explaining.explanation import Approach
from eagle_jax.live.session import Session
from eagle_jax.metrics.word_classes import phrase_tokens
from eagle_jax.reports.page import Explanation, report
from eagle_jax.reports.page.run_pages import IndexEntry, index_page
from eagle_jax.scoring.case import AskSettings

# The map, without the hatching over it.
MAP = "canvas:not(.hatching)"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens an address in a window of its own; a message on the console fails the test."""
    contexts, said = [], []

    def note(text):
        # These tests read canvases more often than a page does.
        if not text.startswith("Canvas2D"):
            said.append(text)

    def open_page(address, width=1280, height=1000, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(str(address))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def reported(path, *shown):
    report(list(shown), path)
    return path.as_uri()


def until(what, patience=60.0):
    """Waits for what a page takes a moment for."""
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def settled(page):
    """The page, with all drawing done."""
    page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return page


def overlay(page, panel=0, layer=MAP):
    """Pixels over the picture, (H, W, 4)."""
    settled(page)
    width, height, values = page.evaluate(
        """([panel, layer]) => {
          const canvas = document.querySelectorAll(layer)[panel];
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          let text = "";
          for (let i = 0; i < data.length; i += 32768)
            text += String.fromCharCode(...data.subarray(i, i + 32768));
          return [width, height, btoa(text)];
        }""",
        [panel, layer],
    )
    values = np.frombuffer(base64.b64decode(values), np.uint8).astype(np.int64)
    return values.reshape(height, width, 4)


def inside(labels):
    """One pixel of each region that no border runs through."""
    same = np.zeros(labels.shape, bool)
    same[:-1, :-1] = (labels[:-1, :-1] == labels[1:, :-1]) & (
        labels[:-1, :-1] == labels[:-1, 1:]
    )
    return [
        tuple(np.argwhere(same & (labels == region))[0]) for region in range(labels.max() + 1)
    ]


def at(page, explanation, region):
    """Where a region of the picture is on the screen."""
    box = page.locator(MAP).first.bounding_box()
    height, width = explanation.labels.shape
    row, column = inside(explanation.labels)[region]
    return (
        box["x"] + (column + 0.5) / width * box["width"],
        box["y"] + (row + 0.5) / height * box["height"],
    )


def gains(made, tokens):
    """What each region brought some tokens along the order, by region."""
    shown = made.insertion[:, tokens].mean(axis=1, dtype=np.float64)
    hidden = made.deletion[:, tokens].mean(axis=1, dtype=np.float64)
    found = np.zeros(made.regions)
    found[made.order] = np.diff(shown) - np.diff(hidden)
    return found


def check_map(page, made, values):
    pixels = overlay(page)[tuple(np.transpose(inside(made.labels)))]
    expected = np.round(255 * 0.8 * np.abs(values)).astype(int)
    assert np.abs(pixels[:, 3] - expected).max() <= 1
    for (red, _, blue, alpha), value in zip(pixels, values, strict=True):
        if alpha > 40:
            assert (red > blue) == (value > 0)


def chosen(page):
    return [
        chip.inner_text() for chip in page.locator('.chip[aria-pressed="true"] .text').all()
    ]


def test_a_click_shows_where_a_word_comes_from(open_page, tmp_path):
    answer = ("A", " half", "-open", " red", " door", ".", " It", " is", ".", "<|im_end|>")
    insertion = np.random.default_rng(5).random((13, 10)).astype(np.float32)
    made = made_attribution(answer=answer, insertion=insertion)
    page = open_page(reported(tmp_path / "a.html", made))
    check_map(page, made, made.saliency[tuple(np.transpose(inside(made.labels)))])
    chips = page.locator(".chip")
    chips.nth(1).click()
    assert chosen(settled(page)) == ["half", "-open"]
    values = gains(made, [1, 2])
    check_map(page, made, values / np.abs(values).max())
    said = page.locator(".caption").inner_text()
    blank, full = made.insertion[0, 1:3].mean(), made.deletion[0, 1:3].mean()
    assert "\u201chalf-open\u201d" in said
    assert f"{blank:.2f} on a blank image, {full:.2f} on the whole image" in said

    chips.nth(3).click(modifiers=["Shift"])
    assert chosen(settled(page)) == ["half", "-open", "red"]
    values = gains(made, [1, 2, 3])
    check_map(page, made, values / np.abs(values).max())
    chips.nth(1).click(modifiers=["Shift"])
    assert chosen(settled(page)) == ["red"]
    page.get_by_text("Tokens", exact=True).click()
    chips.nth(2).click()
    assert chosen(settled(page)) == ["-open"]
    page.get_by_text("Sentences", exact=True).click()
    chips.nth(6).click()
    assert chosen(settled(page)) == ["It", "is", "."]
    chips.nth(6).click()
    page.mouse.move(0, 0)
    assert chosen(settled(page)) == []
    chips.nth(3).hover()
    assert len(chosen(settled(page))) == 6, "hovering shows a sentence before it is chosen"


def test_a_region_tells_its_rank_and_its_tokens(open_page, tmp_path):
    made = made_attribution()
    page = open_page(reported(tmp_path / "a.html", made))
    region = int(made.order[2])
    page.mouse.move(*at(page, made, region))
    said = settled(page).locator(".reading").inner_text()
    share = (made.labels == region).mean()
    assert said.startswith(f"Rank 3 of {made.regions}, ")
    assert f"{100 * share:.1f} %" in said or f"{100 * share:.0f} %" in said
    each = [gains(made, [t])[region] for t in range(len(made.tokens))]
    best = int(np.argmax(each))
    assert f"\u201c{made.tokens[best].strip()}\u201d +{each[best]:.2f}" in said
    carried = page.locator(".chip.carried").count()
    assert carried == sum(gain > 0.02 for gain in each)
    # The same in words, by the keyboard.
    page.mouse.move(0, 0)
    page.locator("summary").first.click()
    page.locator(".regions button").nth(2).focus()
    assert settled(page).locator(".reading").inner_text() == said
    # Its outline is drawn.
    assert (overlay(page)[made.labels == region][:, :3] == (255, 216, 74)).all(axis=1).any()


def test_a_character_split_over_tokens_is_one_chip(open_page, tmp_path):
    answer = ("A", " \ufffd", "\ufffd", "\ufffd", " kite", ".")
    made = dataclasses.replace(made_attribution(answer=answer), answer="A \U0001f600 kite.")
    page = settled(open_page(reported(tmp_path / "a.html", made)))
    assert page.locator(".chip .text").all_inner_texts() == ["A", "\U0001f600", "kite", "."]
    chip = page.locator(".chip").nth(1)
    assert chip.locator(".bar").count() == 3 and page.locator(".bar").count() == 6
    lines = [
        f"token {i}: probability {made.deletion[0, i]:.3f}, reliance {made.reliance[i]:.3f}"
        for i in (1, 2, 3)
    ]
    assert chip.get_attribute("title") == "\n".join(lines)
    levels = chip.locator(".part").evaluate_all(
        "(parts) => parts.map((part) => parseFloat(part.style.getPropertyValue('--level')))"
    )
    low, high = made.reliance.min(), made.reliance.max()
    expected = np.abs((made.reliance[1:4] - low) / (high - low) - 0.5) * 130
    np.testing.assert_allclose(levels, expected, atol=1)
    chip.click()
    assert chosen(settled(page)) == ["\U0001f600"]
    values = gains(made, [1, 2, 3])
    check_map(page, made, values / np.abs(values).max())
    assert "\u201c\U0001f600\u201d: mean probability" in page.locator(".caption").inner_text()


@pytest.mark.parametrize("fill", ["black", "mean", "image"])
def test_hidden_regions_show_the_fill(open_page, tmp_path, fill):
    made = made_attribution()
    # Drawn in few colours, so that the page holds it without loss.
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, ::2], pixels[::3] = (10, 200, 30), (250, 0, 90)
    made = dataclasses.replace(made, fill=pixels if fill == "image" else fill)
    page = open_page(reported(tmp_path / "a.html", made))
    page.get_by_text("Without these", exact=True).click()
    page.get_by_role("slider").fill("4")
    hidden = np.isin(made.labels, made.order[:4])
    until(lambda: (overlay(page)[hidden, 3] == 255).all())
    mean = made.image.mean(axis=(0, 1)).round().astype(int)
    expected = {"black": [0, 0, 0], "mean": mean, "image": pixels[hidden]}[fill]
    shown = overlay(page)
    assert (shown[hidden, :3] == expected).all() and not shown[~hidden, 3].any()


def test_a_finger_marks_a_region_and_chooses_a_word(open_page, tmp_path):
    made = made_attribution()
    page = open_page(reported(tmp_path / "a.html", made), width=390, has_touch=True)
    page.locator(".chip").nth(1).tap()
    assert chosen(settled(page)) == ["red"]
    page.locator(MAP).scroll_into_view_if_needed()
    page.touchscreen.tap(*at(page, made, int(made.order[0])))
    assert settled(page).locator(".reading").inner_text().startswith("Rank 1 of ")


def test_dragging_along_the_curve_shows_the_picture_region_by_region(open_page, tmp_path):
    made = made_attribution()
    page = open_page(reported(tmp_path / "a.html", made))
    box = page.locator(".curves").bounding_box()

    def x(area):
        return box["x"] + (36 + float(area) * (400 - 36 - 24)) / 400 * box["width"]

    middle = box["y"] + box["height"] / 2
    page.mouse.move(x(1), middle)
    page.mouse.down()
    for step in (9, 4):
        page.mouse.move(x(made.area[step] + 0.01), middle)
        settled(page)
        assert page.locator("output").inner_text().startswith(f"{step} of {made.regions} ")
        hidden = overlay(page)[tuple(np.transpose(inside(made.labels)))][:, 3] == 255
        assert set(np.flatnonzero(~hidden)) == set(made.order[:step])
    page.mouse.up()
    bars = page.evaluate(
        """[...document.querySelectorAll(".bar")]
          .map((bar) => Number(bar.style.getPropertyValue("--chance")))"""
    )
    np.testing.assert_allclose(bars, made.insertion[4], rtol=1e-5)
    page.get_by_text("Without these", exact=True).click()
    hidden = overlay(page)[tuple(np.transpose(inside(made.labels)))][:, 3] == 255
    assert set(np.flatnonzero(hidden)) == set(made.order[:4])
    assert "Without the first 4" in page.locator(".reading").inner_text()

    page.get_by_role("button", name="Play").click()
    until(lambda: int(page.locator("output").inner_text().split()[0]) >= 6)
    page.get_by_role("button", name="Pause").click()
    before = page.locator("output").inner_text()
    time.sleep(1)
    assert page.locator("output").inner_text() == before


def test_all_of_it_works_by_the_keyboard(open_page, tmp_path):
    made = made_attribution()
    page = open_page(reported(tmp_path / "a.html", made))
    first = page.locator(".chip").first
    for _ in range(10):
        page.keyboard.press("Tab")
        if first.evaluate("(chip) => chip === document.activeElement"):
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert chosen(settled(page)) == ["red"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Enter")
    assert chosen(settled(page)) == ["red", "car"]
    page.keyboard.press("Escape")
    assert chosen(settled(page)) == []
    page.get_by_role("slider").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert settled(page).locator("output").inner_text().startswith("1 of ")
    told = page.locator(MAP).get_attribute("aria-label")
    assert told.startswith(f"Only the first 1 of {made.regions} regions")
    assert (
        page.locator(".chip").nth(1).get_attribute("aria-description").startswith("probability")
    )


def luminance(colour):
    numbers = np.array([float(one) for one in colour]) / 255
    linear = np.where(numbers <= 0.04045, numbers / 12.92, ((numbers + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_readable_in_both_schemes(scheme, open_page, tmp_path):
    address = reported(tmp_path / "a.html", made_attribution())
    page = settled(open_page(address, color_scheme=scheme))
    # Colours as they come out, whatever notation the style has them in.
    pairs = page.evaluate(
        """() => {
          const context = document.createElement("canvas").getContext("2d");
          const plain = (colour) => {
            context.fillStyle = colour;
            context.fillRect(0, 0, 1, 1);
            return Array.from(context.getImageData(0, 0, 1, 1).data).slice(0, 3);
          };
          return [document.body, ...document.querySelectorAll(".chip")].map((one) => {
            const style = getComputedStyle(one);
            return [plain(style.backgroundColor), plain(style.color)];
          });
        }"""
    )
    assert (luminance(pairs[0][0]) < 0.1) == (scheme == "dark")
    for ground, ink in pairs:
        low, high = sorted([luminance(ground), luminance(ink)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ground, ink)


@pytest.mark.parametrize("width", [1440, 800, 390])
def test_nothing_runs_out_of_the_window(width, open_page, tmp_path):
    answer = tuple(f" word{i}" for i in range(60)) + ("unbroken" * 30, "\n", " end")
    made = made_attribution(answer=answer, prompt="long" * 60 + " words" * 100)
    page = settled(open_page(reported(tmp_path / "a.html", made, made), width=width))
    assert page.evaluate("document.documentElement.scrollWidth") == width
    boxes = [panel.bounding_box() for panel in page.locator(".panel").all()]
    assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1440), (
        "side by side where there is room"
    )


def test_panels_of_one_answer_move_together(open_page, tmp_path):
    made = made_attribution()
    other = dataclasses.replace(made, order=made.order[::-1].copy(), options={"search": "x"})
    another = made_attribution(answer=("Yes", "</s>"))
    page = open_page(reported(tmp_path / "a.html", made, other, another))
    page.locator(".panel").first.locator(".chip").nth(2).click()
    page.mouse.move(0, 0)
    assert chosen(settled(page)) == ["car", "car"]
    page.get_by_role("slider").fill("3")
    for panel, one in enumerate((made, other)):
        shown = overlay(page, panel)[tuple(np.transpose(inside(made.labels)))][:, 3] == 0
        assert shown.sum() == np.searchsorted(one.area, made.area[3] + 1e-6, "right") - 1
    assert [one.inner_text() for one in page.locator("h2").all()] == ["exact", "x", "exact"]


def test_a_diagnosis_is_dragged_until_the_answer_turns(open_page, tmp_path):
    made = made_result(kind="presence", answers=corrected_from(15), controls=1)
    image = np.full((40, 60, 3), 90, np.uint8)
    attribution = dataclasses.replace(made.attribution, image=image)
    explanation = Explanation(
        "wrong", attribution, "No", made.answers, "No, there is none.", made.controls
    )
    page = open_page(reported(tmp_path / "a.html", explanation))
    now = page.locator(".now")
    assert "With all regions it answers: \u201cYes, it is.\u201d" in now.inner_text()
    page.get_by_role("slider").fill("16")
    assert "first 16 regions" in settled(page).locator(".now").inner_text()
    assert "wrong" in now.inner_text()
    page.get_by_role("button", name="Show the correction").click()
    assert "No, there is none." in settled(page).locator(".now").inner_text()
    assert page.locator(".cells .kept.here").count() == 1
    assert page.locator("output").inner_text().startswith("15 of 24 ")
    beats = page.locator(".verdicts").inner_text()
    assert "beats random ones" in beats and page.locator(".trust tbody tr").count() == 4


def test_what_speaks_against_an_answer_is_said_and_shown(open_page, tmp_path):
    falling = np.linspace(1, 0.1, 13, dtype=np.float32)[:, None] ** 2
    made = made_attribution(
        answer=("Yes", "<|im_end|>"),
        positions=[0],
        scored=["No"],
        insertion=falling,
        deletion=falling[::-1].copy(),
    )
    explanation = Explanation("wrong", made, "No", ("No",) * 12 + ("Yes",))
    page = open_page(reported(tmp_path / "a.html", explanation))
    values = gains(made, [0])
    assert (values < 0).all()
    check_map(page, made, values / np.abs(values).max())
    assert "speaks against it" in page.locator(".caption").inner_text()
    assert "speaks against this answer" in page.locator(".verdicts").inner_text()


def worth(made, tokens):
    """What the regions are worth to some tokens, and the errors, which are independent."""
    chosen = made.errors[list(tokens)].astype(np.float64)
    error = np.sqrt((chosen**2).sum(0)) / len(chosen)
    return made.values[list(tokens)].mean(0, dtype=np.float64), error


def scaled(made, tokens):
    """The map of some tokens as the page draws it: values scaled by the largest of them."""
    values = worth(made, tokens)[0]
    return values / max(np.abs(values).max(), 0.05 * np.abs(made.values).max())


def hatched(page, made):
    """Regions with lines over them, and how dark the lines are."""
    layer = overlay(page, layer=".hatching")[..., 3]
    finer = len(layer) // len(made.labels)
    labels = np.repeat(np.repeat(made.labels, finer, axis=0), finer, axis=1)
    strength = np.array([layer[labels == region].max() for region in range(made.regions)])
    lined = np.array([(layer[labels == region] > 0).mean() for region in range(made.regions)])
    assert (lined[strength > 0] < 0.4).all(), "lines, not areas"
    return strength


def test_a_word_shows_its_own_values_and_what_is_not_apart_from_0(open_page, tmp_path):
    made = made_attribution(**made_values(8, 12))
    # A word that the image hardly moves.
    made.values[4] /= 1000
    page = open_page(reported(tmp_path / "a.html", made))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    check_map(page, made, scaled(made, range(8)))
    assert "not apart from 0" in page.locator(".legend").inner_text()
    for index, tokens in ((2, [2]), (5, [5]), (4, [4])):
        page.locator(".chip").nth(index).click()
        page.mouse.move(0, 0)
        check_map(page, made, scaled(made, tokens))
        value, error = worth(made, tokens)
        apart = np.abs(value) >= 2 * error
        strength = hatched(page, made)
        np.testing.assert_array_equal(strength == 0, apart)
        limit = max(np.abs(value).max(), 0.05 * np.abs(made.values).max())
        expected = 255 * (0.1 + 0.6 * np.minimum(1, 2 * error / limit))
        np.testing.assert_allclose(strength[~apart], expected[~apart], atol=1)
        shown = [r for r in np.argsort(-value) if apart[r] and value[r] > 0.05 * limit][:5]
        assert page.locator(".badges span").count() == len(shown)
    page.locator(".chip").nth(1).click()
    page.locator(".chip").nth(2).click(modifiers=["Shift"])
    page.mouse.move(0, 0)
    check_map(page, made, scaled(made, [1, 2]))
    page.get_by_text("Without these", exact=True).click()
    assert settled(page).locator(".hatching").is_hidden()
    assert asked == [], "a click asks nobody"


def test_a_region_tells_its_value_for_the_chosen_word(open_page, tmp_path):
    made = made_attribution(**made_values(8, 12))
    made.values[2, 3:5], made.errors[2, 3:5] = (0.3, 0.02), (0.05, 0.05)
    page = open_page(reported(tmp_path / "a.html", made))
    page.mouse.move(*at(page, made, 3))
    value, error = worth(made, range(8))
    mean = f"{value[3]:.3f} \u00b1 {error[3]:.3f}"
    said = settled(page).locator(".reading").inner_text()
    assert f"It is worth {mean} to the whole answer" in said
    assert "\u201ccar\u201d +0.30" in said
    page.locator(".chip").nth(2).click()
    page.mouse.move(*at(page, made, 3))
    said = settled(page).locator(".reading").inner_text()
    part = 100 * 0.3 / made.values[2].sum()
    assert "It is worth 0.300 \u00b1 0.050 to \u201ccar\u201d, " in said
    assert f"{part:.0f} % of what the image adds" in said
    page.mouse.move(*at(page, made, 4))
    said = settled(page).locator(".reading").inner_text()
    assert "It is worth 0.020 \u00b1 0.050 to \u201ccar\u201d, not apart from 0." in said
    # The regions in words have the values as well.
    page.locator("summary").first.click()
    region = int(made.order[0])
    row = settled(page).locator(".regions tbody tr").first.inner_text()
    assert f"{made.values[:, region].mean():.3f} \u00b1" in row


def test_values_have_error_bars_and_the_map_says_how_far_it_may_be_off(open_page, tmp_path):
    made = made_attribution(**made_values(8, 12))
    page = settled(open_page(reported(tmp_path / "a.html", made)))

    def check(tokens, name):
        value, error = worth(made, tokens)
        ranked = np.argsort(-value)
        largest = set(np.argsort(-np.abs(value))[:10])
        expected = [
            f"rank by value {place}: {value[region]:.3f} \u00b1 {error[region]:.3f}"
            for place, region in enumerate(ranked, start=1)
            if region in largest
        ]
        assert page.locator(".estimate title").all_text_contents() == expected
        assert name in page.locator(".estimates figcaption").inner_text()
        assert page.locator(".estimates rect.against").count() == sum(value[[*largest]] < 0)

    check(np.arange(8), "to the whole answer")
    page.locator(".chip").nth(5).click()
    page.mouse.move(0, 0)
    settled(page)
    check([5], "to \u201chouse\u201d")
    page.locator(".estimate").first.hover()
    first = int(np.argmax(made.values[5]))
    marked = overlay(page)[made.labels == first][:, :3]
    assert (marked == (255, 216, 74)).all(axis=1).any(), "its region is outlined"
    trust = page.locator(".verdicts").inner_text()
    assert "mean error of about 0.031" in trust and "corrected by up to 0.063" in trust
    share = made.image_share
    said = (
        f"{share.mean:.0%} ({share.low:.0%} to {share.high:.0%}) of the words rest on the image"
    )
    assert page.locator(".share").inner_text() == said


def test_a_folder_of_an_earlier_release_is_shown_along_the_order(open_page, tmp_path):
    made = made_attribution()
    made.save(tmp_path / "old")
    page = settled(open_page(reported(tmp_path / "a.html", tmp_path / "old")))
    assert page.locator(".estimates").count() == 0 and page.locator(".hatching").is_hidden()
    assert "not apart" not in page.locator(".legend").inner_text()
    assert "may be" not in page.locator(".verdicts").inner_text()
    page.locator(".chip").nth(2).click()
    page.mouse.move(0, 0)
    values = gains(made, [2])
    check_map(page, made, values / np.abs(values).max())
    page.mouse.move(*at(page, made, 3))
    assert "worth" not in settled(page).locator(".reading").inner_text()


def test_texts_stay_texts(open_page, tmp_path):
    hostile = (
        "</script><script>window.hacked=1</script>",
        " <img src=x onerror=window.hacked=1>",
        " \ud800",
    )
    made = made_attribution(answer=hostile, prompt="<b onmouseover=window.hacked=1>x</b>" * 3)
    explanation = Explanation(
        "</h2><script>window.hacked=1</script>", made, "No", hostile[:1] * 13
    )
    page = settled(open_page(reported(tmp_path / "a.html", explanation, explanation)))
    assert page.evaluate("window.hacked") is None
    chips = [chip.inner_text() for chip in page.locator(".chip .text").all()][:3]
    assert chips == [hostile[0], hostile[1].strip(), "\ud800"]
    assert page.locator("h2").first.inner_text() == explanation.name
    assert page.locator("script").count() == 2 and page.locator("main b").count() == 0


def test_without_scripts_the_map_and_the_numbers_are_there(open_page, tmp_path):
    made = made_attribution()
    page = open_page(reported(tmp_path / "a.html", made), java_script_enabled=False)
    assert page.locator("noscript img").is_visible()
    assert page.locator("noscript tbody tr").count() == len(made.tokens)


@pytest.fixture
def index(tmp_path, open_page):
    rng = np.random.default_rng(0)
    values = rng.random(130)
    entries = [
        IndexEntry(
            name=f"item {i:03} <b>",
            kind="word",
            prompt="Is there a cat?" if i % 2 else "Describe it.",
            answer="Yes.",
            wrong=i % 10 == 0,
            values={"insertion_auc": float(values[i]), "box_iou": float(1 - values[i])},
        )
        for i in range(130)
    ]
    means = [{"kind": "word", "items": 130, "measures": {"insertion_auc": [0.5, 0.4, 0.6]}}]
    entries.append(IndexEntry("broken", "failure", problem="line 3: no such image"))
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "item 000 <b>.html").write_text("<h1>The item</h1>")
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "jpeg")
    (tmp_path / "thumbnails").mkdir()
    for entry in entries[:-1]:
        (tmp_path / "thumbnails" / f"{entry.name}.jpg").write_bytes(content.getvalue())
    (tmp_path / "index.html").write_bytes(index_page("a <run>", entries, means))
    return open_page((tmp_path / "index.html").as_uri()), values


def column(page, number):
    return page.locator(f".items tbody tr td:nth-child({number})").all_inner_texts()


def test_the_index_is_sorted_and_paged(index):
    page, values = index
    assert page.locator("h1").inner_text() == "a <run>"
    assert page.locator(".items tbody tr").count() == 50
    assert "1 to 50 of 131" in page.locator(".count").inner_text()
    page.get_by_role("button", name="insertion AUC").click()
    assert column(page, 5) == [f"{one:.3f}" for one in np.sort(values)[:50]]
    page.get_by_role("button", name="insertion AUC").click()
    assert column(page, 5) == [f"{one:.3f}" for one in np.sort(values)[::-1][:50]]
    assert page.locator("#sort").input_value() == "insertion_auc"
    head = page.locator('th[aria-sort="descending"]')
    assert head.inner_text().startswith("insertion AUC")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    assert page.locator(".items tbody tr").count() == 31
    # Items without the value stand last either way.
    assert page.locator(".items tbody tr").last.inner_text().strip().startswith("broken")
    # A measure without a column gets one when it sorts.
    page.locator("#sort").select_option("box_iou")
    assert "best IoU, box" in page.locator(".items thead").inner_text()
    assert page.evaluate("document.querySelector('.items img').naturalWidth") == 8


def test_the_index_is_filtered(index):
    page, values = index
    page.locator("#filter").select_option("wrong")
    assert "1 to 13 of 13" in page.locator(".count").inner_text()
    page.locator("#filter").select_option("failures")
    assert page.locator(".items tbody tr").inner_text().strip().startswith("broken")
    page.locator("#filter").select_option("lowest")
    lowest = np.sort(values)[: 129 // 10 + 1]
    assert sorted(column(page, 5)) == [f"{one:.3f}" for one in lowest]
    page.locator("#filter").select_option("word")
    assert "of 130" in page.locator(".count").inner_text()
    assert "0.500 (0.400 to 0.600)" in page.locator(".means").inner_text()
    page.locator("#filter").select_option("all")
    page.locator("#find").fill("cat item 00")
    assert page.locator(".items tbody tr").count() == 5
    page.locator("#find").fill("")
    bar = page.locator(".bin").nth(10)
    bar.focus()
    page.keyboard.press("Enter")
    assert page.locator(".bin").nth(10).evaluate("(bin) => bin === document.activeElement")
    edges = np.linspace(values.min(), values.max(), 21)
    held = ((values >= edges[10]) & (values < edges[11])).sum()
    assert f"of {held}" in page.locator(".count").inner_text()
    page.locator(".bin").nth(10).click()
    page.locator("#find").fill("000")
    page.get_by_role("link", name="item 000 <b>").click()
    assert page.locator("h1").inner_text() == "The item"


@pytest.fixture(scope="module")
def session():
    return Session(
        eagle_jax.load("demo"), Approach(search="exact"), AskSettings(regions="grid:3x3")
    )


@pytest.fixture(scope="module")
def live(session):
    with live_server(session) as port:
        yield f"http://127.0.0.1:{port}/"


@contextlib.contextmanager
def held(session):
    """Holds each search after its second round until the gate is opened."""
    gate, explain = threading.Event(), session.explain

    def slow(question, positions, tell, cancelled):
        def tell_and_wait(found, planned):
            tell(found, planned)
            if found.order.size == 2:
                gate.wait(60)

        return explain(question, positions, tell_and_wait, cancelled)

    session.explain = slow
    try:
        yield gate
    finally:
        gate.set()
        del session.explain


def test_drop_ask_click_and_watch(open_page, live, session, tmp_path):
    page = open_page(live)
    page.locator("#file").set_input_files(demo.IMAGE)
    page.locator("#question").fill(demo.PROMPT)
    page.get_by_role("button", name="Ask", exact=True).click()
    dog = page.locator(".chip", has_text="dog")
    dog.wait_for()
    with held(session) as gate:
        dog.click()
        until(lambda: "2 of 9 regions found" in page.locator(".status").inner_text())
        until(lambda: page.locator("output").inner_text().startswith("2 of 9 "))
        assert (overlay(page)[..., 3] > 100).any(), "the map grows"
        gate.set()
        page.locator("#download").wait_for()
    alone = eagle_jax.explain(
        session.model,
        demo.IMAGE,
        demo.PROMPT,
        target="dog",
        regions="grid:3x3",
        search="exact",
    )
    caption = page.locator(".caption").inner_text()
    blank, full = alone.insertion[0, 0], alone.deletion[0, 0]
    assert f"{blank:.2f} on a blank image, {full:.2f} on the whole image" in caption
    with page.expect_download() as download:
        page.locator("#download").click()
    kept = tmp_path / "kept.html"
    download.value.save_as(kept)
    copy = open_page(kept.as_uri())
    assert copy.locator(".caption").inner_text() == caption

    page.get_by_role("button", name="Explain the whole answer").click()
    page.locator("aside li").nth(1).wait_for()
    page.locator("aside button").first.click()
    assert settled(page).locator(".caption").inner_text() == caption


def test_one_search_of_the_whole_answer_explains_every_word(open_page, live, session):
    page = open_page(live)
    page.get_by_role("button", name="Try the demo image").click()
    page.locator(".chip", has_text="dog").wait_for()
    page.get_by_role("button", name="Explain the whole answer").click()
    page.locator("#download").wait_for()
    assert "without another search" in page.locator(".tools .hint").inner_text()
    assert "of the words rest on the image" in page.locator(".share").inner_text()
    whole = eagle_jax.explain(
        session.model, demo.IMAGE, demo.PROMPT, regions="grid:3x3", search="exact"
    )
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for word in ("dog", "boat"):
        page.locator(".chip", has_text=word).click()
        page.mouse.move(0, 0)
        check_map(page, whole, scaled(whole, list(phrase_tokens(whole.answer_tokens, word))))
    assert asked == []


def test_cancel_ends_a_search_and_the_page_goes_on(open_page, live, session):
    page = open_page(live)
    page.get_by_role("button", name="Try the demo image").click()
    boat = page.locator(".chip", has_text="boat")
    boat.wait_for()
    with held(session):
        boat.click()
        until(lambda: "2 of 9" in page.locator(".status").inner_text())
        page.get_by_role("button", name="Cancel").click()
        assert page.locator(".status").inner_text() == "Cancelled."
        assert page.locator("aside").is_hidden()
    boat.click()
    page.locator("#download").wait_for()


def test_two_people_wait_for_each_other(open_page, live, session):
    pages = [open_page(live), open_page(live)]
    for page in pages:
        page.get_by_role("button", name="Try the demo image").click()
        page.locator(".chip", has_text="fish").wait_for()
    with held(session) as gate:
        pages[0].locator(".chip", has_text="fish").click()
        until(lambda: "2 of 9" in pages[0].locator(".status").inner_text())
        pages[1].locator(".chip", has_text="dog").click()
        until(lambda: "Waiting for the model" in pages[1].locator(".status").inner_text())
        gate.set()
        for page, word in zip(pages, ("fish", "dog"), strict=True):
            page.locator("#download").wait_for()
            said = page.locator(".caption")
            until(lambda said=said, word=word: f"\u201c{word}\u201d" in said.inner_text())


def test_what_cannot_be_used_is_said_in_one_line(browser, live, tmp_path):
    # Not `open_page`: the browser itself notes the refusals on its console.
    page = browser.new_page()
    page.goto(live)
    (tmp_path / "no.png").write_text(json.dumps("no picture"))
    page.locator("#file").set_input_files(tmp_path / "no.png")
    until(lambda: "not an image file" in page.locator(".status").inner_text())
    page.get_by_role("button", name="Ask", exact=True).click()
    assert page.locator(".status").inner_text() == "Drop an image first."
    page.get_by_role("button", name="Try the demo image").click()
    page.locator(".chip").first.wait_for()
    page.locator("#question").fill("long " * 20_000)
    page.get_by_role("button", name="Ask", exact=True).click()
    until(lambda: "reads at most" in page.locator(".status").inner_text())
    page.route("**/searches", lambda route: route.fulfill(body=""))
    page.locator(".chip").first.click()
    until(lambda: "server ended before" in page.locator(".status").inner_text())
    page.route("**/searches", lambda route: route.abort())
    page.locator(".chip").first.click()
    until(lambda: "cannot be reached" in page.locator(".status").inner_text())
    page.close()
