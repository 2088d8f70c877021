"""Says where the time of the fused step goes, stage by stage, on TPUs that need not exist.

For the checkpoints that ship as configurations: 640 x 480 pixels, 64 regions, 24 target tokens,
bfloat16, the default batch. The step is compiled with the effort that a real run gets, one to
two minutes of processor time for each checkpoint; the optimised program carries the compiler's
estimate of cycles, which are summed by the scopes in the names of its instructions. All that
the program does once a step counts for the batch, and the branches of a switch count equally
often. Kernels carry no estimate: their time is their stated operations and bytes at half the
chip's peak and bandwidth. "utilisation" is the fraction of the chip's peak rate; the whole step
counts only necessary operations, a stage all operations of the program. "bandwidth" is the
fraction of the memory bandwidth. "silent": GB written by gathers and between chips, about whose
time the compiler says nothing.

    python -m pip install --no-deps --target /tmp/libtpu "libtpu==0.0.42.*"
    PYTHONPATH=/tmp/libtpu python benchmarks/stages.py --topology v6e:1x1 --json stages.json
    PYTHONPATH=/tmp/libtpu python benchmarks/stages.py --topology v6e:1x1 --model llava --top 20
    PYTHONPATH=/tmp/libtpu python benchmarks/stages.py --topology v6e:1x1 v5e:1x2 --bundle
    python benchmarks/stages.py --measure                # the demo model, on this machine
    python benchmarks/stages.py --measure --model 3B     # random weights, on a GPU

With --measure the parts of the step run here, each compiled and timed apart, and the whole; the
peak is then that of a plain product in the same run. --json, --bundle and --dump are for
predictions; --bundle writes benchmarks/predictions.json and the extract of it that `eagle-jax
plan` reads.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from measurement import matmul_rate, measured_stages, random_weights, whole_step
from stage_profile import Profile, heaviest, predict

import eagle_jax
from eagle_jax.planning import published_models, utilisation
from eagle_jax.planning.compilation import REAL, compiler_missing
from eagle_jax.planning.step import size_step
from eagle_jax.planning.utilisation.hlo import parse
from eagle_jax.scoring.question import on_devices
from eagle_jax.scoring.scorer import MaskedImageScorer

_IMAGE, _REGIONS, _TARGETS = "640x480", 64, 24
PREDICTIONS = Path(__file__).parent / "predictions.json"
BUNDLED = Path(utilisation.__file__).parent / "predictions.json"
_EXTRACT = ("model", "hardware", "precision", "image", "date", "utilisation")


def main() -> int:
    """Runs the benchmark and prints its tables; returns the exit code."""
    options = _parser().parse_args()
    if options.measure:
        return _measure(options.model or "demo")
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
    predictions = []
    for topology, name in itertools.product(options.topology, names):
        predictions.append(_predicted(name, topology, options) | about)
        if options.json:
            _write(options.json, predictions)
    if options.bundle:
        _write(PREDICTIONS, predictions)
        _write(BUNDLED, extract(predictions))
    return 0


def extract(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fields of predictions that `eagle-jax plan` reads."""
    return [{name: each[name] for name in _EXTRACT} for each in predictions]


def _write(path: Path, predictions: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(predictions, indent=1) + "\n", "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--topology",
        nargs="+",
        default=["v6e:1x1"],
        help="kinds and numbers of chips, v5e:1x2 for example (default: v6e:1x1)",
    )
    add("--measure", action="store_true", help="run the step on this machine instead")
    add(
        "--model",
        default="",
        help="checkpoints: those whose name contains this text (default: all)",
    )
    add(
        "--quantize",
        choices=["int8"],
        help="precision of weights and activations (default: bfloat16)",
    )
    add("--json", type=Path, metavar="FILE", help="file for one object per checkpoint")
    add("--bundle", action="store_true", help="replace the predictions of the repository")
    add("--dump", type=Path, metavar="FOLDER", help="folder for the text of the programs")
    add(
        "--top",
        type=int,
        default=0,
        metavar="N",
        help="slowest instructions to list (default: 0)",
    )
    return parser


def _predicted(name: str, topology: str, options: argparse.Namespace) -> dict:
    begin = time.process_time()
    step = size_step(
        name,
        image=_IMAGE,
        regions=_REGIONS,
        topology=topology,
        targets=_TARGETS,
        quantize=options.quantize,
    )
    compiled = step.compile(REAL)
    text = compiled.program.as_text()
    if options.dump:
        options.dump.mkdir(parents=True, exist_ok=True)
        file = f"{name.split('/')[1]}-{topology.replace(':', '-')}.txt"
        (options.dump / file).write_text(text, "utf-8")
    profile = predict(step, compiled)
    print(f"\n{profile.table()}")
    print(
        f"{profile.weights / 1e9:.2f} GB of weights, {profile.program / 1e9:.2f} GB besides; "
        f"compiled in {time.process_time() - begin:.0f} processor seconds, "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    for line in heaviest(parse(text), step.chip, step.peak, options.top):
        print(line)
    return profile.as_json()


def _measure(wanted: str) -> int:
    names = [name for name in published_models() if wanted.lower() in name.lower()]
    for name in names or [wanted]:
        # Sized as for a GPU; the batch is that of the device that is here.
        step = size_step(
            name,
            image="168x168" if name == "demo" else _IMAGE,
            regions=_REGIONS,
            topology="h100",
            targets=_TARGETS,
            quantize=None,
        )
        network = (
            eagle_jax.load("demo").network if name == "demo" else random_weights(step.network)
        )
        dtype = jax.tree.leaves(network)[0].dtype
        question = on_devices(network, step.question)
        scorer = MaskedImageScorer(network, question, step.labels, [""] * _TARGETS)
        shape = scorer.batch_size, _REGIONS
        visible = np.random.default_rng(0).random(shape) < 0.5
        parts = measured_stages(network, question, visible)
        whole = whole_step(network, question, visible)
        device = jax.devices()[0]
        profile = Profile(
            model=name,
            hardware=f"{device.device_kind}, {dtype}, parts measured apart",
            batch_size=scorer.batch_size,
            needed=step.flops * scorer.batch_size,
            peak=matmul_rate(dtype),
            bandwidth=None,
            weights=sum(leaf.nbytes for leaf in jax.tree.leaves(network)),
            program=0,
            stages=parts,
        )
        print(f"\n{profile.table()}")
        print(dataclasses.replace(profile, stages=(whole,)).table(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
