"""How commands end: signals at any moment, readers that go away, full devices."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import made_results
import pytest

from eagle_jax import cli
from eagle_jax.commands import leaving
from eagle_jax.errors import InputError
from eagle_jax.lists import read_list
from eagle_jax.results.manifest import Settings, begin_run
from eagle_jax.results.run_folder import ITEMS, finished_names, read_result, result_names

# A command without its imports: watched signals, and work that the test names.
PROGRAM = """
import ctypes, os, sys, time
from pathlib import Path
from eagle_jax import files, interrupts
from eagle_jax.commands import leaving

leaving.watch_signals()
leaving.open_streams()
leaving.expect("interrupted, as expected")

def ready():
    os.write(1, b"ready\\n")

def work():
    ready()
    time.sleep(60)

def call():
    # Does not return to Python, as a compilation does not.
    ready()
    ctypes.CDLL(None).sleep(60)

"""


def start(place, *lines):
    program = PROGRAM + textwrap.dedent("\n".join(lines))
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=place, stdout=-1, stderr=-1, text=True
    )


def await_ready(process):
    assert process.stdout.readline() == "ready\n", process.communicate()


def ended(process) -> tuple[int, str]:
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_and_removes_what_is_half_written(number, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("before")
    (tmp_path / "file").write_text("before")
    before = everything(tmp_path)
    processes = [
        start(
            tmp_path,
            "with files.new_folder('old') as new, files.new_file('file') as file:",
            "    for path in (new / 'file', file):",
            "        path.write_text('half')",
            "    with files.new_folder('new'):",
            f"        {what}()",
        )
        for what in ("work", "call")
    ]
    for process in processes:
        await_ready(process)
        process.send_signal(number)
    for process in processes:
        assert ended(process) == (128 + number, "eagle-jax: interrupted, as expected\n")
    assert everything(tmp_path) == before
    assert (tmp_path / "old" / "file").read_text() == "before"
    assert (tmp_path / "file").read_text() == "before"


def test_the_old_folder_comes_back_between_the_two_steps_of_its_replacement(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("before")
    process = start(
        tmp_path,
        "rename = Path.rename",
        "def slow(path, target):",
        "    rename(path, target)",
        "    if path.name == 'old':",
        "        call()",
        "Path.rename = slow",
        "files.write_folder('old', {'file': b'after'})",
    )
    await_ready(process)
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert everything(tmp_path) == ["old", "old/file"]
    assert (tmp_path / "old" / "file").read_text() == "before"


def test_a_search_hears_the_first_interrupt_and_the_second_ends_it(tmp_path):
    processes = [
        start(
            tmp_path,
            "with interrupts.first_interrupt_waits() as came:",
            "    ready()",
            "    while not came():",
            "        time.sleep(0.01)",
            f"    {what}()",
        )
        for what in ("work", "call", "sys.exit")
    ]
    for process in processes:
        await_ready(process)
        process.send_signal(signal.SIGINT)
    for process in processes[:2]:
        await_ready(process)
        process.send_signal(signal.SIGINT)
        assert ended(process) == (130, "eagle-jax: interrupted, as expected\n")
    assert ended(processes[2]) == (0, "")


def test_what_is_finished_is_written_and_ignored_signals_stay_ignored(tmp_path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = start(
            tmp_path,
            "leaving.expect(lambda: Path('list').read_text())",
            "with interrupts.rescue(lambda: 1 / 0):",
            "    with interrupts.rescue(lambda: files.write_file('list', 'the items so far')):",
            "        call()",
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    await_ready(process)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "eagle-jax: the items so far\n")


def test_a_lost_standard_error_does_not_end_the_work(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "wb") as full, open(writing, "wb") as closed:
        for stream in (full, closed):
            process = subprocess.run(
                [
                    *(sys.executable, "-c"),
                    PROGRAM + "print(1, file=sys.stderr)\nleaving.say('x')\nprint('done')",
                ],
                stdout=-1,
                stderr=stream,
                text=True,
            )
            assert (process.returncode, process.stdout) == (0, "done\n")


COMMANDS = "explain diagnose build run evaluate compare report serve export convert plan"
PRINTING = [[], ["--help"], ["--version"], ["plan"], ["evaluate", "run"]]
PRINTING += [[command, "--help"] for command in COMMANDS.split()]


@pytest.mark.parametrize("buffering", [-1, 0])
def test_outputs_that_nobody_takes(buffering, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made_results.write_run(tmp_path / "run", [made_results.made_result()])
    for arguments in PRINTING:
        reading, writing = os.pipe()
        os.close(reading)
        lost = {141: os.fdopen(writing, "wb", buffering), 1: open("/dev/full", "wb", buffering)}
        for code, file in lost.items():
            monkeypatch.setattr(
                sys, "stdout", io.TextIOWrapper(file, write_through=buffering == 0)
            )
            assert cli.main(arguments) == code, arguments
            said = capsys.readouterr().err
            line = "eagle-jax: cannot write to the standard output: No space left on device\n"
            assert said == ("" if code == 141 else line), arguments
            # What is left in its buffer has no place to go.
            with contextlib.suppress(OSError):
                sys.stdout.close()


def test_the_reader_of_a_process_goes_away():
    program = [sys.executable, "-m", "eagle_jax.cli", "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        process = subprocess.run(program, stdout=closed, stderr=subprocess.PIPE)
    assert (process.returncode, process.stderr) == (141, b"")


def start_command(place, *arguments, before=""):
    program = f"import sys\n{before}\nfrom eagle_jax.cli import main\nsys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=place, stdout=-1, stderr=-1, text=True
    )


def test_an_interrupt_while_programs_are_compiled(tmp_path):
    # Raised as KeyboardInterrupt, it made the interpreter crash at its end.
    log = """
import jax
jax.monitoring.register_event_listener(lambda name, **_: print(name, flush=True))
"""
    process = start_command(tmp_path, "explain", "--out", "out", before=log)
    while "compile_requests" not in process.stdout.readline():
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, f"eagle-jax: {leaving.NOTHING}\n")
    assert everything(tmp_path) == []


def test_an_interrupt_stops_the_server(tmp_path):
    process = start_command(tmp_path, "serve", "--port", "0")
    assert process.stdout.readline().startswith("open http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "eagle-jax: interrupted; the server has stopped\n")


def test_termination_of_a_connected_run_keeps_what_is_finished(tmp_path):
    """JAX takes SIGTERM when processes connect; they draw the list, and lock the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = start_command(
        tmp_path,
        *(
            "run",
            "storybook:words:3",
            "--out",
            "run",
            "--together",
            "1",
            "--regions",
            "grid:3x3",
        ),
        *("--coordinator", address, "--processes", "1", "--process", "0"),
    )
    out = tmp_path / "run"
    while not any(result_names(out) if (out / ITEMS).is_dir() else ()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    with pytest.raises(InputError, match="another run is at work in .*run: wait until it ends"):
        with begin_run(out, Settings(), "weights"):
            raise AssertionError("two runs in one folder")
    process.send_signal(signal.SIGTERM)
    said = "interrupted; finished items are kept in run, and the same command resumes"
    assert ended(process) == (143, f"eagle-jax: {said}\n")
    assert len(read_list(tmp_path / "run-words-3" / "words.jsonl")) == 3
    names = finished_names(out)
    assert [read_result(out, name).item.name for name in names] == names != []
    assert not [*(out / ITEMS).glob(".*")]
    # The lock ended with its process.
    with pytest.raises(InputError, match="was begun with"), begin_run(out, Settings(), "x"):
        raise AssertionError("two settings in one folder")
