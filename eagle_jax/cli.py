"""The command line: errors in one line, exit codes, and the commands by name."""

import argparse
import io
import os
import sys
import textwrap
from typing import Any, NoReturn

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
      explains the model's answer; eagle-jax COMMAND --help describes each command
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: arguments without the name of the program; None for those of the process.

    Returns:
      Exit code: 0; 1 if some items of a list failed; 2 if the input cannot be used or does not
      fit in the memory of the device; 130 if the command was interrupted.
    """
    # A terminal that cannot show a character shows its escape code.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # transformers is used only for the tokenizer, and need not warn that PyTorch is missing.
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
            "eagle-jax: the device is out of memory: give a smaller --batch-size, a smaller "
            "image or a smaller model",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as error:
        print("eagle-jax:", str(error) or "interrupted, nothing was written", file=sys.stderr)
        return 130


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and wraps texts of a single line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any):
        settings.setdefault("formatter_class", _Formatter)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        # One line, as for all other input; argparse would print the usage before the error.
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="eagle-jax",
        description="Explains on which regions of an image a multimodal language model relies "
        "when it generates an answer.",
        epilog=_EXAMPLE,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (
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
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
