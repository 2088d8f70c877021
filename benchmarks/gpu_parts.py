"""The measures that `benchmarks/gpu.py` takes of a checkpoint on a GPU.

Each part is a function from a `Run` to a dictionary of numbers; the parts follow each other and
keep in the run what later parts need.
"""

import collections
import dataclasses
import logging
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from measurement import (
    matmul_rate,
    measured_stages,
    median_seconds,
    random_weights,
    whole_step,
)

from eagle_jax.planning.flops import search_batches
from eagle_jax.planning.step import Step, size_step
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import on_devices
from eagle_jax.scoring.scorer import MaskedImageScorer, padded_regions
from eagle_jax.search import find_orders
from eagle_jax.search.limits import Limits

# Number of target tokens, and of images searched together.
_TARGETS, _TOGETHER = 24, 4
LEAST_SECONDS = 5.0
"""A part is not begun with fewer seconds left."""


@dataclasses.dataclass
class Run:
    """The state of one checkpoint's run, which its parts share."""

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
        """Seconds that are left."""
        return self.end - time.monotonic()

    def scorer_of(self, step: Step, batch_size: int | None) -> MaskedImageScorer:
        """A scorer of a step's question by the random weights."""
        question = on_devices(self.network, step.question)
        words = [""] * len(step.rows)
        return MaskedImageScorer(self.network, question, step.labels, words, batch_size)

    def rates(self, seconds: float, forwards: int) -> dict[str, Any]:
        """Rates of forwards that took so many seconds together."""
        work = self.step.flops * forwards / seconds
        return {
            "forwards_per_s": rounded(forwards / seconds),
            "of_peak": self.peak and rounded(work / self.peak),
            "of_matmul": rounded(work / self.matmul),
        }


def gpu_step(folder: Path, tiny: bool, topology: str, regions: int | None = None) -> Step:
    """The step that is measured, at full shape or tiny."""
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


def _device(run: Run) -> dict[str, Any]:
    device = jax.devices()[0]
    run.matmul = matmul_rate(jnp.bfloat16)
    return {
        "device": f"{device.device_kind} ({device.platform})",
        "jax": jax.__version__,
        "memory_gb": _gigabytes("bytes_limit"),
        "matmul_tflops": rounded(run.matmul / 1e12),
        "of_peak": run.peak and rounded(run.matmul / run.peak),
    }


def _weights(run: Run) -> dict[str, Any]:
    run.network = jax.block_until_ready(random_weights(run.step.network))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(run.network))
    return {"weights_gb": rounded(size / 1e9)}


def _program(run: Run) -> dict[str, Any]:
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
        "temporary_gb": memory and rounded(memory.temp_size_in_bytes / 1e9),
        "attention": "cuDNN" if any("fmha" in kernel for kernel in kernels) else "not cuDNN",
        "kernels": dict(collections.Counter(kernels)),
        "log": notes.lines,
    }


def _batch(run: Run) -> dict[str, Any]:
    masks = run.scorer.batch_size
    visible = _sets(run, masks)
    run.seconds = median_seconds(lambda: run.scorer(visible))
    return {
        "milliseconds": rounded(1e3 * run.seconds),
        **run.rates(run.seconds, masks),
        "peak_gb": _gigabytes("peak_bytes_in_use"),
    }


def _search(run: Run) -> dict[str, Any]:
    regions, masks = run.step.regions, run.scorer.batch_size
    begin = time.perf_counter()
    # A third of the time: the whole search where it fits.
    limits = Limits(seconds=run.left / 3)
    (result,) = find_orders([run.scorer], "exact", limits=limits)
    seconds = time.perf_counter() - begin
    return {
        "steps": result.rounds,
        "of": regions,
        "forwards": result.forwards,
        "seconds": rounded(seconds),
        **run.rates(seconds, result.forwards),
        "whole": result.ended is None,
        "whole_from_batches_s": rounded(search_batches(regions, masks) * run.seconds),
    }


def _sequential(run: Run) -> dict[str, Any]:
    scorer = run.scorer_of(run.step, 1)
    visible = _sets(run, 1)
    return {"what": "one masked image a call, JAX"} | _against(run, lambda: scorer(visible))


def _pytorch(run: Run) -> dict[str, Any]:
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

    def score():
        return reference.score(ids, image, labels, visible, rows, targets)

    return {"what": f"torch {torch.__version__} on {device}"} | _against(run, score)


def _against(run: Run, score: Callable[[], Any]) -> dict[str, Any]:
    """Rates of a call that scores one masked image, and how much faster batches are."""
    seconds = median_seconds(score)
    ratio = seconds * run.scorer.batch_size / run.seconds
    return {**run.rates(seconds, 1), "batches_are_faster_by": rounded(ratio)}


def _stages(run: Run) -> dict[str, Any]:
    batch = run.network, run.scorer.question, _sets(run, run.scorer.batch_size)
    stages = [whole_step(*batch), *measured_stages(*batch)]
    return {
        "what": "each part compiled and run apart",
        "stages": {
            stage.name: {
                "milliseconds": rounded(stage.milliseconds),
                "tflop": rounded(stage.operations / 1e12),
                "of_matmul": rounded(1e3 * stage.operations / stage.milliseconds / run.matmul),
            }
            for stage in stages
        },
    }


def _together(run: Run) -> dict[str, Any]:
    regions = 4 if run.rehearsal else 16
    step = gpu_step(run.folder, run.rehearsal, run.step.topology[0], regions)
    scorers = [run.scorer_of(step, run.scorer.batch_size) for _ in range(_TOGETHER)]
    seconds = []
    for groups in ([[scorer] for scorer in scorers], [scorers]):
        # The first step compiles.
        find_orders(groups[0], "exact", limits=Limits(top_k=1))
        begin = time.perf_counter()
        for group in groups:
            find_orders(group, "exact")
        seconds.append(time.perf_counter() - begin)
    return {
        "regions": regions,
        "one_after_the_other_s": rounded(seconds[0]),
        "together_s": rounded(seconds[1]),
        "faster_by": rounded(seconds[0] / seconds[1]),
    }


def _batches(run: Run) -> dict[str, Any]:
    sizes = {}
    for masks in (2 * run.scorer.batch_size, max(1, run.scorer.batch_size // 2)):
        if run.left < LEAST_SECONDS:
            break
        try:
            scorer, visible = run.scorer_of(run.step, masks), _sets(run, masks)
            seconds = median_seconds(lambda scorer=scorer, visible=visible: scorer(visible))
        except jax.errors.JaxRuntimeError as error:
            sizes[masks] = str(error).splitlines()[0][:200]
        else:
            sizes[masks] = {"milliseconds": rounded(1e3 * seconds)} | run.rates(seconds, masks)
    return {"sizes": sizes, "peak_gb": _gigabytes("peak_bytes_in_use")}


PARTS = (
    _device,
    _weights,
    _program,
    _batch,
    _search,
    _sequential,
    _pytorch,
    _stages,
    _together,
    _batches,
)


def name_of(part: Callable) -> str:
    """The name of a part on the command line and in the file."""
    return part.__name__.strip("_")


class _Notes(logging.Handler):
    """Keeps messages of the package, for example why a kernel is not used."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage()[:300])


def _sets(run: Run, masks: int) -> np.ndarray:
    return np.random.default_rng(0).random((masks, run.step.regions)) < 0.5


def _gigabytes(name: str) -> float | None:
    found = (jax.local_devices()[0].memory_stats() or {}).get(name)
    return None if found is None else rounded(found / 1e9)


def rounded(value: float) -> float:
    """A number with four significant digits."""
    return float(f"{value:.4g}")
