"""Says where the time of the fused step goes, stage by stage, for chips that are not there.

For the checkpoints that ship as configurations: 640 x 480 pixels, 64 regions, 24 target tokens,
bfloat16, the default batch. The step is compiled with the effort that a real run gets, one to
two minutes of the processor each; the optimised program carries the compiler's estimate of
cycles, which are summed by the scopes in the names of its instructions. A batch pays here for
all that the program does once a step. Kernels carry no estimate: their time is their stated
operations and bytes at half the chip's peak and bandwidth. Share of peak: of the whole, by the
operations that are needed; of a stage, by those that the program does.

    python -m pip install --no-deps --target /tmp/libtpu "libtpu==0.0.42.*"
    PYTHONPATH=/tmp/libtpu python benchmarks/stages.py --topology v6e:1x1 --json stages.json
    PYTHONPATH=/tmp/libtpu python benchmarks/stages.py --topology v6e:1x1 --model llava --top 20
"""

import argparse
import datetime
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax

from eagle_jax.planning import hlo, published_models
from eagle_jax.planning.compilation import REAL, compiler_missing
from eagle_jax.planning.stages import heaviest, predict
from eagle_jax.planning.step import size_step

_IMAGE, _REGIONS, _TARGETS = "640x480", 64, 24


def main() -> int:
    """Runs the benchmark and prints its tables; returns the exit code."""
    options = _parser().parse_args()
    if missing := compiler_missing():
        print(f"benchmarks/stages.py: {missing}", file=sys.stderr)
        return 2
    jax.config.update("jax_platforms", "cpu")
    about = {
        "date": datetime.date.today().isoformat(),
        "jax": jax.__version__,
        "libtpu": version("libtpu"),
        "image": _IMAGE,
        "regions": _REGIONS,
        "targets": _TARGETS,
        "precision": options.quantize or "bfloat16",
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    names = [name for name in published_models() if options.model.lower() in name.lower()]
    found = []
    for name in names:
        found.append(_predicted(name, options) | about)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--topology", default="v6e:1x1", help="v5e:1x2, ... (default: v6e:1x1)")
    add("--model", default="", help="only those whose name has this in it")
    add("--quantize", choices=["int8"], help="weights and activations (default: bfloat16)")
    add("--json", type=Path, metavar="FILE", help="write one object a checkpoint")
    add("--dump", type=Path, metavar="FOLDER", help="keep the text of the programs")
    add("--top", type=int, default=0, metavar="N", help="list the N slowest instructions")
    return parser


def _predicted(name: str, options: argparse.Namespace) -> dict:
    begin = time.process_time()
    step = size_step(
        name,
        image=_IMAGE,
        regions=_REGIONS,
        topology=options.topology,
        targets=_TARGETS,
        quantize=options.quantize,
    )
    compiled = step.compile(REAL)
    text = compiled.program.as_text()
    if options.dump:
        options.dump.mkdir(parents=True, exist_ok=True)
        (options.dump / f"{name.split('/')[1]}.txt").write_text(text, "utf-8")
    profile = predict(step, compiled)
    print(f"\n{profile.table()}")
    print(
        f"{profile.weights / 1e9:.2f} GB of weights, {profile.program / 1e9:.2f} GB besides; "
        f"compiled in {time.process_time() - begin:.0f} processor seconds, "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    for line in heaviest(hlo.parse(text), step.chip, step.peak, options.top):
        print(line)
    return profile.as_json()


if __name__ == "__main__":
    sys.exit(main())
