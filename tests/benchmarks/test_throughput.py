"""The replay of a run against a device that sleeps."""

import re
import sys

import throughput


def test_a_run_is_recorded_and_replayed(tmp_path, capsys, monkeypatch):
    arguments = ["--items", "2", "--regions", "grid:3x3", "--batch", "8", "--ms", "1"]
    monkeypatch.setattr(sys, "argv", ["throughput.py", *arguments, "--folder", str(tmp_path)])
    assert throughput.main() == 0
    said = capsys.readouterr().out
    # Two exact searches with nine regions.
    assert "recorded 180 masked images" in said and re.search(r"busy \d+%, 180 masked", said)
    # Recorded once.
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--together", "1"])
    assert throughput.main() == 0
    said = capsys.readouterr().out
    assert "recorded" not in said and "180 masked images" in said
