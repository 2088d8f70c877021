"""The command line: errors in one line, exit codes, and the commands by name."""

import argparse
import io
import os
import sys
from typing import NoReturn

from eagle_jax.commands import (
    build,
    compare,
    convert,
    diagnose,
    evaluate,
    explain,
    export,
    plan,
    report,
    run,
    serve,
)
from eagle_jax.errors import InputError, reason

_EXAMPLE = """\
example:
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?"
      more with eagle-jax explain --help, and so for every command
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program's name; None takes those of the process.

    Returns:
      Exit code: 0, 1 when some items of a list failed, 2 for input that cannot be used or
      does not fit in the device's memory, or 130 when interrupted.
    """
    # A terminal that cannot show a character of an answer shows its number.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # transformers serves the tokenizer alone here; that PyTorch is missing is as it should be.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 0
    try:
        options = parser.parse_args(arguments)
        return options.run(options) or 0
    except InputError as error:
        print("eagle-jax:", reason(error), file=sys.stderr)
        return 2
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(
            "eagle-jax: the device is out of memory: give a smaller --batch-size, or a smaller "
            "image or model",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as error:
        print("eagle-jax:", str(error) or "interrupted, nothing was written", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # One line, as for all other input; argparse would print the whole usage before it.
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="eagle-jax",
        description="Where a multimodal language model looked, and what it relied on.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for one in (
        explain,
        diagnose,
        build,
        run,
        evaluate,
        compare,
        report,
        serve,
        export,
        convert,
        plan,
    ):
        one.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
