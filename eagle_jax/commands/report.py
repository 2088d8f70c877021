"""``eagle-jax report``: a page to share."""

import argparse
import sys

from eagle_jax.commands.arguments import path
from eagle_jax.errors import InputError

_EXAMPLES = """\
examples:
  eagle-jax report explanation --out page.html
      a file that opens in any browser: click a word to see where it comes from
  eagle-jax report exact fast --out page.html
      several explanations side by side
  eagle-jax report results/items/street --out page.html
      one result of a run, with its controls and regenerated answers
  eagle-jax report results --out pages
      a whole run: pages/index.html with all measures, and a page for each item
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "report",
        help="write an HTML page to share, or HTML pages about a run",
        description="Writes one or several explanations or diagnoses as an HTML file that "
        "needs no server, or a run as a folder of such files with an index. The exit code "
        "is 1 if an item of a run has no page.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add(
        "folders",
        nargs="+",
        type=path,
        metavar="FOLDER",
        help="folder to show: the --out of eagle-jax explain, diagnose or run",
    )
    add(
        "--out",
        required=True,
        type=path,
        metavar="PATH",
        help="output: an .html file, or a folder if FOLDER is a run",
    )
    add("--image", metavar="FILE", help="image file, if FOLDER was saved without its image")


def command(options: argparse.Namespace) -> int:
    """Runs the command."""
    from eagle_jax.reports.page import read_explanation, report
    from eagle_jax.reports.page.run_pages import INDEX, report_run
    from eagle_jax.results.run_folder import ITEMS

    runs = [folder for folder in options.folders if (folder / ITEMS).is_dir()]
    if not runs:
        explanations = [read_explanation(folder, options.image) for folder in options.folders]
        report(explanations, options.out)
        print(f"{'written':<12}{options.out}")
        return 0
    if len(options.folders) > 1:
        raise InputError(f"{runs[0]} is a whole run: give it alone")
    if options.image is not None:
        raise InputError("--image is for a single explanation; leave it out for a whole run")
    entries = report_run(runs[0], options.out, progress=sys.stderr.isatty())
    problems = [entry for entry in entries if entry.problem]
    pages = len(entries) - len(problems)
    print(f"{'written':<12}{options.out / INDEX} and {pages} pages")
    for entry in problems:
        print(f"without a page: {entry.name}: {entry.problem}", file=sys.stderr)
    return 1 if problems else 0
