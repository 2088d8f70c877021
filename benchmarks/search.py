"""Times the exact and the default search of one image against a sequential PyTorch loop.

Side by side in one run: all explain the same image, answer, targets and regions with the same
checkpoint. The PyTorch side works as the published code does: one masked image at a time, image
processor included, the whole sequence and vocabulary on every forward. Run it on an idle
machine: a loop of small forwards suffers more from other programs than large batches do, which
flatters the ratio. How many forwards the default search takes depends on the question, so the
bundled model is asked some of the storybook's questions as well.

    python benchmarks/search.py                       # the bundled model and picture
    python benchmarks/search.py --model Qwen/Qwen2.5-VL-3B-Instruct --dtype bfloat16 \\
        --image street.jpg --prompt "Describe the image."
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

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
# Questions of each of the storybook's kinds, and forwards of PyTorch that are timed for each.
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
    plan, scorer = case.question.plan, case.scorer
    rows = len(case.prompt_ids) + case.positions - 1
    flops = forward_flops(model.network.config, plan.grid, rows)

    singles = np.eye(scorer.regions, dtype=bool)
    cold = _seconds(lambda: scorer(singles))
    warm = _seconds(lambda: scorer(singles))
    matmul = [_matmul_rate(dtype)]
    begin = time.perf_counter()
    with tqdm(desc="eagle-jax", unit=" forwards", mininterval=1) as bar:
        (found,) = find_orders(
            [scorer], "exact", on_progress=lambda state: bar.update(state.forwards - bar.n)
        )
    seconds = time.perf_counter() - begin
    matmul.append(_matmul_rate(dtype))
    # What is imported on first use is, like compilation, no part of a search.
    find_orders([scorer], "auto", limits=Limits(budget=2 * scorer.regions))
    short = _Clocked(scorer)
    short_seconds = _seconds(lambda: find_orders([short], "auto"))
    matmul.append(_matmul_rate(dtype))

    sets = _sets(found.curves.order, options.torch_forwards)
    reference, torch_device = _torch_reference(source, dtype)
    theirs, torch_seconds = _time_torch(reference, case, sets)
    matmul.append(_matmul_rate(dtype))
    bundled = options.model == "demo" and options.image is None
    others = [_both(one, reference) for one in _storybook(model, options)] if bundled else []
    ours = scorer(sets)

    rate, torch_rate = found.forwards / seconds, len(sets) / torch_seconds
    ceiling = float(np.mean(matmul))
    device = jax.devices()[0]
    line = _printer()
    line("jax", f"{jax.__version__} on {device.device_kind} ({device.platform}), {dtype}")
    line("torch", f"{torch.__version__} on {torch_device}, {torch.get_num_threads()} threads")
    line("machine", f"{os.cpu_count()} CPU cores, load {load:.1f} when this began")
    height, width = case.labels.shape
    line("image", f"{width} x {height} pixels, {plan.tokens} visual tokens")
    line("sequence", f"{len(case.prompt_ids)} prompt and {len(case.positions)} target tokens")
    line("search", f"{scorer.regions} regions, {scorer.batch_size} masks in a batch")
    line("compilation", f"{cold - warm:.1f} s, apart")
    line("forward", f"{flops / 1e9:.3f} GFLOP")
    runs = ", ".join(f"{value / 1e9:.0f}" for value in matmul)
    line("matmul", f"{ceiling / 1e9:.0f} GFLOP/s of plain {dtype} ({runs} as the run went on)")
    _report(line, "eagle-jax", found.forwards, seconds, flops, ceiling)
    _report(line, "PyTorch loop", len(sets), torch_seconds, flops, ceiling)
    torch_whole = found.forwards / torch_rate
    if len(sets) < found.forwards:
        line("", f"a sample: its whole search would take {torch_whole:.1f} s")
    line("ratio", f"{rate / torch_rate:.2f}")
    line(
        "auto",
        f"{short.forwards} forwards in {short_seconds:.2f} s, {short.seconds:.2f} s of it "
        f"scoring: {torch_whole / short_seconds:.1f} times faster than the PyTorch loop's "
        "exact search",
    )
    if others:
        forwards, ours_whole, theirs_whole = np.array(others).T
        ratios = theirs_whole / ours_whole
        line(
            "storybook",
            f"{len(others)} questions, auto takes {forwards.mean():.0f} forwards and "
            f"{ours_whole.mean():.2f} s: {theirs_whole.sum() / ours_whole.sum():.1f} times "
            f"faster ({ratios.min():.1f} to {ratios.max():.1f})",
        )
    line("agreement", f"probabilities differ by at most {np.abs(ours - theirs).max():.1e}")
    return 0


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


def _printer():
    def line(name: str, text: str) -> None:
        print(f"{name:<14}{text}")

    return line


def _report(line, name, forwards, seconds, flops, ceiling):
    achieved = flops * forwards / seconds
    line(
        name,
        f"{forwards} forwards in {seconds:.1f} s: {forwards / seconds:.1f} forwards/s, "
        f"{achieved / 1e9:.1f} GFLOP/s, {achieved / ceiling:.0%} of the matmul rate",
    )


if __name__ == "__main__":
    sys.exit(main())
