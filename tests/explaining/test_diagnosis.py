"""Diagnoses: what is removed is what the answer needs gone, and the figure shows just that."""

import dataclasses
import json

import matplotlib
import numpy as np
import pytest
from made_attributions import made_attribution
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

import eagle_jax
from eagle_jax import Attribution, InputError
from eagle_jax.cli import main
from eagle_jax.demo import MISTAKES
from eagle_jax.demo.questions import named, presence_question
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.explaining.diagnosis import Diagnosis, diagnose
from eagle_jax.reports.diagnosis_figure import draw_diagnosis, draw_removed
from eagle_jax.reports.image_panels import figure_image, resized
from eagle_jax.scoring.answers import regenerate
from eagle_jax.search.sets import prefixes

REGIONS = "grid:4x4"


@pytest.fixture(scope="module")
def demo():
    return eagle_jax.load("demo")


@pytest.fixture(scope="module")
def mistake():
    return json.loads(MISTAKES.read_text())["wrong_yes"][21]


@pytest.fixture(scope="module")
def found(demo, mistake):
    picture = draw_scene(mistake["seed"]).image
    return diagnose(demo, picture, mistake["question"], "No", regions=REGIONS)


def test_the_correction_is_the_least_that_helps(found, demo, mistake):
    assert (found.before, found.label, found.right) == ("Yes", "No", False)
    assert found.answers[-1] == "Yes" and found.answers[found.kept] == found.after == "No"
    assert set(found.answers[found.kept + 1 :]) == {"Yes"}
    attribution = found.attribution
    assert attribution.tokens == ("No",) and attribution.positions.tolist() == [0]
    assert found.correction == pytest.approx(1 - attribution.area[found.kept])
    assert 0 < found.correction < 1
    # What the search scored is what the model says: the likelier word of two.
    says_no = attribution.insertion[:, 0] > 0.5
    assert [answer == "No" for answer in found.answers] == says_no.tolist()
    again = regenerate(
        demo,
        attribution.image,
        attribution.labels,
        mistake["question"],
        prefixes(attribution.order),
    )
    assert tuple(again) == found.answers


def test_bisection_agrees_where_the_answer_turns_once(found, demo, mistake):
    picture = draw_scene(mistake["seed"]).image
    quick = diagnose(demo, picture, mistake["question"], "no", regions=REGIONS, bisect=True)
    asked = [k for k, answer in enumerate(quick.answers) if answer is not None]
    assert len(asked) <= 6 and all(quick.answers[k] == found.answers[k] for k in asked)
    assert quick.kept == found.kept and quick.after == found.after


def test_a_right_answer_is_left_alone(demo, tmp_path):
    scene = draw_scene(20_000_136)
    asked = presence_question(named(scene)[0][1])
    fine = diagnose(demo, scene.image, asked, "Yes", regions=REGIONS)
    assert fine.right and fine.correction == 0 and fine.kept is None
    assert "the model is right" in fine.summary()
    with pytest.raises(InputError, match="nothing to draw"):
        fine.save(tmp_path / "out")


def test_saved_files_tell_the_same(found, tmp_path):
    out = tmp_path / "out"
    found.save(out)
    found.save(out)
    assert Attribution.load(out) == found.attribution
    record = json.loads((out / "answers.json").read_text())
    assert tuple(record["answers"]) == found.answers
    assert (record["kept"], record["before"], record["after"]) == (found.kept, "Yes", "No")
    assert (out / "diagnosis.png").stat().st_size > 10_000
    (out / "mine.txt").touch()
    with pytest.raises(InputError, match=r"mine\.txt"):
        found.save(out)


@pytest.mark.parametrize("label", ["maybe", "", "No way"])
def test_labels_are_yes_or_no(label, demo, mistake):
    picture = draw_scene(mistake["seed"]).image
    with pytest.raises(InputError, match="the label is"):
        diagnose(demo, picture, mistake["question"], label)


