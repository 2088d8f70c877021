"""Times the exact and the default search of one image against a sequential PyTorch loop.

Side by side in one run: all explain the same image, answer, targets and regions with the same
checkpoint. The PyTorch side works as the published code does: one masked image at a time, image
processor included, the whole sequence and vocabulary on every forward. Run it on an idle
machine: a loop of small forwards suffers more from other programs than large batches do, which
flatters the ratio. How many forwards the default search takes depends on the question, so the
bundled model is asked some of the storybook's questions as well.

    python benchmarks/search.py                       # the bundled model and image
    python benchmarks/search.py --model Qwen/Qwen2.5-VL-3B-Instruct --dtype bfloat16 \\
        --image street.jpg --prompt "Describe the image."
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

# PyTorch needs a share of the GPU; must be set before JAX starts.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import eagle_jax
from eagle_jax import demo
from eagle_jax.demo.lists import write_storybook
from eagle_jax.lists import Item, read_list
from eagle_jax.planning.flops import forward_flops
from eagle_jax.search import Limits, find_orders

_MATMUL_SECONDS = 2.0
# Number of questions of each storybook list, and of PyTorch's forwards timed for each question.
_QUESTIONS, _SAMPLE = 3, 40


def main() -> int:
    """Runs the benchmark and prints its table; returns the exit code."""
    options = _parser().parse_args()
    load = os.getloadavg()[0]
    try:
        import torch
    except ImportError:
        print(
            'benchmarks/search.py compares with PyTorch: python -m pip install -e ".[test]"',
            file=sys.stderr,
        )
        return 2
    image, prompt, source = options.image, options.prompt, options.model
    if image is None:
        image, prompt = demo.IMAGE, prompt or demo.PROMPT
    if source == "demo":
        source = demo.CHECKPOINT
    if prompt is None:
        print("benchmarks/search.py: --image needs a --prompt", file=sys.stderr)
        return 2

    model = eagle_jax.load(options.model, dtype=options.dtype)
    dtype = jax.tree.leaves(model.network)[0].dtype
    case = eagle_jax.ask(
        model, image, prompt, regions=options.regions, batch_size=options.batch_size
    )
    ours = _timed_searches(case, dtype)
    sets = _sets(ours.order, options.torch_forwards)
    reference, torch_device = _torch_reference(source, dtype)
    theirs, torch_seconds = _time_torch(reference, case, sets)
    ours.matmul.append(_matmul_rate(dtype))
    bundled = options.model == "demo" and options.image is None
    questions = _storybook(model, options) if bundled else []
    others = [_both(question, reference) for question in questions]
    difference = np.abs(case.scorer(sets) - theirs).max()

    device = jax.devices()[0]
    _line("jax", f"{jax.__version__} on {device.device_kind} ({device.platform}), {dtype}")
    _line("torch", f"{torch.__version__} on {torch_device}, {torch.get_num_threads()} threads")
    _line("machine", f"{os.cpu_count()} CPU cores, load {load:.1f} when this began")
    _print_search(case, ours, dtype, len(sets), torch_seconds)
    if others:
        _print_storybook(others)
    _line("agreement", f"probabilities differ by at most {difference:.1e}")
    return 0


class _Searches(NamedTuple):
    """Both searches of a case.

    Attributes:
      order: order of the exact search.
      forwards: forwards of the exact search.
      seconds: time of the exact search.
      compilation: time of the compilation, in seconds.
      default: forwards and seconds that the default search spends on scoring.
      default_seconds: time of the default search.
      matmul: rates of a plain product, measured as the run goes on.
    """

    order: np.ndarray
    forwards: int
    seconds: float
    compilation: float
    default: "_Clocked"
    default_seconds: float
    matmul: list[float]


def _timed_searches(case: eagle_jax.Case, dtype) -> _Searches:
    scorer = case.scorer
    singles = np.eye(scorer.regions, dtype=bool)
    cold = _seconds(lambda: scorer(singles))
    warm = _seconds(lambda: scorer(singles))
    matmul = [_matmul_rate(dtype)]
    begin = time.perf_counter()
    with tqdm(desc="eagle-jax", unit=" forwards", mininterval=1) as bar:
        (result,) = find_orders(
            [scorer], "exact", on_progress=lambda state: bar.update(state.forwards - bar.n)
        )
    seconds = time.perf_counter() - begin
    matmul.append(_matmul_rate(dtype))
    # Imports on first use are, like compilation, no part of a search.
    find_orders([scorer], "auto", limits=Limits(budget=2 * scorer.regions))
    clocked = _Clocked(scorer)
    default_seconds = _seconds(lambda: find_orders([clocked], "auto"))
    matmul.append(_matmul_rate(dtype))
    return _Searches(
        order=result.curves.order,
        forwards=result.forwards,
        seconds=seconds,
        compilation=cold - warm,
        default=clocked,
        default_seconds=default_seconds,
        matmul=matmul,
    )


def _print_search(
    case: eagle_jax.Case, ours: _Searches, dtype, torch_forwards: int, torch_seconds: float
) -> None:
    image_plan, scorer = case.question.plan, case.scorer
    rows = len(case.prompt_ids) + case.positions - 1
    flops = forward_flops(case.model.network.config, image_plan.grid, rows)
    ceiling = float(np.mean(ours.matmul))
    height, width = case.labels.shape
    _line("image", f"{width} x {height} pixels, {image_plan.tokens} visual tokens")
    _line("sequence", f"{len(case.prompt_ids)} prompt and {len(case.positions)} target tokens")
    _line("search", f"{scorer.regions} regions, {scorer.batch_size} masked images in a batch")
    _line("compilation", f"{ours.compilation:.1f} s, apart")
    _line("forward", f"{flops / 1e9:.3f} GFLOP")
    runs = ", ".join(f"{value / 1e9:.0f}" for value in ours.matmul)
    _line("matmul", f"{ceiling / 1e9:.0f} GFLOP/s of plain {dtype} ({runs} as the run went on)")
    _line_of_rates("eagle-jax", ours.forwards, ours.seconds, flops, ceiling)
    _line_of_rates("PyTorch loop", torch_forwards, torch_seconds, flops, ceiling)
    rate, torch_rate = ours.forwards / ours.seconds, torch_forwards / torch_seconds
    torch_whole = ours.forwards / torch_rate
    if torch_forwards < ours.forwards:
        _line("", f"a sample: its whole search would take {torch_whole:.1f} s")
    _line("ratio", f"{rate / torch_rate:.2f}")
    _line(
        "auto",
        f"{ours.default.forwards} forwards in {ours.default_seconds:.2f} s, "
        f"{ours.default.seconds:.2f} s of it scoring: "
        f"{torch_whole / ours.default_seconds:.1f} times faster than the PyTorch loop's "
        "exact search",
    )


def _print_storybook(others: list[tuple[int, float, float]]) -> None:
    forwards, ours, theirs = np.array(others).T
    ratios = theirs / ours
    _line(
        "storybook",
        f"{len(others)} questions, auto takes {forwards.mean():.0f} forwards and "
        f"{ours.mean():.2f} s: {theirs.sum() / ours.sum():.1f} times "
        f"faster ({ratios.min():.1f} to {ratios.max():.1f})",
    )


def _storybook(model, options) -> list[eagle_jax.Case]:
    """Captions, words, colours and wrong answers."""
    with tempfile.TemporaryDirectory() as folder:
        book = write_storybook(Path(folder), model, _QUESTIONS, _QUESTIONS, _QUESTIONS)
        items = [one for path in book.lists.values() for one in read_list(path)]
        return [
            eagle_jax.ask(
                model,
                one.image,
                one.prompt,
                answer=one.answer,
                target=one.target,
                target_ids=one.target_ids,
                regions=options.regions,
                batch_size=options.batch_size,
            )
            for one in items
            if isinstance(one, Item)
        ]


def _both(case, reference) -> tuple[int, float, float]:
    """Forwards and seconds of the default search, and seconds of PyTorch's exact one."""
    # A length of its own has a program of its own.
    case.scorer(np.eye(case.scorer.regions, dtype=bool))
    begin = time.perf_counter()
    (found,) = find_orders([case.scorer], "auto")
    seconds = time.perf_counter() - begin
    sets = _sets(found.curves.order, _SAMPLE)
    _, torch_seconds = _time_torch(reference, case, sets)
    whole = case.scorer.regions * (case.scorer.regions + 1)
    return found.forwards, seconds, torch_seconds / len(sets) * whole


