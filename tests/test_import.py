"""What importing the package does, and does not do, to the interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "matplotlib", "cv2")


def run(code: str, folder: Path):
    """Runs `code` in a fresh interpreter outside the repository; returns its JSON output."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "statement",
    [
        "import eagle_jax",
        "import eagle_jax; [getattr(eagle_jax, name) for name in eagle_jax.__all__]",
        "import eagle_jax.cli",
    ],
)
def test_import_stays_light(statement, tmp_path):
    code = f"""
import json, sys
{statement}
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    assert run(code, tmp_path) == []


def test_mapped_folders_do_not_shadow_other_packages(tmp_path):
    # transformers probes for the PyPI package `kernels`: ours must not answer to that name.
    code = """
import importlib.util, json
print(json.dumps({
    name: getattr(importlib.util.find_spec(name), "origin", None)
    for name in ("kernels", "models", "eagle_jax.kernels", "eagle_jax.models")
}))
"""
    origins = run(code, tmp_path)
    for name in ("kernels", "models"):
        assert origins[name] is None or not origins[name].startswith(str(REPOSITORY))
    for name in ("eagle_jax.kernels", "eagle_jax.models"):
        assert Path(origins[name]).name == "__init__.py"
