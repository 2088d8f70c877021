"""``eagle-jax evaluate``: the measures of a run."""

import argparse
import sys
from pathlib import Path

from eagle_jax.commands.arguments import path
from eagle_jax.errors import InputError, one_line

_FORMATS = (".png", ".pdf", ".svg")
_EXAMPLES = """\
examples:
  eagle-jax evaluate results
      a table of means with 95 % bootstrap intervals
  eagle-jax evaluate results --json results.json --figure results.png
      every number of every item, and the mean curves
  eagle-jax evaluate results --baseline other-results
      the same items of two runs against each other
  eagle-jax evaluate results --published-measures
      the measures as the published evaluation computes them
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="compute the measures of a run, or compare two runs",
        description="Measures how faithful the explanations of a run are, whether they point "
        "at the object, which words rest on the image, and how little must be removed to "
        "correct a wrong answer. Damaged results are named and left out, and the exit code is "
        "then 1.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add(
        "run_folder",
        metavar="DIR",
        type=path,
        help="folder of a run: the --out of eagle-jax run",
    )
    add(
        "--baseline",
        type=path,
        metavar="DIR",
        help="folder of another run over the same items, to compare with",
    )
    add(
        "--published-measures",
        action="store_true",
        help="compute the measures as the published code does: any pixel with the largest "
        "value of a float16 map may hit in the pointing game, answers count as Yes or No by "
        "their first letters, the scan for corrections stops at one region, and CSR leaves out "
        "items that are never corrected",
    )
    add("--json", type=path, metavar="FILE", help="file for all measures of all items")
    add("--figure", type=path, metavar="FILE", help="file for a figure: .png, .pdf or .svg")


def command(options: argparse.Namespace) -> int:
    """Runs the command."""
    from eagle_jax.reports.evaluation_page import evaluation_text
    from eagle_jax.results.evaluation import compare_runs, evaluate, write_json

    if options.figure is not None and options.figure.suffix.lower() not in _FORMATS:
        raise InputError(f"--figure {options.figure} must end in {', '.join(_FORMATS)}")
    folders = [options.run_folder]
    if options.baseline is not None:
        folders.append(options.baseline)
    progress = sys.stderr.isatty()
    evaluations = [
        evaluate(folder, published_measures=options.published_measures, progress=progress)
        for folder in folders
    ]
    comparison = compare_runs(*evaluations) if len(evaluations) == 2 else None
    written = []
    if options.json is not None:
        write_json(options.json, evaluations[0], comparison)
        written.append(options.json)
    if options.figure is not None:
        _draw(options.figure, evaluations)
        written.append(options.figure)
    print(evaluation_text(evaluations[0], comparison))
    if written:
        print(f"\n{'written':<12}{', '.join(map(str, written))}")
    damaged = [reason for evaluation in evaluations for _, reason in evaluation.damaged]
    for reason in damaged:
        print("eagle-jax:", reason, file=sys.stderr)
    return 1 if damaged else 0


def _draw(path: Path, evaluations: list) -> None:
    from eagle_jax.reports.evaluation_figure import draw_evaluation

    figure = draw_evaluation(*evaluations)
    with one_line(f"cannot write {path}", OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=200)
