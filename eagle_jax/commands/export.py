"""``eagle-jax export``: a run for the published evaluation and drawing scripts."""

import argparse

from eagle_jax.commands.arguments import path

_EXAMPLE = """\
example:
  eagle-jax export results --out interpretation_results/mine/slico-1.0-1.0-division-number-64
      json and npy files as the published code writes them, eight bytes per pixel and region
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "export",
        help="write a run in the file layout of the published code",
        description="Writes the results of a run in the layout that the published evaluation "
        "and drawing scripts read.",
        epilog=_EXAMPLE,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add(
        "run_folder",
        metavar="DIR",
        type=path,
        help="folder of a run: the --out of eagle-jax run",
    )
    add("--out", required=True, type=path, metavar="FOLDER", help="folder for json and npy")


def command(options: argparse.Namespace) -> None:
    """Runs the command."""
    from eagle_jax.results.published_run import export_run

    count = export_run(options.run_folder, options.out)
    print(f"{'written':<12}{options.out}: {count} results as json and npy files")
