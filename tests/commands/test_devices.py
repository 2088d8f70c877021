"""The devices of a command: absent, unused, by name, and their compiled programs."""

import logging
import os
import subprocess
import sys

import jax
import pytest

from eagle_jax.commands import devices
from eagle_jax.errors import InputError


@pytest.mark.parametrize(
    ("asked", "why", "said"),
    [
        (
            "tpu",
            "Unable to initialize backend 'tpu': UNKNOWN: TPU initialization failed:\n"
            "no device (set JAX_PLATFORMS='' to automatically choose an available backend)",
            "JAX_PLATFORMS is 'tpu', but this backend does not start (UNKNOWN: TPU "
            "initialization failed: no device): unset JAX_PLATFORMS, or install "
            '"eagle-jax[tpu]"',
        ),
        (
            "cuda",
            "Unable to initialize backend 'cuda': " + "long " * 100,
            "JAX_PLATFORMS is 'cuda', but this backend does not start ("
            + ("long " * 22).strip()
            + '): unset JAX_PLATFORMS, or install "eagle-jax[cuda]"',
        ),
        (
            "cuda,cpu",
            "nothing",
            "JAX_PLATFORMS is 'cuda,cpu', but this backend does not start (nothing): unset "
            "JAX_PLATFORMS",
        ),
        (
            None,
            "",
            "JAX finds no device, but this backend does not start (RuntimeError): unset "
            "JAX_PLATFORMS",
        ),
    ],
)
def test_a_backend_that_does_not_start_is_one_line(asked, why, said, monkeypatch):
    def refuse():
        raise RuntimeError(why)

    monkeypatch.setattr(jax, "default_backend", refuse)
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", asked)
    try:
        with pytest.raises(InputError) as error:
            devices.require_backend()
    finally:
        jax.config.update("jax_platforms", before)
    assert str(error.value) == said and len(said) <= 250


def test_a_backend_that_is_not_there_in_a_process_of_its_own(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "eagle_jax.cli", "explain", "--regions", "grid:2x2"],
        env=os.environ | {"JAX_PLATFORMS": "tpo"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("eagle-jax: JAX_PLATFORMS is 'tpo', but this backend ")
    assert process.stderr.count("\n") == 1 and not [*tmp_path.iterdir()]


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A machine with the device file of an NVIDIA GPU, on which JAX starts the CPU."""
    file = tmp_path / "nvidia0"
    file.touch()
    monkeypatch.setattr(
        devices, "_DRIVERS", {"an NVIDIA GPU": ((str(tmp_path / "nvidia[0-9]*"),), "cuda")}
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    return file


def started(capsys, asked=None) -> str:
    """What is said when the devices start while JAX_PLATFORMS has a value."""
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", asked)
    try:
        devices.require_backend()
    finally:
        jax.config.update("jax_platforms", before)
    return capsys.readouterr().err


def test_an_accelerator_that_is_not_used_is_said(gpu, monkeypatch, capsys):
    start = f"eagle-jax: computing on the CPU, although there is an NVIDIA GPU ({gpu}): "
    hint = 'is "eagle-jax[cuda]" installed, and the device free?'
    assert started(capsys) == f"{start}{hint}\n"

    log = logging.getLogger("jax._src.xla_bridge")
    level, propagate = log.level, log.propagate

    def busy():
        log.info("Unable to initialize backend 'tpu': INTERNAL: no libtpu.so")
        log.info("Unable to initialize backend 'cuda': CUDA_ERROR_OUT_OF_MEMORY:\nbusy")
        log.warning("An NVIDIA GPU may be present on this machine")
        return "cpu"

    monkeypatch.setattr(jax, "default_backend", busy)
    said = "its backend says: CUDA_ERROR_OUT_OF_MEMORY: busy"
    assert started(capsys) == f"{start}{said}\n"
    assert (log.level, log.propagate, log.handlers) == (level, propagate, [])


def test_an_accelerator_that_is_not_wanted_is_not_mentioned(gpu, monkeypatch, capsys):
    for asked in ("cpu", "cuda,cpu"):
        assert started(capsys, asked) == ""
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert started(capsys) == ""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert started(capsys) == ""
    gpu.unlink()
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert started(capsys) == ""


def test_devices_in_words(monkeypatch, tmp_path):
    class Chip:
        platform, device_kind = "tpu", "TPU v6 lite"

    monkeypatch.setattr(jax, "local_devices", lambda: [Chip()] * 8)
    assert devices.device_text() == "8 x TPU v6 lite"
    assert devices.device_text(1) == "TPU v6 lite (1 of 8)"
    monkeypatch.setattr(jax, "local_devices", lambda: [Chip()])
    assert devices.device_text() == devices.device_text(1) == "TPU v6 lite"
    Chip.platform = "cpu"
    processor = tmp_path / "cpuinfo"
    processor.write_text("processor : 0\nmodel name\t: A Processor: 3\nflags\t: avx2 fma\n")
    monkeypatch.setattr(devices, "_PROCESSOR", processor)
    assert devices.device_text() == "CPU, A Processor: 3"


def test_processors_of_different_types_do_not_share_compiled_programs(monkeypatch, tmp_path):
    before = jax.config.jax_compilation_cache_dir
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    processor = tmp_path / "cpuinfo"
    monkeypatch.setattr(devices, "_PROCESSOR", processor)

    def folder(text: str | None) -> str:
        processor.unlink(missing_ok=True)
        if text is not None:
            processor.write_text(text)
        devices.cache_compilations()
        return jax.config.jax_compilation_cache_dir

    tables = [
        "model name : A\nflags : avx2\ncpu MHz : 1\n",
        "model name : A\nflags : avx2 avx512f\n",
        "model name : B\nflags : avx2\n",
        "Features : neon\n",
        "Features : neon sve\n",
        None,
    ]
    try:
        folders = [folder(table) for table in tables]
        assert len({*folders}) == len(tables)
        assert all(path.startswith(str(tmp_path / "home" / "eagle-jax")) for path in folders)
        # Other fields of the table change all the time.
        assert folder(tables[0].replace("cpu MHz : 1", "cpu MHz : 2")) == folders[0]
        # A folder that the user chose is left alone.
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
        assert folder(tables[1]) == folders[0]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
