"""Folders of runs: one run at a time, and what the file system refuses."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import made_results
import pytest

from eagle_jax.errors import InputError
from eagle_jax.results.manifest import LOCK, MANIFEST, Settings, begin_run, read_manifest
from eagle_jax.results.run_folder import ITEMS, finished_names, write_result

# Holds the lock of a run until it is killed.
HOLDER = f"""
import fcntl, sys, time
file = open(sys.argv[1] + "/{LOCK}", "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def refused(out, process=(0, 1), settings=None) -> str:
    with (
        pytest.raises(InputError) as error,
        begin_run(out, settings or Settings(), "w", process),
    ):
        raise AssertionError("two runs in one folder")
    return str(error.value)


def test_one_run_at_a_time_in_a_folder(tmp_path):
    out = tmp_path / "run"
    at_work = f"another run is at work in {out}: wait until it ends, or choose another folder"
    with begin_run(out, Settings(), "w"):
        # With other settings, too: they are not compared with those of a run at work.
        assert refused(out) == refused(out, settings=Settings(controls=2)) == at_work
        assert refused(out, (1, 2)) == at_work
    with begin_run(out, Settings(), "w"):
        pass
    assert "was begun with controls 0, now 2" in refused(out, settings=Settings(controls=2))


def test_processes_of_one_run_share_its_folder(tmp_path):
    with (
        begin_run(tmp_path, Settings(), "w", (0, 2)),
        begin_run(tmp_path, Settings(), "w", (1, 2)),
    ):
        assert "another run" in refused(tmp_path)
        # The same process started twice.
        assert "another run" in refused(tmp_path, (1, 2))
    assert read_manifest(tmp_path)["settings"]["weights"] == "w"


def test_the_lock_of_a_killed_run_holds_nobody_up(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=-1)
    assert holder.stdout.readline() == b"held\n"
    assert "another run" in refused(tmp_path)
    holder.kill()
    holder.communicate()
    assert (tmp_path / LOCK).exists()
    with begin_run(tmp_path, Settings(), "w"):
        pass


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks(refusal, tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(refusal, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    with begin_run(tmp_path, Settings(), "w"), begin_run(tmp_path, Settings(), "w"):
        assert (tmp_path / MANIFEST).exists()


def test_a_lock_of_another_host(tmp_path, monkeypatch):
    """Network file systems answer as for a lock of this host, some with another error."""

    def flock(file, operation):
        raise OSError(errno.EACCES, "held elsewhere")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert "another run is at work" in refused(tmp_path)


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    # No bit of a mode stops the superuser; the file system of processes does.
    for out in (Path("/proc/run"), tmp_path / "file", tmp_path / "file" / "run"):
        said = refused(out)
        assert said.startswith(("nothing can be written in", "cannot write")), said
        assert "\n" not in said and len(said) < 200
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    write_result(tmp_path, made_results.made_result("first"))
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    for name in ("first", "second"):
        with pytest.raises(InputError, match="No space left on device.*; free some space$"):
            write_result(tmp_path, made_results.made_result(name, seed=1))
    with pytest.raises(InputError, match="manifest.json: No space left"):
        with begin_run(tmp_path / "new", Settings(), "w"):
            raise AssertionError("begun without a manifest")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / ITEMS).iterdir()] == finished_names(tmp_path)
    assert finished_names(tmp_path) == ["first"]
    # What was refused begins again once there is space.
    with begin_run(tmp_path / "new", Settings(), "w"):
        pass
