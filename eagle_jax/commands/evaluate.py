"""``eagle-jax evaluate``: the measures of a run."""

import argparse
import sys
from pathlib import Path

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
  eagle-jax evaluate results --published-rules
      by the rules of the published evaluation where they differ
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a run",
        description="Measures how faithful the explanations of a run are, whether they point "
        "at the object, which words rest on the image, and how little must go to correct a "
        "wrong answer. Damaged results are named and left out; the exit code is 1 then.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add("run_folder", metavar="DIR", type=Path, help="the --out folder of eagle-jax run")
    add("--baseline", type=Path, metavar="DIR", help="another run over the same items")
    add(
        "--published-rules",
        action="store_true",
        help="evaluate as the published code does: a hit of the pointing game is any pixel of "
        "the largest value of a float16 map, answers are told by their first letters, the scan "
        "for corrections stops at one region, and CSR leaves out what is never corrected",
    )
    add("--json", type=Path, metavar="FILE", help="write all numbers, item by item")
    add("--figure", type=Path, metavar="FILE", help="draw them: .png, .pdf or .svg")


def command(options: argparse.Namespace) -> int:
    """Runs the command."""
    from eagle_jax.evaluation import compare, evaluate, write_json
    from eagle_jax.reports.evaluation_page import evaluation_text

    if options.figure is not None and options.figure.suffix.lower() not in _FORMATS:
        raise InputError(f"--figure {options.figure} must end in {', '.join(_FORMATS)}")
    folders = [options.run_folder]
    if options.baseline is not None:
        folders.append(options.baseline)
    progress = sys.stderr.isatty()
    found = [
        evaluate(folder, published_rules=options.published_rules, progress=progress)
        for folder in folders
    ]
    comparison = compare(*found) if len(found) == 2 else None
    written = []
    if options.json is not None:
        write_json(options.json, found[0], comparison)
        written.append(options.json)
    if options.figure is not None:
        _draw(options.figure, found)
        written.append(options.figure)
    print(evaluation_text(found[0], comparison))
    if written:
        print(f"\n{'written':<12}{', '.join(map(str, written))}")
    damaged = [reason for one in found for _, reason in one.damaged]
    for reason in damaged:
        print("eagle-jax:", reason, file=sys.stderr)
    return 1 if damaged else 0


def _draw(path: Path, found: list) -> None:
    from eagle_jax.reports.evaluation_figure import draw_evaluation

    figure = draw_evaluation(*found)
    with one_line(f"cannot write {path}", OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=200)
