"""Compiles the greedy step of the published checkpoints for TPUs that are not there.

Prints memory per chip and seconds for every checkpoint that ships as a configuration: one v6e
chip in bfloat16, two v5e chips in bfloat16 and one in int8; 640 x 480 pixels, 64 regions, 24
target tokens. The estimate is what `eagle-jax plan` says where nothing can be compiled.

    python -m pip install --no-deps --target /tmp/libtpu "libtpu==0.0.42.*"
    PYTHONPATH=/tmp/libtpu python benchmarks/compile.py
    PYTHONPATH=/tmp/libtpu python benchmarks/compile.py --full --model Qwen   # as for a run
"""

import argparse
import os
import resource
import sys
from importlib.metadata import version

import jax

from eagle_jax.planning import plan, published_models
from eagle_jax.planning.compilation import REAL, compiler_missing

# The least effort of the compiler: a fifth of the time, and a program that needs somewhat more
# memory and takes several times as long.
QUICK = -1.0
_TARGETS = (("v6e:1x1", None), ("v5e:1x2", None), ("v5e:1x1", "int8"))


def main() -> int:
    """Runs the benchmark and prints its table; returns the exit code."""
    options = _parser().parse_args()
    if missing := compiler_missing():
        print(f"benchmarks/compile.py: {missing}", file=sys.stderr)
        return 2
    jax.config.update("jax_platforms", "cpu")
    print(f"jax {jax.__version__}, libtpu {version('libtpu')}, {os.cpu_count()} CPU cores")
    print(
        f"{'model':<30}{'chips':<10}{'weights':<10}{'batch':>5}{'GB: weights':>13}"
        f"{'program':>9}{'estimate':>10}{'of':>7}{'s':>7}{'CPU s':>7}  load"
    )
    fit = True
    for model in published_models():
        if options.model.lower() not in model.lower():
            continue
        for topology, quantize in _TARGETS:
            before = _cpu_seconds()
            sized = plan(
                model,
                topology=topology,
                quantize=quantize,
                effort=REAL if options.full else QUICK,
            )
            memory, seconds = sized.memory, "refused"
            if memory.compile_seconds is not None:
                seconds = f"{memory.compile_seconds:.0f}"
            fit &= memory.fits and memory.compile_seconds is not None
            print(
                f"{model.split('/')[1]:<30}{topology:<10}{sized.precision:<10}"
                f"{sized.batch_size:>5}{memory.weights / 1e9:>13.2f}"
                f"{memory.program / 1e9:>9.2f}{memory.estimate / 1e9:>10.2f}"
                f"{memory.available / 1e9:>7.1f}{seconds:>7}"
                f"{_cpu_seconds() - before:>7.0f}  {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    return 0 if fit else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        default="",
        help="checkpoints: those whose name contains this text (default: all)",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="compile with the effort of a real run, which takes longer",
    )
    return parser


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
