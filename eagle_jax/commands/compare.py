"""``eagle-jax compare``: several methods on one list."""

import argparse
import math
import sys
from typing import TYPE_CHECKING

from eagle_jax.commands import leaving
from eagle_jax.commands.arguments import (
    add_batch_size_argument,
    add_device_arguments,
    add_limit_arguments,
    add_list_arguments,
    add_model_arguments,
    add_partitions_argument,
    add_question_arguments,
    add_regenerate_argument,
    add_search_arguments,
    path,
    settings_of,
)
from eagle_jax.commands.processes import add_process_arguments, begin_processes

if TYPE_CHECKING:
    from eagle_jax.comparison import Column, Comparison

_EXAMPLES = """\
examples:
  eagle-jax compare questions.jsonl --methods eagle,igos++,tam,random --out comparison
      a table of the measures of each method, and of their differences from EAGLE, paired by
      item; comparison/figures shows the maps of the first items side by side
  eagle-jax compare questions.jsonl --methods eagle,tam --granularity pixel \\
      --judge-fill blur --out comparison
      explanations are judged pixel by pixel, with a blurred image in place of hidden pixels
  eagle-jax compare storybook:words --methods all --regions 36 --search exact --out words
      one list of docs/leaderboard.md: words in captions of the demo model about drawn scenes
  after an interruption the same command resumes
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    from eagle_jax.comparison import GRANULARITIES
    from eagle_jax.inputs.fill import FILLS

    parser = commands.add_parser(
        "compare",
        help="compare methods on a list",
        description="Explains a list by several methods, and judges all explanations in the "
        "same way: same targets, same granularity, same fill; and again on cells and fills on "
        "which no method searched: there the maps are judged, and not the orders. Limits apply "
        "to the search of eagle only.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add_list_arguments(parser)
    add("--out", required=True, type=path, metavar="DIR", help="folder for the results")
    add(
        "--methods",
        default="eagle,llava-cam,igos++,tam,random",
        metavar="NAMES",
        help='names of methods, separated by commas, or "all"; an option follows an "@", as in '
        "kernelshap@samples=256 (default: %(default)s)",
    )
    add_model_arguments(parser)
    add_question_arguments(parser)
    add_partitions_argument(parser)
    add_search_arguments(parser)
    add_limit_arguments(parser)
    add(
        "--granularity",
        default="region",
        choices=GRANULARITIES,
        help="what is inserted or deleted in a step when explanations are judged "
        "(default: %(default)s)",
    )
    add(
        "--judge-fill",
        choices=FILLS,
        help="what is shown in place of hidden regions when explanations are judged; needed "
        "where --fill is the path of an image (default: the fill of the explanations)",
    )
    add_regenerate_argument(parser)
    add_batch_size_argument(parser)
    add_device_arguments(parser)
    add_process_arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Runs the command; 0 if every item has a result of every method, otherwise 1."""
    from eagle_jax.baselines import METHODS
    from eagle_jax.comparison import compare_methods

    settings = settings_of(options)
    methods = [*METHODS] if options.methods == "all" else options.methods.split(",")
    entries, process = begin_processes(options)
    leaving.expect(
        f"interrupted; what is finished is kept in {options.out}, and the same command resumes"
    )
    comparison = compare_methods(
        entries,
        options.out,
        settings,
        methods,
        granularity=options.granularity,
        fill=options.judge_fill,
        batch_size=options.batch_size,
        together=options.together,
        split_weights=options.split_weights,
        process=process,
        progress=sys.stderr.isatty(),
    )
    print(as_text(comparison))
    failures = [
        f"failed: {method}, {failure.place} ({failure.name}): {failure.reason}"
        for method, summary in comparison.summaries.items()
        for failure in summary.failures
    ]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def as_text(comparison: "Comparison") -> str:
    """A comparison as plain text: a table for each measure, a line for each method."""
    from eagle_jax.reports.text_table import table

    blocks = []
    for kind, columns in comparison.columns.items():
        blocks += [
            _block(f"{kind}: {column.title} ({column.better} is better)", column)
            for column in columns
        ]
    head = ("mean cost of an item", "forwards", "of which with a gradient", "seconds")
    rows: list[tuple[str, ...]] = [head]
    rows += [
        (method, f"{cost.forwards:,.0f}", f"{cost.backwards:,.0f}", f"{cost.seconds:.1f}")
        for method, cost in comparison.costs.items()
    ]
    return "\n\n".join([*blocks, table(rows)])


def _block(title: str, column: "Column") -> str:
    from eagle_jax.reports.text_table import interval, number, table

    head = ("mean", "95 % interval", "items", "EAGLE minus method", "95 % interval", "gain")
    rows: list[tuple[str, ...]] = [(title, *head)]
    for method, value in column.values.items():
        row = [method, number(value.mean), interval(value), f"{value.count:,}"]
        difference = column.differences.get(method)
        if difference is None:
            row += ["", "", ""]
        else:
            gain = column.gains[method]
            row += [
                number(difference.mean, signed=True),
                interval(difference, signed=True),
                "-" if math.isnan(gain) else f"{gain:+.1%}",
            ]
        rows.append(tuple(row))
    return table(rows)
