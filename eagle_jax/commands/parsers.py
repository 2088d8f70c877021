"""The parser of arguments: errors in one line, and help texts with examples."""

import argparse
import sys
import textwrap
from typing import Any, NoReturn

import eagle_jax
from eagle_jax.errors import InputError


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and wraps texts of a single line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


class Version(argparse.Action):
    """Prints the version of the program, and ends it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print("eagle-jax", eagle_jax.__version__)
        parser.exit()


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong command line as an `InputError`, in one line."""

    def __init__(self, **settings: Any):
        settings.setdefault("formatter_class", _Formatter)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        """Raises the error; argparse would print the usage before it."""
        raise InputError(f"{message}; see {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse would not say that the help text could not be written.
        if message:
            (file or sys.stderr).write(message)
