"""All methods on the storybook: what each reaches, what it costs, and EAGLE less each other.

The lists are those of `benchmarks/storybook.py`, so that what should be found is known. Started
again with the same --folder it goes on where it was interrupted. Besides the comparison, each
method is put to tests that need no ground truth, on some items: the decoder's weights are
shuffled from the last layer on, and the order of the regions is compared with the one before
(a method whose order stays does not explain the model); and methods that draw random numbers
are run with other seeds. The tables are Markdown.

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

# Items on which weights are shuffled and seeds changed.
_EXAMINED = 4


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
    book = write_storybook(folder, model, options.items, options.items, options.items)
    failed = False
    for name, path in book.lists.items():
        entries = read_list(path)
        found = {}
        for search, chosen in (("exact", methods), ("auto", ["eagle"])):
            settings = Settings(regions=options.regions, search=search)
            where = folder / "comparisons" / search / name
            bar = sys.stderr.isatty()
            found[search] = compare_methods(entries, where, settings, chosen, progress=bar)
            failed |= any(summary.failures for summary in found[search].summaries.values())
        print(f"## {name}\n\n{markdown(found['exact'], found['auto'])}\n", flush=True)
    items = [one for one in read_list(book.lists["words"]) if isinstance(one, Item)]
    cases = [
        eagle_jax.ask(model, one.image, one.prompt, target=one.target, regions=options.regions)
        for one in items[: min(options.items, _EXAMINED)]
    ]
    print(_shuffled(cases, methods), "\n")
    print(_reseeded(cases, [one for one in methods if "seed" in METHODS[one].options]))
    return int(failed)


def markdown(exact: Comparison, default: Comparison) -> str:
    """The tables of a list, EAGLE by its default search in a row of its own.

    Args:
      exact: of all methods, EAGLE by its exact search.
      default: of EAGLE by its default search.
    """
    lines = []
    for kind, columns in exact.columns.items():
        titles = [f"{one.title} ({one.better})" for one in columns]
        head = [f"{kind}", "items", *titles]
        lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        others = {one.title: one for one in default.columns.get(kind, ())}
        for method in columns[0].values:
            lines.append(_row(method, [one.values[method] for one in columns]))
            if method == "eagle" and others:
                own = [others[one.title].values["eagle"] for one in columns]
                lines.append(_row("eagle, default search", own))
        lines += ["", *_gains(columns, titles)]
        ahead = [
            f"- {method} in {one.title}: EAGLE less it, paired by item, is {paired.mean:+.4f} "
            f"[{paired.low:+.4f}, {paired.high:+.4f}]"
            for one in columns
            for method, paired in one.differences.items()
            if (paired.high < 0 if one.better == "higher" else paired.low > 0)
        ]
        lines += ["", "Ahead of EAGLE's exact search:", "", *(ahead or ["- none"])]
    lines += ["", "| cost of an item | forwards | backwards | s |", "|---|---|---|---|"]
    costs = exact.costs | {"eagle, default search": default.costs["eagle"]}
    lines += [
        f"| {method} | {one.forwards:,.0f} | {one.backwards:,.0f} | {one.seconds:.1f} |"
        for method, one in costs.items()
    ]
    return "\n".join(lines).strip()


def _gains(columns: list[Column], titles: list[str]) -> list[str]:
    """EAGLE's means against each method's, as the paper has them: a share of the method's."""
    lines = [f"| EAGLE's exact search against | {' | '.join(titles)} |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for method in columns[0].differences:
        cells = [
            ("-" if np.isnan(gain := one.gains[method]) else f"{gain:+.1%}")
            + ("" if paired.low > 0 or paired.high < 0 else ", not apart")
            for one in columns
            for paired in [one.differences[method]]
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def _row(method: str, values: list[Interval]) -> str:
    # One item has no interval.
    cells = [
        f"{one.mean:.3f}" + (f" [{one.low:.3f}, {one.high:.3f}]" if one.count > 1 else "")
        for one in values
    ]
    return f"| {' | '.join([method, str(values[0].count), *cells])} |"


def _shuffled(cases: list[Case], methods: list[str]) -> str:
    """Rank correlation with the true order, as more and more layers are shuffled."""
    lines = [
        "## Layers shuffled",
        "",
        "Rank correlation with the order of the trained model.",
    ]
    rows = {}
    for method in methods:
        found = []
        for case in cases:
            first, *others = orders_under_shuffling(case, method)
            found.append([rank_correlation(first, other) for other in others])
        rows[method] = np.mean(found, axis=0)
    layers = [str(i + 1) for i in range(len(next(iter(rows.values()))))]
    lines += ["", f"| method | {' | '.join(layers)} |", "|---" * (1 + len(layers)) + "|"]
    for method, means in rows.items():
        lines.append(f"| {method} | {' | '.join(f'{one:+.2f}' for one in means)} |")
    return "\n".join(lines)


def _reseeded(cases: list[Case], methods: list[str]) -> str:
    """How much each method's order changes with the seed."""
    lines = ["## Other seeds", "", "| method | rank correlation | lowest | same first region |"]
    lines.append("|---|---|---|---|")
    for method in methods:
        pairs = [
            pair
            for case in cases
            for pair in itertools.combinations(orders_under_seeds(case, method), 2)
        ]
        found = [rank_correlation(*pair) for pair in pairs]
        same = np.mean([one[0] == other[0] for one, other in pairs])
        lines.append(f"| {method} | {np.mean(found):+.2f} | {min(found):+.2f} | {same:.0%} |")
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
    add("--regions", default="36", help="regions, as for eagle-jax run (default: 36)")
    add(
        "--methods",
        default=",".join(eagle_jax.methods()),
        help="methods, separated by commas (default: all)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
