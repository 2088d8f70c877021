"""All methods on the storybook: what each reaches, what it costs, and EAGLE less each other.

The lists are those of `benchmarks/storybook.py`, so that what should be found is known. Started
again with the same --folder it goes on where it was interrupted. Besides the comparison, each
method is put to a test that needs no ground truth: on some items the decoder's weights are
shuffled from the last layer on, and the order of the regions is compared with the one before.
A method whose order stays does not explain the model.

    python benchmarks/leaderboard.py --folder leaderboard
    python benchmarks/leaderboard.py --items 2 --regions grid:3x3 --methods eagle,tam
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import eagle_jax
from eagle_jax.baselines.sanity import orders_under_shuffling, rank_correlation
from eagle_jax.commands.compare import page
from eagle_jax.comparison import compare_methods
from eagle_jax.demo.lists import write_storybook
from eagle_jax.errors import InputError
from eagle_jax.lists import Item, read_list
from eagle_jax.results.manifest import Settings

# Items on which the weights are shuffled.
_SHUFFLED = 4


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
        comparison = compare_methods(
            read_list(path),
            folder / "comparisons" / name,
            Settings(regions=options.regions, search=options.search),
            methods,
            progress=sys.stderr.isatty(),
        )
        failed |= any(report.failures for report in comparison.reports.values())
        print(f"{name}\n\n{page(comparison)}\n")
    items = [one for one in read_list(book.lists["words"]) if isinstance(one, Item)]
    print(_sanity(model, items[:_SHUFFLED], methods, options.regions))
    return int(failed)


def _sanity(model, items: list[Item], methods: list[str], regions: str) -> str:
    """Rank correlation with the true order, as more and more layers are shuffled."""
    lines = ["rank correlation of the order with that of the trained model, layers shuffled:"]
    for method in methods:
        found = []
        for item in items:
            case = eagle_jax.ask(
                model, item.image, item.prompt, target=item.target, regions=regions
            )
            first, *others = orders_under_shuffling(case, method)
            found.append([rank_correlation(first, other) for other in others])
        means = np.mean(found, axis=0)
        shown = "  ".join(f"{i + 1}: {value:+.2f}" for i, value in enumerate(means))
        lines.append(f"{method:<22}{shown}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--folder", type=Path, help="where everything is kept (default: nowhere)")
    add("--items", type=int, default=100, help="of each list (default: 100)")
    add("--regions", default="36", help="as of eagle-jax run (default: 36)")
    add("--search", default="exact", help="of EAGLE (default: exact)")
    add("--methods", default=",".join(eagle_jax.methods()), help="default: all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
