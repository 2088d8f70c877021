"""Evaluation of runs: groups, damage, comparison, tables, files and the command line."""

import json
import shutil

import numpy as np
import pytest
from made_results import corrected_from, made_result, write_run

from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.metrics.hallucination import (
    average_minimal_correction,
    correction_success_rate,
    minimal_correction,
    right_answers,
)
from eagle_jax.metrics.statistics import bootstrap_interval
from eagle_jax.reports.evaluation_figure import draw_evaluation
from eagle_jax.reports.evaluation_page import evaluation_text
from eagle_jax.results.evaluation import compare_runs, evaluate
from eagle_jax.results.measures import measure
from eagle_jax.results.run_folder import read_result, write_result

PREFIXES = (24, 23, 22, 20, None)


def results(strength=1.0, shuffled=False):
    made = []
    for i in range(5):
        order = None
        if shuffled:
            order = np.random.default_rng(i).permutation(24).astype(np.int32)
        options = {"seed": i, "strength": strength, "order": order}
        made.append(made_result(f"caption-{i}", "sentence", controls=1, **options))
        made.append(made_result(f"word-{i}", "word", mask=i < 3, **options))
        answers = corrected_from(PREFIXES[i])
        made.append(made_result(f"no-{i}", "presence", answers=answers, **options))
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run and a baseline with random orders over the same items; for reading only."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "run", results())
    write_run(folder / "baseline", results(shuffled=True))
    return folder


