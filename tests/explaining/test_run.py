"""Runs over lists: what is finished stays finished, what fails is named, settings never mix."""

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import storybook_list

import eagle_jax
from eagle_jax import cli, run_list
from eagle_jax.errors import InputError
from eagle_jax.explaining import corrections, loop, preparation
from eagle_jax.lists import Item, read_list
from eagle_jax.results.failures import FAILURES
from eagle_jax.results.manifest import Settings, begin_run, read_manifest
from eagle_jax.results.run_folder import finished_names, read_result, result_folder
from eagle_jax.search.methods import SEARCHES, Search

SETTINGS = Settings(regions="grid:2x2", max_new_tokens=8)
COUNT = 5


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return storybook_list.write_list(tmp_path_factory.mktemp("list"), COUNT)


@pytest.fixture(scope="module")
def entries(path):
    return read_list(path)


@pytest.fixture(scope="module")
def done(entries, tmp_path_factory):
    """A finished run, not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "done"
    report = run_list(entries, out, SETTINGS, together=2)
    assert (report.finished, report.before, report.failures) == (COUNT, 0, ())
    return out


@pytest.fixture
def model_is_not_needed(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(loop, "load", refuse)


def test_each_item_gets_what_explain_finds(entries, done):
    model = eagle_jax.load("demo")
    for item in entries[:3]:
        target = {} if item.label is None else {"target": [0], "target_ids": [item.label]}
        alone = eagle_jax.explain(
            model, item.image, item.prompt, regions="grid:2x2", max_new_tokens=8, **target
        )
        result = read_result(done, item.name)
        ours = result.attribution
        assert result.item == item
        np.testing.assert_array_equal(ours.order, alone.order)
        np.testing.assert_allclose(ours.insertion, alone.insertion, rtol=0, atol=2e-6)
        np.testing.assert_allclose(ours.deletion, alone.deletion, rtol=0, atol=2e-6)
        assert ours.answer == alone.answer and ours.tokens == alone.tokens
        if item.label is None:
            assert result.answers is None
        else:
            assert len(result.answers) == 5 and result.answers[-1] == alone.answer
        files = list(result_folder(done, item.name).iterdir())
        assert sum(file.stat().st_size for file in files) < 50_000


def test_a_finished_run_is_not_done_again(entries, done, model_is_not_needed):
    report = run_list(entries, done, SETTINGS)
    assert (report.finished, report.before, report.forwards) == (COUNT, COUNT, 0)


def test_other_settings_are_refused_by_name(entries, done, model_is_not_needed):
    other = dataclasses.replace(SETTINGS, regions=64, necessity_weight=0.5)
    with pytest.raises(InputError) as error:
        run_list(entries, done, other)
    assert "necessity_weight 1.0, now 0.5" in str(error.value)
    assert "regions 'grid:2x2', now 64" in str(error.value)
    assert read_manifest(done)["settings"]["regions"] == "grid:2x2"


def test_a_result_of_another_question_is_named(entries, done, model_is_not_needed):
    changed = [dataclasses.replace(entries[0], prompt="Is there a dog?"), *entries[1:]]
    report = run_list(changed, done, SETTINGS)
    assert report.finished == COUNT - 1
    (failure,) = report.failures
    assert failure.place == "line 1" and "prompt" in failure.reason
    # The list may move to another place or another line.
    moved = [dataclasses.replace(item, place="line 99") for item in entries]
    assert run_list(moved, done, SETTINGS).failures == ()
    assert not list((done / FAILURES).iterdir())


def test_shares_of_any_number_of_processes_make_the_whole(entries, done, tmp_path):
    out = tmp_path / "out"
    first = run_list(entries, out, SETTINGS, process=(0, 2), together=2)
    assert first.finished == 3
    # Started again as three, of which one never comes.
    for process in (0, 1):
        run_list(entries, out, SETTINGS, process=(process, 3), together=2)
    assert len(finished_names(out)) == 5
    assert run_list(entries, out, SETTINGS).before == COUNT
    for name in finished_names(done):
        ours, theirs = (read_result(folder, name).attribution for folder in (out, done))
        same = dataclasses.replace(ours, seconds=theirs.seconds)
        assert same == theirs


def test_failures_are_named_and_the_rest_finishes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eagle_jax.commands.devices.cache_compilations", lambda: None)
    broken = {
        1: "{not json",
        3: json.dumps({"image": "missing.png", "prompt": "What?"}),
        4: json.dumps({"image": "text.png", "prompt": "What?"}),
        5: json.dumps({"image": "scene-5.png", "prompt": "What?", "target": "unicorn"}),
    }
    path = storybook_list.write_list(tmp_path, 6, broken)
    (tmp_path / "text.png").write_text("no picture")
    out = tmp_path / "out"
    arguments = ["run", str(path), "--out", str(out), "--regions", "grid:2x2"]
    arguments += ["--max-new-tokens", "8", "--together", "2"]
    assert cli.main(arguments) == 1
    said = capsys.readouterr()
    assert "2 of 6 items" in said.out
    for line in (2, 4, 5, 6):
        assert len(re.findall(rf"^failed: line {line} ", said.err, re.MULTILINE)) == 1
    assert "unicorn" in said.err and "missing.png" in said.err
    assert finished_names(out) == ["scene-0", "scene-2"]
    assert len(list((out / FAILURES).iterdir())) == 4
    # Mended lines are done, and their failures forgotten.
    fine = json.dumps({"image": "scene-1.png", "prompt": "Is there a cat in the image?"})
    lines = path.read_text().splitlines()
    lines[1] = fine
    path.write_text("\n".join(lines))
    assert cli.main(arguments) == 1
    assert "3 of 6 items, 2 before" in capsys.readouterr().out
    assert len(list((out / FAILURES).iterdir())) == 3


def test_a_fault_of_ours_does_not_end_the_run(entries, tmp_path, monkeypatch):
    original = preparation.ask

    def ask(model, image, *args, **options):
        if np.array_equal(image, eagle_jax.inputs.images.read_image(entries[1].image)):
            raise ZeroDivisionError("a fault")
        return original(model, image, *args, **options)

    monkeypatch.setattr(preparation, "ask", ask)
    report = run_list(entries[:3], tmp_path / "out", SETTINGS, together=2)
    assert report.finished == 2
    (failure,) = report.failures
    assert failure.reason == "unexpected ZeroDivisionError: a fault"
    record = json.loads((tmp_path / "out" / FAILURES / "scene-1.json").read_text())
    assert "in ask" in record["traceback"]


def test_the_search_of_the_settings_is_the_one_that_runs(entries, tmp_path, monkeypatch):
    def broken(problem):
        raise ZeroDivisionError("a broken search")

    monkeypatch.setitem(SEARCHES, "broken", Search(broken, "raises"))
    settings = dataclasses.replace(SETTINGS, search="broken")
    report = run_list(entries[:1], tmp_path / "out", settings)
    assert report.finished == 0 and "a broken search" in report.failures[0].reason


@pytest.mark.parametrize("regenerate_by", ["scan", "bisect"])
def test_the_batch_size_holds_for_corrections_too(
    regenerate_by, entries, tmp_path, monkeypatch
):
    original, sizes = corrections.regenerate, []

    def regenerate(*args, batch_size, **options):
        sizes.append(batch_size)
        return original(*args, batch_size=batch_size, **options)

    monkeypatch.setattr(corrections, "regenerate", regenerate)
    settings = dataclasses.replace(SETTINGS, regenerate=regenerate_by)
    summary = run_list(entries[1:2], tmp_path / "out", settings, batch_size=3)
    assert summary.finished == 1 and sizes and set(sizes) == {3}


def test_partitions_of_a_run_make_the_maps_that_explain_makes(entries, tmp_path):
    settings = dataclasses.replace(SETTINGS, regions="grid:4x5", partitions=2)
    summary = run_list(entries[:2], tmp_path / "out", settings, together=2)
    assert summary.failures == ()
    model, forwards = eagle_jax.load("demo"), 0
    for item in entries[:2]:
        ours = read_result(tmp_path / "out", item.name).attribution
        target = {} if item.label is None else {"target": [0], "target_ids": [item.label]}
        alone = eagle_jax.explain(
            *(model, item.image, item.prompt),
            **target,
            regions="grid:4x5",
            partitions=2,
            max_new_tokens=8,
        )
        np.testing.assert_array_equal(ours.further_labels, alone.further_labels)
        np.testing.assert_allclose(ours.map(), alone.map(), atol=1e-3)
        forwards += ours.forwards
    assert summary.forwards == forwards
    with pytest.raises(InputError, match="partitions 2, now 3"):
        run_list(entries[:2], tmp_path / "out", dataclasses.replace(settings, partitions=3))


def test_limits_are_kept_and_corrections_need_all_regions(entries, tmp_path):
    settings = dataclasses.replace(SETTINGS, search="exact", top_k=2, stop=5.0, seconds=600.0)
    summary = run_list(entries[:2], tmp_path / "out", settings)
    assert summary.finished == 1
    attribution = read_result(tmp_path / "out", entries[0].name).attribution
    assert attribution.order.size == 2
    limits = {"top_k": 2, "stop": 5.0, "seconds": 600.0}
    assert attribution.options == {"search": "exact"} | limits
    (failure,) = summary.failures
    assert failure.name == entries[1].name and failure.reason == (
        "the search ended after 2 of 4 regions (seconds 600.0, top_k 2, stop 5.0), and "
        "corrections and controls need all of them: raise or omit the limit, or choose the "
        "search surrogate"
    )


def test_controls_are_stored_beside_the_curves(entries, tmp_path):
    settings = dataclasses.replace(SETTINGS, controls=1)
    run_list(entries[:1], tmp_path / "out", settings)
    result = read_result(tmp_path / "out", entries[0].name)
    assert sorted(result.controls) == ["area", "matched-0", "random-0"]
    curves = result.controls["random-0"]
    full = result.attribution.insertion[-1]
    np.testing.assert_allclose(curves.insertion[-1], full, atol=2e-6)
    np.testing.assert_allclose(curves.deletion[0], full, atol=2e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"together": 0}, "together is 0"),
        ({"process": (2, 2)}, "process is 2 of 2"),
        ({"split_weights": 3}, "must divide"),
    ],
)
def test_arguments_that_cannot_be_used(options, said, entries, tmp_path):
    with pytest.raises(InputError, match=said):
        run_list(entries, tmp_path / "out", SETTINGS, **options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"regenerate": "maybe"}, "regenerate is 'maybe'"),
        ({"controls": -1}, "controls is -1"),
        ({"insight_weight": 0.0, "necessity_weight": 0.0}, "not both 0"),
        ({"model": "/no/such/model"}, "not a folder"),
    ],
)
def test_settings_that_cannot_be_used(changes, said, entries, tmp_path):
    with pytest.raises(InputError, match=said):
        run_list(entries, tmp_path / "out", dataclasses.replace(SETTINGS, **changes))


def test_names_must_differ(entries, tmp_path):
    assert isinstance(entries[0], Item)
    with pytest.raises(InputError, match="two items have the name 'scene-0'"):
        run_list([entries[0], entries[0]], tmp_path / "out", SETTINGS)


def test_a_folder_of_other_things_is_left_alone(entries, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        run_list(entries, tmp_path, SETTINGS)


def test_a_run_killed_at_its_very_beginning_begins_again(tmp_path):
    (tmp_path / ".manifest.json").write_text('{"schema"')
    with begin_run(tmp_path, SETTINGS, "weights"):
        pass
    assert read_manifest(tmp_path)["settings"]["weights"] == "weights"
    assert not (tmp_path / ".manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--coordinator", "localhost:1"], "go together"),
        (["--distributed", "--process", "0"], "not both"),
        (["--coordinator", "x:1", "--processes", "2", "--process", "2"], "from 0 to 1"),
    ],
)
def test_processes_that_do_not_add_up(arguments, said, path, tmp_path, capsys):
    assert cli.main(["run", str(path), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert said in capsys.readouterr().err


def start(path, out, cache, *more):
    # What this process has compiled; a copy, of which a killed process may spoil an entry.
    shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], cache, dirs_exist_ok=True)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-m", "eagle_jax.cli", "run", str(path), "--out", str(out)]
        + ["--regions", "grid:2x2", "--max-new-tokens", "8", *more],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_equal_runs(out, reference):
    assert finished_names(out) == finished_names(reference)
    for name in finished_names(reference):
        ours, theirs = read_result(out, name), read_result(reference, name)
        assert ours.answers == theirs.answers and ours.item == theirs.item
        same = dataclasses.replace(ours.attribution, seconds=theirs.attribution.seconds)
        assert same == theirs.attribution


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost(path, done, tmp_path):
    out, rng = tmp_path / "out", random.Random(0)
    cache = tmp_path / "cache"
    times: dict[str, int] = {}
    for _ in range(2):
        process = start(path, out, cache)
        while process.poll() is None and not (out / "items").is_dir():
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for name in finished_names(out) if (out / "items").is_dir() else ():
            written = (result_folder(out, name) / "item.json").stat().st_mtime_ns
            assert times.setdefault(name, written) == written, "done twice"
            read_result(out, name)
    process = start(path, out, cache)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    for name, written in times.items():
        assert (result_folder(out, name) / "item.json").stat().st_mtime_ns == written
    assert f"{COUNT} of {COUNT} items, {len(times)} before" in said
    assert_equal_runs(out, done)
    assert not list((out / "items").glob(".*"))


@pytest.mark.slow
def test_two_processes_find_what_one_finds(path, done, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / "out"
    processes = [
        start(
            path,
            out,
            tmp_path / f"cache{number}",
            *("--coordinator", f"127.0.0.1:{port}", "--processes", "2"),
            *("--process", str(number)),
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "3 of 3 items (process 0 of 2)" in said[0][0]
    assert "2 of 2 items (process 1 of 2)" in said[1][0]
    assert_equal_runs(out, done)