class _Clocked:
    """A scorer that counts forwards and the seconds they take."""

    def __init__(self, scorer):
        self._scorer, self.regions, self.labels = scorer, scorer.regions, scorer.labels
        self.forwards, self.seconds = 0, 0.0

    def __call__(self, visible):
        begin = time.perf_counter()
        scores = self._scorer(visible)
        self.seconds += time.perf_counter() - begin
        self.forwards += len(visible)
        return scores


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="demo", help='"demo", a Hugging Face folder, or a hub id')
    add("--image", help="path of an image (default: the demo's)")
    add("--prompt", help="question about the image (default: the demo's)")
    add("--regions", default="64", help="regions, as for eagle-jax explain (default: 64)")
    add(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="floating-point type of the weights (default: the checkpoint's)",
    )
    add(
        "--batch-size", type=int, metavar="N", help="masked images of a batch (default: chosen)"
    )
    add(
        "--torch-forwards",
        type=int,
        default=200,
        metavar="N",
        help="forwards of the PyTorch loop that are timed; 0 for all of them (default: 200)",
    )
    return parser


def _sets(order: np.ndarray, count: int) -> np.ndarray:
    """Sets that the search scored, in its order; evenly spread when fewer are wanted."""
    regions = len(order)
    sets = []
    for k in range(regions):
        shown = np.isin(np.arange(regions), order[:k]) | np.eye(regions, dtype=bool)[order[k:]]
        sets += [shown, ~shown]
    every = np.concatenate(sets)
    if count == 0 or count >= len(every):
        return every
    return every[np.linspace(0, len(every) - 1, count).astype(int)]


