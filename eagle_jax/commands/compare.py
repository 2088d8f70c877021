"""``eagle-jax compare``: several methods on one list."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eagle_jax.commands.arguments import (
    add_device_arguments,
    add_list_arguments,
    add_model_arguments,
    add_regions_argument,
    add_search_arguments,
    cache_compilations,
    entries_of,
    positive,
)
from eagle_jax.commands.processes import add_process_arguments, join_processes

if TYPE_CHECKING:
    from eagle_jax.comparison import Column, Comparison
    from eagle_jax.metrics.statistics import Interval, Paired

_EXAMPLES = """\
examples:
  eagle-jax compare questions.jsonl --methods eagle,igos++,tam,random --out comparison
      a table of what each method reaches, and EAGLE less each other, paired by item; the
      maps of the first items side by side in comparison/figures
  eagle-jax compare questions.jsonl --methods eagle,tam --granularity pixel --fill blur \\
      --out comparison
      judged pixel by pixel, with a blurred image in the place of what is hidden
  eagle-jax compare storybook:words --methods all --regions 36 --search exact --out words
      the leaderboard of the README: words in captions of the demo model about drawn scenes
  the same command goes on where it was interrupted
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    from eagle_jax.comparison import GRANULARITIES
    from eagle_jax.inputs.fill import FILLS

    parser = commands.add_parser(
        "compare",
        help="compare methods on a list",
        description="Explains a list by several methods and judges all of them in the same "
        "way: same targets, same parts, same fill; and once more with parts and a fill that "
        "none of them searched on.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add_list_arguments(parser)
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    add(
        "--methods",
        default="eagle,llava-cam,igos++,tam,random",
        help='names separated by commas, or "all" (default: eagle,llava-cam,igos++,tam,random)',
    )
    add_model_arguments(parser)
    add_regions_argument(parser)
    add_search_arguments(parser, "auto")
    add(
        "--granularity",
        default="region",
        choices=GRANULARITIES,
        help="what is shown or hidden at a time when methods are judged (default: region)",
    )
    add(
        "--fill",
        default="black",
        choices=FILLS,
        help="what is then shown in the place of what is hidden (default: black)",
    )
    add(
        "--regenerate",
        default="scan",
        choices=["scan", "bisect", "no"],
        help="see eagle-jax run (default: scan)",
    )
    add("--batch-size", type=positive, metavar="N", help="masked images per forward")
    add_device_arguments(parser)
    add_process_arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Runs the command; 0 when every item has a result of every method, else 1."""
    from eagle_jax.baselines import METHODS
    from eagle_jax.comparison import compare_methods
    from eagle_jax.results.manifest import Settings

    entries = entries_of(options)
    settings = Settings(
        model=options.model,
        dtype=options.dtype,
        quantize=options.quantize,
        regions=options.regions,
        search=options.search,
        budget=options.budget,
        regenerate=options.regenerate,
    )
    methods = [*METHODS] if options.methods == "all" else options.methods.split(",")
    process = join_processes(options)
    cache_compilations()
    comparison = compare_methods(
        entries,
        options.out,
        settings,
        methods,
        granularity=options.granularity,
        fill=options.fill,
        batch_size=options.batch_size,
        together=options.together,
        split_weights=options.split_weights,
        process=process,
        progress=sys.stderr.isatty(),
    )
    print(page(comparison))
    failed = False
    for method, summary in comparison.summaries.items():
        for failure in summary.failures:
            failed = True
            print(
                f"failed: {method}, {failure.place} ({failure.name}): {failure.reason}",
                file=sys.stderr,
            )
    return 1 if failed else 0


def page(comparison: "Comparison") -> str:
    """A comparison as plain text: a block for each measure, a line for each method."""
    blocks = []
    for kind, columns in comparison.columns.items():
        blocks += [
            _block(f"{kind}: {one.title} ({one.better} is better)", one) for one in columns
        ]
    rows: list[tuple[str, ...]] = [("cost of an item", "forwards", "backwards", "seconds")]
    rows += [
        (method, f"{one.forwards:,.0f}", f"{one.backwards:,.0f}", f"{one.seconds:.1f}")
        for method, one in comparison.costs.items()
    ]
    return "\n\n".join([*blocks, _table(rows)])


def _block(title: str, column: "Column") -> str:
    rows: list[tuple[str, ...]] = [
        (title, "mean", "95 % interval", "items", "EAGLE less it", "95 % interval", "gain")
    ]
    for method, value in column.values.items():
        row = [method, f"{value.mean:.4f}", _interval(value)]
        row.append(f"{value.count:,}")
        difference = column.differences.get(method)
        if difference is None:
            row += ["", "", ""]
        else:
            row += [
                f"{difference.mean:+.4f}",
                _interval(difference, "+"),
                "-" if math.isnan(gain := column.gains[method]) else f"{gain:+.1%}",
            ]
        rows.append(tuple(row))
    return _table(rows)


def _interval(value: "Interval | Paired", sign: str = "") -> str:
    # One item has no interval.
    return "-" if math.isnan(value.low) else f"{value.low:{sign}.4f} to {value.high:{sign}.4f}"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
