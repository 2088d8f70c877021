"""Compilers for TPUs; tests that need one are skipped where there is none."""

import importlib.util
import os

import pytest


@pytest.fixture(scope="module")
def environment():
    """Environment of a process that compiles for TPUs."""
    folder = os.environ.get("LIBTPU_FOLDER")
    if folder:
        paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
        return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed and LIBTPU_FOLDER is not set")
    return dict(os.environ)