def _torch_reference(source, dtype):
    import torch
    from transformers.utils import logging

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    from torch_reference import TorchReference

    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchReference(source, device, getattr(torch, str(dtype))), device


def _time_torch(reference, case, sets):
    ids = np.concatenate([case.prompt_ids, case.answer_ids])
    rows = len(case.prompt_ids) + case.positions - 1
    rest = rows, case.token_ids
    for visible in sets[:3]:
        reference.score(ids, case.image, case.labels, visible, *rest)
    begin = time.perf_counter()
    scores = [
        reference.score(ids, case.image, case.labels, visible, *rest)
        for visible in tqdm(sets, desc="PyTorch", unit="forward", mininterval=1)
    ]
    return np.stack(scores), time.perf_counter() - begin


def _matmul_rate(dtype) -> float:
    """Operations per second of one large square product, the median of about two seconds."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a, b: jnp.matmul(a, b))
    product(x, x).block_until_ready()
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < _MATMUL_SECONDS:
        times.append(_seconds(lambda: product(x, x).block_until_ready()))
    return 2 * size**3 / float(np.median(times))


def _seconds(work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _line(name: str, text: str) -> None:
    print(f"{name:<14}{text}")


def _line_of_rates(
    name: str, forwards: int, seconds: float, flops: float, ceiling: float
) -> None:
    achieved = flops * forwards / seconds
    _line(
        name,
        f"{forwards} forwards in {seconds:.1f} s: {forwards / seconds:.1f} forwards/s, "
        f"{achieved / 1e9:.1f} GFLOP/s, {achieved / ceiling:.0%} of the matmul rate",
    )


if __name__ == "__main__":
    sys.exit(main())
