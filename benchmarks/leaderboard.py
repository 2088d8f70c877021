"""All methods on the storybook: their measures, their cost, and EAGLE's gain over each.

The lists are those of `benchmarks/storybook.py`, for which the correct explanation is known. On
the regions the order of a method is judged, on all other partitions its map. KernelSHAP, LIME
and RISE run twice: with their default number of forwards, and with about as many as EAGLE
takes. An interrupted run resumes when it is started again with the same --folder. Besides the
comparison, each method is put to two tests that need no ground truth, on a few items: the
decoder's weights are shuffled from the last layer on, and the new order of the regions is
compared with the order for the trained model (an order that stays the same does not explain the
model); and methods that draw random numbers are run with other seeds. The tables are those of
docs/leaderboard.md.

    python benchmarks/leaderboard.py --folder leaderboard
    python benchmarks/leaderboard.py --items 2 --regions grid:3x3 --methods eagle,tam
"""

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from sanity import (
    orders_under_seeds,
    orders_under_shuffling,
    rank_correlation,
)

import eagle_jax
from eagle_jax.baselines.methods import METHODS
from eagle_jax.comparison import Column, Comparison, compare_methods
from eagle_jax.demo.lists import write_storybook
from eagle_jax.errors import InputError
from eagle_jax.lists import Item, read_list
from eagle_jax.metrics.statistics import Interval
from eagle_jax.results.manifest import Settings
from eagle_jax.scoring.case import Case

