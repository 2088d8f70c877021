"""What several commands share: kinds of arguments, and the cache of compiled programs."""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eagle_jax.lists import Broken, Item

DTYPES = ("float32", "bfloat16", "float16")

# Of a list of the storybook, if nobody says how many.
_ITEMS = 100


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --model, --dtype and --quantize."""
    parser.add_argument(
        "--model",
        default="demo",
        help='"demo", "demo-shortcut", a Hugging Face folder, or a hub id (default: demo)',
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the weights (default: the checkpoint's)"
    )
    parser.add_argument(
        "--quantize",
        choices=["int8"],
        help="weights and activations (default: as the checkpoint is)",
    )


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds LIST, --images and --kind."""
    add = parser.add_argument
    add(
        "list",
        metavar="LIST",
        type=Path,
        help='JSON lines, or a published list; "storybook:words" is drawn for the demo model, '
        'and so are "captions", "colours" and "mistakes"; "storybook:words:5" has 5 items, not '
        "100",
    )
    add("--images", type=Path, metavar="DIR", help="where pictures are (default: the list's)")
    add("--kind", metavar="NAME", help="format of the list (default: recognised)")


def entries_of(options: argparse.Namespace) -> "list[Item | Broken]":
    """The entries of LIST; a list of the storybook is drawn first, beside --out."""
    from eagle_jax.lists import read_list

    drawn = re.fullmatch(r"storybook:(\w+)(?::(\d+))?", str(options.list))
    if not drawn:
        return read_list(options.list, options.images, options.kind)
    from eagle_jax.demo.lists import draw_list

    count = int(drawn[2] or _ITEMS)
    out = Path(os.path.abspath(options.out))
    folder = out.parent / f"{out.name}-{drawn[1]}-{count}"
    return read_list(draw_list(drawn[1], count, folder))


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --together and --split-weights."""
    parser.add_argument(
        "--together",
        default=4,
        type=positive,
        metavar="N",
        help="images explained in lockstep (default: 4)",
    )
    parser.add_argument(
        "--split-weights",
        default=1,
        type=positive,
        metavar="N",
        help="devices that share one copy of the weights (default: 1)",
    )


def add_regions_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --regions."""
    parser.add_argument(
        "--regions",
        default="64",
        help='about so many SLICO regions, or "grid:8x8", "opencv:64" (default: 64)',
    )


def add_search_arguments(
    parser: argparse.ArgumentParser, default: str | None, said: str | None = None
) -> None:
    """Adds --search and --budget.

    Args:
      parser: of the command.
      default: the search of who names none; None where the command decides.
      said: of the default in the help; None for its name.
    """
    from eagle_jax.search import SEARCHES

    parser.add_argument(
        "--search",
        default=default,
        choices=[*SEARCHES],
        help="; ".join(f"{name}: {one.summary}" for name, one in SEARCHES.items())
        + f" (default: {said or default})",
    )
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="N",
        help="most masked images that are scored for an explanation (default: no limit)",
    )


def add_method_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --method, and --option for what it is told."""
    from eagle_jax.baselines import METHODS

    parser.add_argument(
        "--method",
        default="eagle",
        choices=[*METHODS],
        help="; ".join(f"{name}: {one.summary}" for name, one in METHODS.items())
        + " (default: eagle)",
    )
    parser.add_argument(
        "--option",
        action="append",
        type=option,
        metavar="NAME=VALUE",
        help="what a method other than eagle is told, as in --option samples=1000; may be "
        "repeated",
    )


def option(argument: str) -> tuple[str, str | int | float]:
    """A name and its value, a number where it looks like one."""
    name, sign, value = argument.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"{argument!r} is not of the form NAME=VALUE")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, text(value)


def text(argument: str) -> str:
    """Any text."""
    # Python smuggles bytes that are no UTF-8 into arguments as lone surrogates.
    if any("\ud800" <= character <= "\udfff" for character in argument):
        raise argparse.ArgumentTypeError("the text is not valid UTF-8")
    return argument


def whole(argument: str) -> int:
    """A whole number of at least 0."""
    if not (argument.isascii() and argument.isdigit()):
        raise argparse.ArgumentTypeError(f"{argument!r} is no whole number of at least 0")
    return int(argument)


def positive(argument: str) -> int:
    """A whole number of at least 1."""
    if not (argument.isascii() and argument.isdigit() and int(argument) > 0):
        raise argparse.ArgumentTypeError(f"{argument!r} is no whole number of at least 1")
    return int(argument)


def number(argument: str) -> float:
    """Any real number."""
    try:
        return float(argument)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{argument!r} is no number") from None


def cache_compilations() -> None:
    """Compiled programs outlive the process, so the second run starts faster."""
    import jax

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = home / "eagle-jax" / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # Nowhere to keep them: each run compiles, and JAX need not warn of it.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
