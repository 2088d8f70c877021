"""The devices of a command: there or not, used or not, by name, and their compiled programs."""

import glob
import hashlib
import logging
import os
import platform
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eagle_jax.commands import leaving
from eagle_jax.errors import InputError

# Accelerators by the device files that their drivers make, and the extra that uses them.
_DRIVERS = {
    "an NVIDIA GPU": (("/dev/nvidia[0-9]*", "/dev/dxg"), "cuda"),
    "a TPU": (("/dev/accel[0-9]*", "/dev/vfio/[0-9]*"), "tpu"),
}
_PROCESSOR = Path("/proc/cpuinfo")


def prepare_devices() -> None:
    """Starts the devices of this process, and keeps compiled programs on disk.

    Raises:
      InputError: the backend that JAX_PLATFORMS asks for is not there.
    """
    cache_compilations()
    # A full disk or a damaged entry costs time, not the result.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    require_backend()


def require_backend() -> None:
    """Starts JAX's backend, and says so if it leaves an accelerator of this machine unused.

    Raises:
      InputError: the backend that JAX_PLATFORMS asks for is not there.
    """
    import jax

    asked = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    with _messages("jax._src.xla_bridge") as messages:
        try:
            backend = jax.default_backend()
        # The reasons are of many types, without a text for some.
        except Exception as error:
            extra = {"cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}.get(asked or "")
            what = f"JAX_PLATFORMS is {asked!r}" if asked else "JAX finds no device"
            why = str(error).removeprefix(f"Unable to initialize backend {asked!r}: ")
            # JAX's own advice, which ours repeats.
            why = " ".join(re.sub(r"\(set JAX_PLATFORMS=.*\)", "", why).split())
            raise InputError(
                f"{what}, but this backend does not start "
                f"({why[:110].strip() or type(error).__name__}): unset JAX_PLATFORMS"
                + (f', or install "eagle-jax[{extra}]"' if extra else "")
            ) from error
    if backend == "cpu" and "cpu" not in (asked or "").split(","):
        say_unused(messages)


def say_unused(messages: list[str]) -> None:
    """Says that an accelerator of this machine is not used, if there is one.

    Args:
      messages: what JAX said when it looked for accelerators.
    """
    for name, (patterns, extra) in _DRIVERS.items():
        found = next(
            (path for pattern in patterns for path in sorted(glob.glob(pattern))), None
        )
        if found is None or (
            extra == "cuda" and os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        ):
            continue
        failed = re.compile(rf"Unable to initialize backend '(?:{extra}|gpu)': (.*)", re.DOTALL)
        reasons = [match[1] for match in map(failed.search, messages) if match]
        busy = f"its backend says: {' '.join(reasons[0].split())[:150]}" if reasons else ""
        leaving.say(
            f"computing on the CPU, although there is {name} ({found}): "
            + (busy or f'is "eagle-jax[{extra}]" installed, and the device free?')
        )
        return


@contextmanager
def _messages(logger: str) -> Iterator[list[str]]:
    """Collects what a logger says, in place of printing it."""
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    log, handler = logging.getLogger(logger), Handler()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield messages
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


def device_text(count: int | None = None) -> str:
    """The devices of this process in words, such as "8 x TPU v6 lite".

    Args:
      count: number of devices that are used; None for all.
    """
    import jax

    devices = jax.local_devices()
    used = len(devices) if count is None else count
    name = devices[0].device_kind
    if devices[0].platform == "cpu":
        name = f"CPU, {_processor('model name') or platform.machine()}"
    some = f"{used} x " if used > 1 else ""
    return f"{some}{name}" + (f" ({used} of {len(devices)})" if used < len(devices) else "")


def cache_compilations() -> None:
    """Keeps compiled programs on disk, so that the next process starts faster."""
    import jax

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    # Machines that share a home may have other processors, whose programs must not be run here.
    kind = "\n".join((platform.machine(), _processor("model name"), _processor("flags")))
    digest = hashlib.sha256(kind.encode()).hexdigest()[:12]
    folder = home / "eagle-jax" / "xla" / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # No place for a cache: each process compiles, and JAX must not warn.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _processor(field: str) -> str:
    """A field of the first processor in Linux's table; empty elsewhere."""
    try:
        lines = _PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    # ARM calls the flags "Features".
    names = (field, "Features") if field == "flags" else (field,)
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() in names), "")
