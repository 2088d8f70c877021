"""Checkpoints, references and images that several test modules share."""

import functools
import gc
import os
import signal
import tempfile

# A program that several processes compile is compiled once. Set before JAX is imported, and
# seen by the processes that the tests start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="eagle-jax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"

# A shell ignores Ctrl-C for what it starts in the background, and nohup a closed terminal; the
# tests' processes must hear both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Most of the time goes into compiling programs that run once. XLA's older emitters, one piece
# of code for each program, and few passes over it take less than half of that time on CPUs; the
# arithmetic is the same.
os.environ["XLA_FLAGS"] = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_backend_optimization_level=1 " + os.environ.get("XLA_FLAGS", "")
)

# No more than that: the process that starts the others needs none of the rest.
import numpy as np
import pytest

# Begun last, one of these would keep one process busy when the other has nothing left.
_LONG = ("test_compilation", "test_sharding", "test_demo_training", "test_families", "test_run")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in _LONG)


def pytest_collection_finish():
    # What is imported stays: looking through it for garbage again and again takes time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread():
    # Tiny models: more threads only fight with XLA's.
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def untied(tmp_path_factory):
    """A tiny untied Qwen2.5-VL folder: one file, the published key layout."""
    import tiny_checkpoints

    folder = tmp_path_factory.mktemp("checkpoints") / "untied"
    return tiny_checkpoints.make_qwen2_5_vl(folder, seed=1)


@pytest.fixture(scope="session")
def tied(tmp_path_factory):
    """A tiny tied Qwen2.5-VL folder: three shards, the nested key layout, wide windows."""
    import tiny_checkpoints

    folder = tmp_path_factory.mktemp("checkpoints") / "tied"
    return tiny_checkpoints.make_qwen2_5_vl(
        folder, seed=2, tied=True, shards=3, layout="nested", window_size=112
    )


@pytest.fixture(scope="session")
def references(untied, tied):
    """The PyTorch side of both checkpoints, by name."""
    import torch_reference

    return {
        "untied": torch_reference.TorchReference(untied),
        "tied": torch_reference.TorchReference(tied),
    }


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Name and kind of a family -> `families.Case`, made when first asked for."""
    import families

    @functools.cache
    def case(name: str, kind: str | None = None) -> families.Case:
        family = families.FAMILIES[name]
        folder = tmp_path_factory.mktemp("families") / "model"
        return families.Case(family, kind or next(iter(family.variants)), folder)

    return case


@pytest.fixture(scope="session")
def make_image():
    """Maker of smooth random images with strong local differences."""

    def make(seed: int, height: int, width: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 3))
        image = np.kron(coarse, np.ones((16, 16, 1)))[:height, :width]
        return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)

    return make
