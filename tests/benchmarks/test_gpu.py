"""The benchmark for a GPU, rehearsed: every part runs, and is written down."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import gpu

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu.py"

# With COMPILE=all also those that compile other programs of the same kind.
PARTS = "device weights program batch search stages".split()
ALL = "device weights program batch search sequential pytorch stages together batches".split()


def test_a_rehearsal(tmp_path):
    parts = ALL if os.environ.get("COMPILE") == "all" else PARTS
    file = tmp_path / "gpu.json"
    command = [sys.executable, GPU, "--rehearse", "--model", "llava", "--json", file]
    # It is the script that is tested, not the compiler.
    environment = os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "True",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [*command, "--parts", ",".join(parts)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    measures = {one["part"]: one for one in json.loads(file.read_text("utf-8"))["measures"]}
    assert [*measures] == parts and len(done.stdout.splitlines()) == len(parts)
    assert measures["search"]["whole"] and measures["search"]["forwards"] == 20
    assert measures["batch"]["forwards_per_s"] > 0 and measures["batch"]["of_peak"] is None
    stages = measures["stages"]["stages"]
    apart = sum(one["tflop"] for name, one in stages.items() if name != "whole")
    assert abs(apart / stages["whole"]["tflop"] - 1) < 0.01


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    def fails(run):
        raise ValueError("no such kernel")

    def works(run):
        return {"forwards": run.step.regions}

    monkeypatch.setattr(gpu, "PARTS", (fails, works))
    where = gpu._written("llava-hf/llava-1.5-7b-hf", tmp_path, tiny=True)
    for seconds, second in ((60, ("forwards", 4)), (1, ("skipped", "no time is left"))):
        options = argparse.Namespace(
            work=where, seconds=seconds, rehearse=True, parts="fails,works"
        )
        assert gpu._work(options) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["part"] for line in lines] == ["fails", "works"]
        assert second in lines[1].items()
        if seconds == 60:
            assert lines[0]["error"] == "ValueError: no such kernel"
