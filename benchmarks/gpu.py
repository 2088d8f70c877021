"""Measures the fused step on the GPU of this machine, in under nine minutes.

The checkpoints that ship as configurations, at full shape with random bfloat16 weights made on
the device; 640 x 480 pixels, 64 regions, 24 target tokens. For each of them, the most important
first: plain matmul rate, compile time, memory, which kernels compute attention and why no
others, seconds of a batch with the fraction of the peak, the exact search (as many steps as
time allows, and the time of the whole search at that rate), one masked image at a time,
PyTorch's loop where torch sees the GPU, the parts of a batch, four images searched together
against one after the other, and other batch sizes. Each checkpoint runs in a separate process
with a part of the time; the file is written after every measure, and an error in one measure
does not stop the other measures.

    python benchmarks/gpu.py --json gpu.json            # one H100 or H200
    python benchmarks/gpu.py --model Qwen2.5-VL-7B --minutes 4
    python benchmarks/gpu.py --rehearse                 # tiny shapes, on a CPU: does it run?

Exit code 1 says that a measure failed; the file has the error.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# PyTorch needs memory of the GPU too, and peaks must be those of arrays. Set before JAX starts.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
from gpu_parts import LEAST_SECONDS, PARTS, Run, gpu_step, name_of, rounded

from eagle_jax.planning import published_models
from eagle_jax.planning.chips import CHIPS

# The most important first, with the weights by which they divide the time.
_MODELS = {
    "llava-hf/llava-1.5-7b-hf": 3,
    "Qwen/Qwen2.5-VL-7B-Instruct": 3,
    "Qwen/Qwen2.5-VL-3B-Instruct": 2,
    "OpenGVLab/InternVL3_5-4B-HF": 2,
}
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
    record: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "rehearsal": options.rehearse,
        "minutes": options.minutes,
        "measures": [],
    }
    with tempfile.TemporaryDirectory(prefix="eagle-jax-gpu-") as folder:
        for place, name in enumerate(names):
            weights = [_MODELS[left] for left in names[place:]]
            seconds = (end - time.monotonic()) * weights[0] / sum(weights)
            where = _written(name, Path(folder), options.rehearse)
            for measure in _measures(name, where, seconds, options):
                record["measures"].append(measure)
                if options.json:
                    options.json.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
                print("  ".join(f"{key} {value}" for key, value in measure.items()), flush=True)
    return 1 if any("error" in measure for measure in record["measures"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=9.0, help="time of the whole benchmark (default: 9)")
    add(
        "--model",
        default="",
        help="checkpoints: those whose name contains this text (default: all)",
    )
    add(
        "--parts",
        default=",".join(map(name_of, PARTS)),
        help="parts to measure (default: %(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="file for the measures")
    add(
        "--rehearse",
        action="store_true",
        help="run at tiny shapes, to see that the benchmark works",
    )
    add("--work", type=Path, help=argparse.SUPPRESS)
    add("--seconds", type=float, help=argparse.SUPPRESS)
    return parser


def _written(name: str, folder: Path, tiny: bool) -> Path:
    """A folder with the configuration of a checkpoint, shrunk for a rehearsal."""
    published = published_models()[name]
    config = published["config"]
    if tiny:
        # LLaVA's configuration leaves sizes to transformers: here they must be written.
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
    """Measures of a checkpoint, one after the other, from a separate process."""
    command = [sys.executable, __file__, "--work", where, "--seconds", f"{seconds:.0f}"]
    command += ["--parts", options.parts, *(["--rehearse"] if options.rehearse else [])]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        # A program that one part compiles for its memory is not compiled again by another.
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


def _work(options: argparse.Namespace) -> int:
    end = time.monotonic() + options.seconds
    device = jax.devices()[0]
    kind = next((name for name in CHIPS if name in device.device_kind.lower()), None)
    step = gpu_step(options.work, options.rehearse, kind or "h100")
    run = Run(options.work, step, end, options.rehearse)
    run.peak = CHIPS[kind].bfloat16 if kind else None
    wanted = options.parts.split(",")
    for part in (part for part in PARTS if name_of(part) in wanted):
        begin = time.monotonic()
        try:
            values = {"skipped": "no time is left"} if run.left < LEAST_SECONDS else part(run)
        except Exception as error:  # noqa: BLE001 - whatever fails, the other parts go on
            traceback.print_exc()
            values = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        took = rounded(time.monotonic() - begin)
        print(json.dumps({"part": name_of(part), "took_s": took} | values), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
