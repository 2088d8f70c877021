"""Measures the fused step on the GPU that is there, all of it in under nine minutes.

The checkpoints that ship as configurations, at full shape with random bfloat16 weights made on
the device; 640 x 480 pixels, 64 regions, 24 target tokens. For each of them, the most important
first: plain matmul rate, compile time, memory, which kernels compute attention and why no
others, seconds a batch with their share of the peak, the exact search (as many steps as time
allows, and what the whole takes at that rate), one mask at a time, PyTorch's loop where torch
sees the GPU, the parts of a batch, four images in lockstep against one after the other, and
other batch sizes. Each checkpoint runs in a process of its own with a share of the time; the
file is written after every measure, and an error in one of them leaves the others.

    python benchmarks/gpu.py --json gpu.json            # one H100 or H200
    python benchmarks/gpu.py --model Qwen2.5-VL-7B --minutes 4
    python benchmarks/gpu.py --rehearse                 # tiny shapes, on a CPU: does it run?

Exit code 1 says that something failed; what is in the file.
"""

import argparse
import collections
import dataclasses
import datetime
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# PyTorch needs a share of the GPU, and peaks are to be those of arrays; before JAX starts.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

from eagle_jax.planning import published_models
from eagle_jax.planning.chips import CHIPS
from eagle_jax.planning.flops import search_batches
from eagle_jax.planning.measurement import (
    matmul_rate,
    measured_stages,
    median_seconds,
    random_weights,
    whole_step,
)
from eagle_jax.planning.step import Step, size_step
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import on_devices
from eagle_jax.scoring.scorer import MaskedImageScorer, padded_regions
from eagle_jax.search import find_orders
from eagle_jax.search.limits import Limits

