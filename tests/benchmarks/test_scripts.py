"""Scripts that run too long for tests: what they import exists."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))
SCRIPTS = [path for path in FILES if 'if __name__ == "__main__"' in path.read_text("utf-8")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_finds_what_it_imports(script):
    found = runpy.run_path(str(script), run_name="imported")
    assert callable(found["main"]) and found["__doc__"]


@pytest.mark.parametrize("method", ["tam", "llava-cam", "igos++"])
def test_programs_of_which_the_memory_is_told(method, monkeypatch):
    path = Path(__file__).parents[2] / "benchmarks" / "memory.py"
    lower = runpy.run_path(str(path), run_name="imported")["lower"]
    # Lowered for the CPU, where no compiler for TPUs is wanted.
    here = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("data", "model"))
    monkeypatch.setitem(lower.__globals__, "tpu_mesh", lambda *_: here)
    lowered, weights = lower(method)
    assert weights == pytest.approx(16.58e9, rel=1e-3)
    assert "bf16" in lowered.as_text()