@pytest.fixture
def copied(runs, tmp_path, monkeypatch):
    """A working folder with both runs, free to be damaged."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_groups_hold_every_item_once_and_its_means(runs):
    found = evaluate(runs / "run")
    assert list(found.groups) == ["word", "sentence", "presence"]
    for kind, group in found.groups.items():
        names = {"word": "word", "sentence": "caption", "presence": "no"}
        assert [row.name for row in group.rows] == [f"{names[kind]}-{i}" for i in range(5)]
        for name, value in group.measures.items():
            column = np.array([row.values.get(name, np.nan) for row in group.rows])
            assert value == bootstrap_interval(column)
    assert found.groups["word"].measures["mask_iou"].count == 3
    assert "mask_iou" not in found.groups["presence"].measures
    assert found.damaged == found.failed == ()


def test_rows_are_the_measures_of_what_was_written(runs):
    row = evaluate(runs / "run").groups["sentence"].rows[2]
    expected = measure(made_result("caption-2", "sentence", seed=2, controls=1))
    assert row.values == expected.values and row.words == expected.words


@pytest.mark.parametrize("published", [False, True])
def test_rates_of_corrections_are_those_of_all_items_together(runs, published):
    measures = evaluate(runs / "run", published_measures=published).groups["presence"].measures
    area = np.arange(25) / 24
    corrections = []
    for k in PREFIXES:
        right = right_answers(corrected_from(k), "No", published)
        corrections.append(minimal_correction(area, right, blank=not published))
    corrections = np.array(corrections)
    amcr = average_minimal_correction(corrections)
    assert measures["correction"].mean == pytest.approx(amcr, abs=1e-6)
    assert amcr == pytest.approx((0 + 1 + 2 + 4 + 24) / 24 / 5)
    rate = correction_success_rate(corrections, published=published)
    assert measures["success"].mean == pytest.approx(rate)
    assert rate == pytest.approx(3 / 4 if published else 3 / 5)
    assert measures["success_of_corrected"].mean == pytest.approx(3 / 4)
    assert measures["unresolved"].mean == pytest.approx(1 / 5)


def test_reliance_by_class_counts_each_answer_once(runs):
    group = evaluate(runs / "run").groups["sentence"]
    assert list(group.classes) == [
        *("content", "colour", "number", "determiner", "preposition", "punctuation", "end")
    ]
    content = group.classes["content"]
    means = [
        np.mean([word.highest for word in row.words if word.word_class == "content"])
        for row in group.rows
    ]
    assert content.words == 15 and content.raw == bootstrap_interval(np.array(means))
    assert group.auroc == 1


def test_samples_without_a_sensitive_token_are_left_out_and_counted(tmp_path):
    dull = made_result("b", "word")
    flat = np.full_like(dull.attribution.insertion, 0.9)
    fields = {"insertion": flat, "deletion": flat}
    dull = dull._replace(attribution=type(dull.attribution)(**vars(dull.attribution) | fields))
    write_run(tmp_path, [made_result("a", "word"), dull])
    measures = evaluate(tmp_path).groups["word"].measures
    assert measures["insertion_auc"].count == 2
    for name in ("sensitive_insertion_auc", "normalised_insertion_auc"):
        assert measures[name].count == 1
    own = measure(made_result("a", "word")).values["sensitive_insertion_auc"]
    assert measures["sensitive_insertion_auc"].mean == pytest.approx(own)


def damage(folder, how):
    record = folder / "item.json"
    if how == "no attribution":
        (folder / "attribution.json").unlink()
    elif how == "arrays cut short":
        content = (folder / "arrays.npz").read_bytes()
        (folder / "arrays.npz").write_bytes(content[: len(content) // 2])
    elif how == "no controls":
        (folder / "controls.npz").unlink()
    elif how == "controls cut short":
        content = (folder / "controls.npz").read_bytes()
        (folder / "controls.npz").write_bytes(content[: len(content) // 2])
    elif how == "mask is no picture":
        (folder / "mask.png").write_bytes(b"no picture")
    elif how == "item is no object":
        record.write_text("[]")
    elif how == "label is a number":
        record.write_text(json.dumps(json.loads(record.read_text()) | {"label": 5}))
    elif how == "answers are numbers":
        record.write_text(json.dumps(json.loads(record.read_text()) | {"answers": [1] * 25}))
    elif how == "boxes are short":
        record.write_text(json.dumps(json.loads(record.read_text()) | {"boxes": [[1, 2]]}))


DAMAGES = (
    "no attribution",
    "arrays cut short",
    "no controls",
    "controls cut short",
    "mask is no picture",
    "item is no object",
    "label is a number",
    "answers are numbers",
    "boxes are short",
)


def test_damaged_results_are_named_and_the_others_counted(tmp_path):
    made = [made_result(f"item-{i}", seed=i, controls=1) for i in range(len(DAMAGES) + 2)]
    write_run(tmp_path, made)
    for i, how in enumerate(DAMAGES):
        damage(tmp_path / "items" / f"item-{i}", how)
    (tmp_path / "items" / ".item-99-0123abcd-new").mkdir()
    found = evaluate(tmp_path)
    assert sorted(name for name, _ in found.damaged) == [
        f"item-{i}" for i in range(len(DAMAGES))
    ]
    for name, reason in found.damaged:
        assert name in reason and "\n" not in reason
    rows = found.groups["sentence"].rows
    assert {row.name for row in rows} == {made[-1].item.name, made[-2].item.name}


def test_items_without_a_result_are_listed(copied):
    failures = copied / "run" / "failures"
    failures.mkdir()
    (failures / "word-0.json").write_text('{"reason": "failed before it was done"}')
    (failures / "line-7.json").write_text('{"reason": "no such image"}')
    (failures / "line-9.json").write_text("{")
    found = evaluate(copied / "run")
    assert [name for name, _ in found.failed] == ["line-7", "line-9"]
    assert found.failed[0][1] == "no such image" and "is damaged" in found.failed[1][1]
    assert evaluation_text(found).endswith("no result   2 items: line-7, line-9")


def test_nothing_to_evaluate(tmp_path):
    with pytest.raises(InputError, match="holds no run: give the --out folder"):
        evaluate(tmp_path)
    (tmp_path / "items").mkdir()
    with pytest.raises(InputError, match="holds no result to evaluate$"):
        evaluate(tmp_path)
    write_run(tmp_path, [made_result("a")])
    damage(tmp_path / "items" / "a", "no attribution")
    with pytest.raises(InputError, match="the first is damaged: .*no attribution.json"):
        evaluate(tmp_path)


def test_runs_are_compared_item_by_item(runs):
    first, second = evaluate(runs / "run"), evaluate(runs / "baseline")
    found = compare_runs(first, second)
    for kind, group in first.groups.items():
        others = second.groups[kind].rows
        difference = found.differences[kind]["insertion_auc"]
        pairs = zip(group.rows, others, strict=True)
        ours = [a.values["insertion_auc"] - b.values["insertion_auc"] for a, b in pairs]
        assert difference.mean == pytest.approx(np.mean(ours))
        assert difference.low <= difference.mean <= difference.high
        assert (difference.count, difference.higher, difference.lower) == (5, 5, 0)
    assert found.differences["presence"]["correction"][:3] == (0, 0, 0)
    assert found.differences["word"]["mask_iou"].count == 3
    assert found.unpaired == ()


def test_only_the_same_question_makes_a_pair(copied):
    write_result(copied / "baseline", made_result("word-1", "word", prompt="What is it?"))
    write_result(copied / "baseline", made_result("word-2", "sentence"))
    write_result(copied / "baseline", made_result("word-9", "word"))
    shutil.rmtree(copied / "run" / "items" / "no-3")
    found = compare_runs(evaluate(copied / "run"), evaluate(copied / "baseline"))
    assert found.unpaired == ("no-3", "word-1", "word-2", "word-9")
    assert found.differences["word"]["insertion_auc"].count == 3
    assert found.differences["presence"]["insertion_auc"].count == 4


def test_runs_that_cannot_be_compared(runs, tmp_path):
    first = evaluate(runs / "run")
    with pytest.raises(InputError, match="have no item in common"):
        compare_runs(first, evaluate(write_run(tmp_path, [made_result("other")])))
    with pytest.raises(InputError, match="only one of the two runs has published measures"):
        compare_runs(first, evaluate(runs / "run", published_measures=True))


def test_controls_come_back_as_they_were_written(tmp_path):
    made = made_result("a", controls=2)
    write_result(tmp_path, made)
    found = read_result(tmp_path, "a").controls
    assert found is not None and list(found) == list(made.controls)
    for name, curves in made.controls.items():
        for ours, theirs in zip(curves, found[name], strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    write_result(tmp_path, made_result("a"))
    assert read_result(tmp_path, "a").controls is None
    assert not (tmp_path / "items" / "a" / "controls.npz").exists()


def test_the_figure_shows_means_and_middle_halves(runs):
    found = evaluate(runs / "run")
    figure = draw_evaluation(found, evaluate(runs / "baseline"))
    assert len(figure.axes) == 6
    curves, words = figure.axes[2:4]
    stacked = np.stack([row.curves for row in found.groups["sentence"].rows])
    np.testing.assert_allclose(curves.lines[0].get_ydata(), stacked[:, 0].mean(0))
    np.testing.assert_allclose(curves.lines[2].get_ydata(), stacked[:, 1].mean(0))
    band = curves.collections[0].get_paths()[0].vertices[:, 1]
    low, high = np.quantile(stacked[:, 0], [0.25, 0.75], axis=0)
    assert band.min() == pytest.approx(low.min()) and band.max() == pytest.approx(high.max())
    labels = [label.get_text() for label in words.get_yticklabels()]
    assert labels == list(found.groups["sentence"].classes)
    corrected = figure.axes[5].lines[0]
    np.testing.assert_allclose(
        corrected.get_xdata(), [0, 0, 1 / 24, 2 / 24, 4 / 24, 1], atol=1e-6
    )
    np.testing.assert_allclose(corrected.get_ydata(), [0, 0.2, 0.4, 0.6, 0.8, 0.8])


def test_the_command_prints_tables_and_writes_files(copied, capsys):
    arguments = ["--json", "made/a.json", "--figure", "a.png", "--baseline", "baseline"]
    assert cli.main(["evaluate", "run", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found, baseline = evaluate(copied / "run"), evaluate(copied / "baseline")
    lines = out.splitlines()
    assert lines[0] == "run         run: 15 items"
    mean = found.groups["word"].measures["insertion_auc"]
    assert lines[3].split() == [
        *("insertion", "AUC", f"{mean.mean:.4f}", f"{mean.low:.4f}", "to", f"{mean.high:.4f}"),
        *("5", "higher"),
    ]
    assert "difference  run less baseline" in lines
    assert lines[-1] == "written     made/a.json, a.png"
    assert (copied / "a.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((copied / "made" / "a.json").read_text())
    comparison = record.pop("comparison")
    assert record | {"out": ""} == found.to_json() | {"out": ""}
    differences = compare_runs(found, baseline).differences
    for kind, measures in differences.items():
        assert comparison["differences"][kind].keys() == measures.keys()
        stored = comparison["differences"][kind]["insertion_auc"]["mean"]
        assert stored == measures["insertion_auc"].mean
    never = record["groups"]["presence"]["rows"][4]["values"]
    assert never["success_of_corrected"] is None and never["success"] == 0


def test_columns_of_a_table_line_up(runs):
    blocks = evaluation_text(evaluate(runs / "run")).split("\n\n")
    for block in blocks[1:]:
        header, first, *_ = block.splitlines()
        end = header.index("mean") + len("mean")
        assert first[end - 6 : end].strip() and first[end] == " "
        assert all(line == line.rstrip() for line in block.splitlines())


def test_losses_of_what_should_be_low_are_wins(runs):
    found = evaluate(runs / "run"), evaluate(runs / "baseline")
    lines = evaluation_text(found[0], compare_runs(*found)).splitlines()
    start = lines.index(next(line for line in lines if line.startswith("word, both runs")))
    deletion = next(line for line in lines[start:] if line.startswith("deletion AUC"))
    assert deletion.split()[-3:] == ["5", "5", "0"] and " -0." in deletion
    control = next(line for line in lines if line.startswith("insertion AUC, random order"))
    assert control.split()[-1] == "5", "neither way is better"


def test_published_measures_reach_the_table(copied, capsys):
    assert cli.main(["evaluate", "run", "--published-measures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run         run: 15 items, evaluated with published measures"
    rate = next(line for line in lines if line.startswith("CSR@10% "))
    assert rate.split()[1] == "0.7500" and rate.split()[-2:] == ["4", "higher"]
    assert cli.main(["evaluate", "run"]) == 0
    rate = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("CSR@10% "))
    assert rate.split()[1] == "0.6000" and rate.split()[-2:] == ["5", "higher"]


def test_the_command_names_damage_and_exits_with_1(copied, capsys):
    damage(copied / "run" / "items" / "word-3", "arrays cut short")
    damage(copied / "run" / "items" / "caption-1", "item is no object")
    assert cli.main(["evaluate", "run"]) == 1
    out, err = capsys.readouterr()
    assert "word, 4 items" in out and "sentence, 4 items" in out
    lines = err.splitlines()
    assert len(lines) == 2 and all(line.startswith("eagle-jax: ") for line in lines)
    assert "caption-1" in lines[0] and "word-3" in lines[1]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("nowhere",), "nowhere holds no run"),
        (("run", "--figure", "a.bmp"), "must end in .png, .pdf, .svg"),
        (("run", "--figure", "run/manifest.json/a.png"), "cannot write"),
        (("run", "--json", "run"), "cannot write run: Is a directory"),
        (("run", "--baseline", "nowhere"), "nowhere holds no run"),
        ((), "required: DIR"),
    ],
)
def test_what_cannot_be_evaluated(arguments, said, copied, capsys):
    (copied / "run" / "manifest.json").write_text("{}")
    assert cli.main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1


def test_help_of_the_command_has_examples(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["evaluate", "--help"])
    assert exit_.value.code == 0
    assert "  eagle-jax evaluate results --baseline other-results" in capsys.readouterr().out