# Number of items on which weights are shuffled and seeds changed.
_EXAMINED = 4
# Methods whose cost is a number of samples.
_SAMPLING = ("kernelshap", "lime", "rise")
_HEADINGS = {
    "captions": "Captions, every token",
    "words": "Words for objects, in captions",
    "colours": "Answers about colours",
    "mistakes": "Wrong answers",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark and prints its tables; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.folder is not None:
            return _run(options, options.folder)
        with tempfile.TemporaryDirectory() as folder:
            return _run(options, Path(folder))
    except InputError as error:
        print("benchmarks/leaderboard.py:", error, file=sys.stderr)
        return 2


def _run(options: argparse.Namespace, folder: Path) -> int:
    model = eagle_jax.load("demo")
    methods = options.methods.split(",")
    compared = methods + [
        f"{name}@samples={options.equal_forwards}" for name in _SAMPLING if name in methods
    ]
    book = write_storybook(folder, model, options.items, options.items, options.items)
    failed = False
    for name, path in book.lists.items():
        entries = read_list(path)
        comparisons = {}
        for search, chosen in (("auto", compared), ("exact", ["eagle"])):
            settings = Settings(regions=options.regions, search=search)
            where = folder / "comparisons" / search / name
            bar = sys.stderr.isatty()
            comparison = compare_methods(entries, where, settings, chosen, progress=bar)
            failed |= any(summary.failures for summary in comparison.summaries.values())
            comparisons[search] = comparison
        tables = markdown(comparisons["auto"], comparisons["exact"])
        print(f"## {_HEADINGS[name]}\n\n{tables}\n", flush=True)
    items = [item for item in read_list(book.lists["words"]) if isinstance(item, Item)]
    cases = [
        eagle_jax.ask(
            model, item.image, item.prompt, target=item.target, regions=options.regions
        )
        for item in items[: min(options.items, _EXAMINED)]
    ]
    print(_shuffled(cases, methods), "\n")
    print(_reseeded(cases, [name for name in methods if "seed" in METHODS[name].options]))
    return int(failed)


def markdown(default: Comparison, exact: Comparison) -> str:
    """The tables of a list, EAGLE by its exact search in a row of its own.

    Args:
      default: comparison of all methods, with EAGLE's default search.
      exact: comparison of EAGLE with its exact search.
    """
    lines = []
    for kind, columns in default.columns.items():
        titles = [f"{column.title} ({column.better})" for column in columns]
        head = ["method", "items", *titles]
        lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        exactly = {column.title: column for column in exact.columns.get(kind, ())}
        for method in columns[0].values:
            lines.append(_row(method, [column.values[method] for column in columns]))
            if method == "eagle" and exactly:
                values = [exactly[column.title].values["eagle"] for column in columns]
                lines.append(_row("eagle, exact search", values))
        lines += ["", *_gains(columns, titles)]
        better = [
            f"- {method}, {_in_brackets(column.title)}: EAGLE minus {method} is "
            f"{paired.mean:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]"
            for column in columns
            for method, paired in column.differences.items()
            if (paired.high < 0 if column.better == "higher" else paired.low > 0)
        ]
        lines += ["", "Better than EAGLE:", "", *(better or ["- none"])]
    head = ("mean cost of an item", "forwards", "of which with a gradient", "seconds")
    lines += ["", f"| {' | '.join(head)} |", "|---|---|---|---|"]
    costs = default.costs | {"eagle, exact search": exact.costs["eagle"]}
    lines += [
        f"| {method} | {cost.forwards:,.0f} | {cost.backwards:,.0f} | {cost.seconds:.1f} |"
        for method, cost in costs.items()
    ]
    return "\n".join(lines).strip()


def _in_brackets(title: str) -> str:
    measure, _, detail = title.partition(", ")
    return f"{measure} ({detail})" if detail else measure


def _gains(columns: list[Column], titles: list[str]) -> list[str]:
    """EAGLE's mean minus each method's, as a percentage of the method's, as in the paper."""
    lines = [f"| gain of EAGLE over | {' | '.join(titles)} |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for method in columns[0].differences:
        cells = [
            ("-" if np.isnan(gain := column.gains[method]) else f"{gain:+.1%}")
            + ("" if paired.low > 0 or paired.high < 0 else " (n.s.)")
            for column in columns
            for paired in [column.differences[method]]
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def _row(method: str, values: list[Interval]) -> str:
    # The mean of a single item has no interval.
    cells = [
        f"{value.mean:.3f}"
        + (f" [{value.low:.3f}, {value.high:.3f}]" if value.count > 1 else "")
        for value in values
    ]
    return f"| {' | '.join([method, str(values[0].count), *cells])} |"


def _shuffled(cases: list[Case], methods: list[str]) -> str:
    """Rank correlation with the trained model's order, as more and more layers are shuffled."""
    rows = {}
    for method in methods:
        correlations = []
        for case in cases:
            trained, *shuffled = orders_under_shuffling(case, method)
            correlations.append([rank_correlation(trained, order) for order in shuffled])
        rows[method] = np.mean(correlations, axis=0)
    count = len(next(iter(rows.values())))
    layers = [f"{i} layer{'s' if i > 1 else ''}" for i in range(1, count + 1)]
    lines = ["## Shuffled layers", "", "Rank correlation with the trained model's order.", ""]
    lines += [f"| method | {' | '.join(layers)} |", "|---" * (1 + count) + "|"]
    for method, means in rows.items():
        lines.append(f"| {method} | {' | '.join(f'{mean:+.2f}' for mean in means)} |")
    return "\n".join(lines)


def _reseeded(cases: list[Case], methods: list[str]) -> str:
    """How much each method's order changes with the seed."""
    head = ("method", "mean rank correlation", "lowest rank correlation", "same first region")
    lines = ["## Random seeds", "", f"| {' | '.join(head)} |", "|---|---|---|---|"]
    for method in methods:
        pairs = [
            pair
            for case in cases
            for pair in itertools.combinations(orders_under_seeds(case, method), 2)
        ]
        correlations = [rank_correlation(*pair) for pair in pairs]
        same = np.mean([first[0] == second[0] for first, second in pairs])
        mean, lowest = np.mean(correlations), min(correlations)
        lines.append(f"| {method} | {mean:+.2f} | {lowest:+.2f} | {same:.0%} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--folder",
        type=Path,
        help="folder of lists and results, to resume from (default: none)",
    )
    add("--items", type=int, default=100, help="number of items of each list (default: 100)")
    add(
        "--equal-forwards",
        type=int,
        default=256,
        help="number of samples in the second runs of KernelSHAP, LIME and RISE (default: 256)",
    )
    add("--regions", default="36", help="regions, as for eagle-jax run (default: 36)")
    add(
        "--methods",
        default=",".join(eagle_jax.methods()),
        help="methods, separated by commas (default: all)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