# The most important first, with their shares of the time.
_MODELS = {
    "llava-hf/llava-1.5-7b-hf": 3,
    "Qwen/Qwen2.5-VL-7B-Instruct": 3,
    "Qwen/Qwen2.5-VL-3B-Instruct": 2,
    "OpenGVLab/InternVL3_5-4B-HF": 2,
}
_TARGETS, _TOGETHER = 24, 4
# A part is not begun with fewer seconds left.
_LEAST = 5.0
_SIZES = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_TINY = _SIZES | {
    "image_token_id": 7,
    "image_token_index": 7,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "mrope_section": [2, 3, 3],
    "depth": 2,
    "num_heads": 4,
    "out_hidden_size": 64,
    "fullatt_block_indexes": [1],
}


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    options = _parser().parse_args()
    if options.work:
        return _work(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = [name for name in _MODELS if options.model.lower() in name.lower()]
    end = time.monotonic() + 60 * options.minutes
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "rehearsal": options.rehearse,
        "minutes": options.minutes,
        "measures": [],
    }
    with tempfile.TemporaryDirectory(prefix="eagle-jax-gpu-") as folder:
        for place, name in enumerate(names):
            shares = [_MODELS[one] for one in names[place:]]
            seconds = (end - time.monotonic()) * shares[0] / sum(shares)
            where = _written(name, Path(folder), options.rehearse)
            for measure in _measures(name, where, seconds, options):
                found["measures"].append(measure)
                if options.json:
                    options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
                print("  ".join(f"{key} {value}" for key, value in measure.items()), flush=True)
    return 1 if any("error" in measure for measure in found["measures"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=9.0, help="for all of it (default: 9)")
    add("--model", default="", help="only those whose name has this in it")
    add(
        "--parts",
        default=",".join(map(_name, _PARTS)),
        help="only these (default: %(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="write what was measured")
    add("--rehearse", action="store_true", help="tiny shapes")
    add("--work", type=Path, help=argparse.SUPPRESS)
    add("--seconds", type=float, help=argparse.SUPPRESS)
    return parser


def _written(name: str, folder: Path, tiny: bool) -> Path:
    """A folder with the configuration of a checkpoint, shrunk for a rehearsal."""
    published = published_models()[name]
    config = published["config"]
    if tiny:
        # What LLaVA's configuration leaves to transformers has to be said.
        config.get("text_config", {}).update(dict.fromkeys(_SIZES))
        rope = config.get("rope_scaling", {})
        for part in (config, config.get("text_config", {}), config["vision_config"], rope):
            part |= {key: _TINY[key] for key in part.keys() & _TINY.keys()}
    where = folder / name.split("/")[1]
    where.mkdir()
    (where / "config.json").write_text(json.dumps(config), "utf-8")
    settings = json.dumps(published["preprocessor_config"])
    (where / "preprocessor_config.json").write_text(settings, "utf-8")
    return where


def _measures(
    name: str, where: Path, seconds: float, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """What a process of its own finds out about a checkpoint, as it comes."""
    command = [sys.executable, __file__, "--work", where, "--seconds", f"{seconds:.0f}"]
    command += ["--parts", options.parts, *(["--rehearse"] if options.rehearse else [])]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        # What one part compiled for its memory, another need not compile again.
        env={"JAX_COMPILATION_CACHE_DIR": str(where / "programs")} | os.environ,
    )
    assert process.stdout is not None
    late = threading.Timer(seconds + 1, process.kill)
    late.start()
    try:
        for line in process.stdout:
            if line.startswith("{"):
                yield {"model": name} | json.loads(line)
        if code := process.wait():
            over = {"skipped": "what was not done at the end of its time"}
            end = {"error": f"ended with code {code}"} if late.is_alive() else over
            yield {"model": name, "part": "process"} | end
    finally:
        late.cancel()
        process.kill()
        process.wait()


@dataclasses.dataclass
class _Run:
    """What the parts of one checkpoint's run share."""

    folder: Path
    step: Step
    end: float
    rehearsal: bool
    peak: float | None = None
    matmul: float = 0.0
    network: Any = None
    scorer: Any = None
    seconds: float = 0.0

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def scorer_of(self, step: Step, batch_size: int | None) -> MaskedImageScorer:
        question = on_devices(self.network, step.question)
        words = [""] * len(step.rows)
        return MaskedImageScorer(self.network, question, step.labels, words, batch_size)

    def rates(self, seconds: float, masks: int) -> dict[str, Any]:
        """Of so many masks in so many seconds."""
        work = self.step.flops * masks / seconds
        return {
            "forwards_per_s": _short(masks / seconds),
            "of_peak": self.peak and _short(work / self.peak),
            "of_matmul": _short(work / self.matmul),
        }


def _work(options: argparse.Namespace) -> int:
    end = time.monotonic() + options.seconds
    device = jax.devices()[0]
    kind = next((name for name in CHIPS if name in device.device_kind.lower()), None)
    step = _step(options.work, options.rehearse, kind or "h100")
    run = _Run(options.work, step, end, options.rehearse)
    run.peak = CHIPS[kind].bfloat16 if kind else None
    wanted = options.parts.split(",")
    for part in (one for one in _PARTS if _name(one) in wanted):
        begin = time.monotonic()
        try:
            values = {"skipped": "no time is left"} if run.left < _LEAST else part(run)
        except Exception as error:  # noqa: BLE001 - whatever fails, the other parts go on
            traceback.print_exc()
            values = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        took = _short(time.monotonic() - begin)
        print(json.dumps({"part": _name(part), "took_s": took} | values), flush=True)
    return 0


def _step(folder: Path, tiny: bool, topology: str, regions: int | None = None) -> Step:
    regions = regions or (4 if tiny else 64)
    image = "96x96" if tiny else "640x480"
    return size_step(
        str(folder),
        image=image,
        regions=regions,
        topology=topology,
        targets=_TARGETS,
        quantize=None,
    )


def _device(run: _Run) -> dict[str, Any]:
    device = jax.devices()[0]
    run.matmul = matmul_rate(jnp.bfloat16)
    return {
        "device": f"{device.device_kind} ({device.platform})",
        "jax": jax.__version__,
        "memory_gb": _gigabytes("bytes_limit"),
        "matmul_tflops": _short(run.matmul / 1e12),
        "of_peak": run.peak and _short(run.matmul / run.peak),
    }


def _weights(run: _Run) -> dict[str, Any]:
    run.network = jax.block_until_ready(random_weights(run.step.network))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(run.network))
    return {"weights_gb": _short(size / 1e9)}


def _program(run: _Run) -> dict[str, Any]:
    notes = _Notes()
    logging.getLogger("eagle_jax").addHandler(notes)
    run.scorer = run.scorer_of(run.step, None)
    width = padded_regions(run.step.regions)
    program = score_sets.lower(
        run.network,
        run.scorer.question.padded,
        np.zeros((2 * width, width), bool),
        np.int32(0),
        batch_size=run.scorer.batch_size,
    ).compile()
    memory = program.memory_analysis()
    kernels = re.findall(r'custom_call_target="([^"]+)"', program.as_text())
    return {
        "batch_size": run.scorer.batch_size,
        "temporary_gb": memory and _short(memory.temp_size_in_bytes / 1e9),
        "attention": "cuDNN" if any("fmha" in one for one in kernels) else "not cuDNN",
        "kernels": dict(collections.Counter(kernels)),
        "log": notes.lines,
    }


def _batch(run: _Run) -> dict[str, Any]:
    masks = run.scorer.batch_size
    visible = _sets(run, masks)
    run.seconds = median_seconds(lambda: run.scorer(visible))
    return {
        "milliseconds": _short(1e3 * run.seconds),
        **run.rates(run.seconds, masks),
        "peak_gb": _gigabytes("peak_bytes_in_use"),
    }


def _search(run: _Run) -> dict[str, Any]:
    regions, masks = run.step.regions, run.scorer.batch_size
    begin = time.perf_counter()
    # A third of the time: the whole search where it fits.
    limits = Limits(seconds=run.left / 3)
    (found,) = find_orders([run.scorer], "exact", limits=limits)
    seconds = time.perf_counter() - begin
    return {
        "steps": found.rounds,
        "of": regions,
        "forwards": found.forwards,
        "seconds": _short(seconds),
        **run.rates(seconds, found.forwards),
        "whole": found.ended is None,
        "whole_from_batches_s": _short(search_batches(regions, masks) * run.seconds),
    }


def _sequential(run: _Run) -> dict[str, Any]:
    scorer = run.scorer_of(run.step, 1)
    visible = _sets(run, 1)
    return {"what": "one mask a call, JAX"} | _against(run, lambda: scorer(visible))


def _pytorch(run: _Run) -> dict[str, Any]:
    """The published way: one masked image at a time, its processor and the whole sequence."""
    try:
        import torch
    except ImportError:
        return {"skipped": "torch is not installed"}
    if not run.rehearsal and not torch.cuda.is_available():
        return {"skipped": f"torch {torch.__version__} does not see the GPU"}
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    from torch_reference import TorchReference

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    reference = TorchReference.random(run.folder, device, dtype)
    question, labels = run.scorer.question, run.scorer.labels
    rows, targets = run.step.rows, np.array(question.token_ids)[: len(run.step.rows)]
    ids = np.array(question.ids)[: rows.max() + 1]
    image = np.zeros((*labels.shape, 3), np.uint8)
    (visible,) = _sets(run, 1)

    def one():
        return reference.score(ids, image, labels, visible, rows, targets)

    return {"what": f"torch {torch.__version__} on {device}"} | _against(run, one)


def _against(run: _Run, one: Callable[[], Any]) -> dict[str, Any]:
    """Rates of a call that scores one mask, and how many times faster the batches are."""
    seconds = median_seconds(one)
    ratio = seconds * run.scorer.batch_size / run.seconds
    return {**run.rates(seconds, 1), "batches_are_faster_by": _short(ratio)}


def _stages(run: _Run) -> dict[str, Any]:
    given = run.network, run.scorer.question, _sets(run, run.scorer.batch_size)
    found = [whole_step(*given), *measured_stages(*given)]
    return {
        "what": "each part compiled and run apart",
        "stages": {
            stage.name: {
                "milliseconds": _short(stage.milliseconds),
                "tflop": _short(stage.operations / 1e12),
                "of_matmul": _short(1e3 * stage.operations / stage.milliseconds / run.matmul),
            }
            for stage in found
        },
    }


def _lockstep(run: _Run) -> dict[str, Any]:
    regions = 4 if run.rehearsal else 16
    step = _step(run.folder, run.rehearsal, run.step.topology[0], regions)
    scorers = [run.scorer_of(step, run.scorer.batch_size) for _ in range(_TOGETHER)]
    seconds = []
    for groups in ([[one] for one in scorers], [scorers]):
        # The first step compiles.
        find_orders(groups[0], "exact", limits=Limits(top_k=1))
        begin = time.perf_counter()
        for group in groups:
            find_orders(group, "exact")
        seconds.append(time.perf_counter() - begin)
    return {
        "regions": regions,
        "one_after_the_other_s": _short(seconds[0]),
        "together_s": _short(seconds[1]),
        "faster_by": _short(seconds[0] / seconds[1]),
    }


def _batches(run: _Run) -> dict[str, Any]:
    found = {}
    for masks in (2 * run.scorer.batch_size, max(1, run.scorer.batch_size // 2)):
        if run.left < _LEAST:
            break
        try:
            scorer, visible = run.scorer_of(run.step, masks), _sets(run, masks)
            seconds = median_seconds(lambda scorer=scorer, visible=visible: scorer(visible))
        except jax.errors.JaxRuntimeError as error:
            found[masks] = str(error).splitlines()[0][:200]
        else:
            found[masks] = {"milliseconds": _short(1e3 * seconds)} | run.rates(seconds, masks)
    return {"sizes": found, "peak_gb": _gigabytes("peak_bytes_in_use")}


_PARTS = (
    _device,
    _weights,
    _program,
    _batch,
    _search,
    _sequential,
    _pytorch,
    _stages,
    _lockstep,
    _batches,
)


def _name(part: Callable) -> str:
    return part.__name__.strip("_")


class _Notes(logging.Handler):
    """Keeps what the package logs: why a kernel is not used, for example."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage()[:300])


def _sets(run: _Run, masks: int) -> np.ndarray:
    return np.random.default_rng(0).random((masks, run.step.regions)) < 0.5


def _gigabytes(name: str) -> float | None:
    found = (jax.local_devices()[0].memory_stats() or {}).get(name)
    return None if found is None else _short(found / 1e9)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    sys.exit(main())