def test_never_corrected_and_unasked_answers():
    attribution = made_attribution(answer=("Yes",), positions=[0], scored=["No"])
    regions = attribution.order.size
    never = Diagnosis("Q?", "No", "Yes", attribution, ("Yes",) * (regions + 1))
    assert never.kept is None and np.isnan(never.correction)
    assert "none: no removal" in never.summary()
    answers = (None,) * 4 + ("No",) + (None,) * (regions - 5) + ("Yes",)
    some = Diagnosis("Q?", "No", "Yes", attribution, answers, "No.")
    assert some.kept == 4 and f"{regions - 4} of {regions} regions" in some.summary()
    assert "then 2 answers" in some.summary()


@pytest.mark.parametrize("kept", [0, 1, 11, 12])
def test_exactly_the_removed_regions_are_darkened(kept):
    attribution = made_attribution(shape=(60, 80), n=12)  # a divisor of the picture drawn
    n = attribution.order.size
    kept = min(kept, n)
    axes = matplotlib.figure.Figure().add_axes((0, 0, 1, 1))
    draw_removed(axes, attribution, kept)
    (shown,) = axes.get_images()
    image = figure_image(attribution).astype(float)
    removed = np.isin(attribution.labels, attribution.order[kept:])
    scale = np.array(image.shape[:2]) // removed.shape
    dark = np.kron(removed, np.ones(scale, bool))
    expected = np.round(image * np.where(dark, 0.3, 1.0)[..., None])
    np.testing.assert_array_equal(shown.get_array(), expected)
    outlines = [one for one in axes.collections if isinstance(one, LineCollection)]
    assert sum(len(one.get_segments()) for one in outlines) > 0 or kept == n


def test_removed_regions_show_the_fill():
    fill = np.random.default_rng(4).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    made = made_attribution(shape=(60, 80), n=12)
    colour = made.image.mean(axis=(0, 1)).round()
    for name, shown in (("mean", colour), (fill, resized(fill))):
        axes = matplotlib.figure.Figure().add_axes((0, 0, 1, 1))
        draw_removed(axes, dataclasses.replace(made, fill=name), 0)
        expected = np.round(0.3 * figure_image(made) + 0.7 * shown)
        np.testing.assert_array_equal(axes.get_images()[0].get_array(), expected)


ODD = "Is there $x_1$ or 图 in it? " * 20


@pytest.mark.parametrize(
    ("case", "corrected"),
    [
        ({}, True),
        ({"shape": (90, 50)}, False),
        ({"shape": (400, 30)}, True),
        ({"shape": (40, 300), "prompt": ODD}, False),
        ({"shape": (1, 1)}, True),
    ],
)
def test_no_text_is_clipped(case, corrected):
    attribution = made_attribution(**case, answer=("Yes",), positions=[0], scored=["No"])
    answers = ["Yes"] * (attribution.order.size + 1)
    if corrected:
        answers[0] = "No, " + "there is none at all " * 30
    drawing = draw_diagnosis(attribution, answers, "No")
    renderer = FigureCanvasAgg(drawing).get_renderer()
    drawing.draw(renderer)
    texts = [t for t in drawing.findobj(matplotlib.text.Text) if t.get_visible()]
    for text in texts:
        if text.get_text():
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.y0 >= 0, text
            assert box.x1 <= drawing.bbox.x1 and box.y1 <= drawing.bbox.y1, text
    words = " ".join(text.get_text() for text in texts)
    assert ("corrected at 100.0%" in words) is corrected
    assert ("not corrected by any removal" in words) is not corrected


def test_answers_must_fit_the_order():
    with pytest.raises(InputError, match="3 answers for"):
        draw_diagnosis(made_attribution(), ["Yes", "No", "Yes"], "No")


def test_command_line(tmp_path, capsys):
    out = tmp_path / "diagnosis"
    assert main(["diagnose", "--regions", "grid:2x2", "--out", str(out), "--bisect"]) == 0
    said = capsys.readouterr().out
    assert "right is    No" in said and "diagnosis.png" in said
    assert (out / "answers.json").exists()


def test_command_line_refuses_half_a_question(tmp_path, capsys):
    assert main(["diagnose", "--label", "No"]) == 2
    assert "need an image" in capsys.readouterr().err
    assert main(["diagnose", "a.png", "--prompt", "Is it?"]) == 2
    assert "--label is missing" in capsys.readouterr().err
