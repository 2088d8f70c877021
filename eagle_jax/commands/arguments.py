"""Arguments that several commands share, their types, and the compilation cache."""

import argparse
import dataclasses
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eagle_jax.explaining.explanation import Approach
    from eagle_jax.lists import Broken, Item
    from eagle_jax.results.manifest import Settings

DTYPES = ("float32", "bfloat16", "float16")

# Default number of items of a storybook list.
_ITEMS = 100


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --model, --dtype and --quantize."""
    parser.add_argument(
        "--model",
        default="demo",
        help='model: "demo", "demo-shortcut", a Hugging Face folder, or a hub id '
        "(default: demo)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="floating-point type of the weights (default: the checkpoint's)",
    )
    parser.add_argument(
        "--quantize",
        choices=["int8"],
        help="integer type of weights and activations (default: as in the checkpoint)",
    )


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds LIST, --images, --format and --columns."""
    parser.add_argument(
        "list",
        metavar="LIST",
        type=Path,
        help="list of questions: JSON lines, or a published list. "
        '"storybook:words" draws a list of 100 items for the demo model, "storybook:words:5" '
        'a list of 5; "captions", "colours" and "mistakes" are the other storybook lists',
    )
    add_list_format_arguments(parser)


def add_list_format_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --images, --format and --columns."""
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder that holds the images (default: the folder of the list)",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="format of the list (default: recognised by its content)",
    )
    parser.add_argument("--kind", dest="format", help=argparse.SUPPRESS)
    parser.add_argument(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="columns of a table, or fields of JSON lines, that hold the fields of a list, as "
        "in image=path,prompt=question,label=answer (default: the fields' own names)",
    )


def entries_of(options: argparse.Namespace) -> "list[Item | Broken]":
    """The entries of LIST; a storybook list is drawn first, beside --out."""
    from eagle_jax.lists import read_list

    drawn = re.fullmatch(r"storybook:(\w+)(?::(\d+))?", str(options.list))
    if not drawn:
        return read_list(options.list, options.images, options.format, options.columns)
    from eagle_jax.demo.lists import draw_list

    count = int(drawn[2] or _ITEMS)
    out = Path(os.path.abspath(options.out))
    folder = out.parent / f"{out.name}-{drawn[1]}-{count}"
    return read_list(draw_list(drawn[1], count, folder))


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --together and --split-weights."""
    from eagle_jax.explaining.loop import DEFAULT_TOGETHER

    parser.add_argument(
        "--together",
        default=DEFAULT_TOGETHER,
        type=positive,
        metavar="N",
        help="number of images that are searched in lockstep (default: %(default)s)",
    )
    parser.add_argument(
        "--split-weights",
        default=1,
        type=positive,
        metavar="N",
        help="number of devices that share one copy of the weights (default: %(default)s)",
    )


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --regions, --fill and --max-new-tokens: how a question is asked."""
    from eagle_jax.inputs.fill import DEFAULT_FILL
    from eagle_jax.inputs.regions import DEFAULT_REGIONS

    parser.add_argument(
        "--regions",
        default=str(DEFAULT_REGIONS),
        help='regions of the image: a number of SLICO regions, "grid:8x8" or "opencv:64" '
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--fill",
        default=DEFAULT_FILL,
        metavar="FILL",
        help='what is shown in place of hidden regions: "black", "mean" (the mean colour of '
        'the image), "blur", or the path of an image of the same size (default: %(default)s)',
    )
    add_answer_length_argument(parser)


def add_answer_length_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --max-new-tokens."""
    from eagle_jax.scoring.answers import DEFAULT_MAX_NEW_TOKENS

    parser.add_argument(
        "--max-new-tokens",
        default=DEFAULT_MAX_NEW_TOKENS,
        type=positive,
        metavar="N",
        help="largest number of tokens of an answer that the model generates "
        "(default: %(default)s)",
    )


def add_batch_size_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --batch-size."""
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="masked images per forward, over all devices (default: what fills the devices)",
    )


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --search and --budget."""
    from eagle_jax.search import SEARCHES
    from eagle_jax.search.methods import DEFAULT_SEARCH

    parser.add_argument(
        "--search",
        default=DEFAULT_SEARCH,
        choices=[*SEARCHES],
        help="search for the order of the n regions: "
        + "; ".join(f"{name}: {search.summary}" for name, search in SEARCHES.items())
        + " (default: %(default)s)",
    )
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="N",
        help="largest number of masked images to score for an explanation (default: no limit)",
    )


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --seconds, --top-k, --stop, --insight-weight and --necessity-weight."""
    add = parser.add_argument
    add(
        "--seconds",
        type=number,
        metavar="S",
        help="seconds after which the search stops and returns the result so far "
        "(default: no limit)",
    )
    add(
        "--top-k",
        type=positive,
        metavar="K",
        help="number of most important regions to find exactly; the other regions are "
        "estimated or left out (default: all regions)",
    )
    add(
        "--stop",
        type=number,
        metavar="FRACTION",
        help="fraction of the full image's score at which the search stops, once the chosen "
        "regions reach it (default: no limit)",
    )
    add(
        "--insight-weight",
        default=1.0,
        type=number,
        metavar="X",
        help="weight of sufficiency, p(token given the chosen regions) (default: 1)",
    )
    add(
        "--necessity-weight",
        default=1.0,
        type=number,
        metavar="X",
        help="weight of necessity, 1 - p(token given the other regions) (default: 1)",
    )


def add_method_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --method, and --option for its options."""
    from eagle_jax.baselines import METHODS

    parser.add_argument(
        "--method",
        default="eagle",
        choices=[*METHODS],
        help="attribution method: "
        + "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items())
        + " (default: %(default)s)",
    )
    parser.add_argument(
        "--option",
        dest="options",
        action="append",
        type=option,
        metavar="NAME=VALUE",
        help="option of a method other than eagle, such as --option samples=1000; may be "
        "repeated",
    )


def add_regenerate_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --regenerate."""
    from eagle_jax.results.manifest import REGENERATE

    parser.add_argument(
        "--regenerate",
        default=REGENERATE[0],
        choices=REGENERATE,
        help="how often items with a label are answered again, with more and more regions "
        "removed: after every step of the order (scan), at a few steps by bisection (bisect), "
        "or not at all (no) (default: %(default)s)",
    )


def approach_of(options: argparse.Namespace) -> "Approach":
    """The method, the search and its limits that were asked for, checked."""
    from eagle_jax.explaining.explanation import Approach, check_approach
    from eagle_jax.search import Limits, Objective

    approach = Approach(
        method=getattr(options, "method", "eagle"),
        options=dict(getattr(options, "options", None) or ()),
        search=options.search,
        objective=Objective(options.insight_weight, options.necessity_weight),
        limits=Limits(options.budget, options.seconds, options.top_k, options.stop),
    )
    check_approach(approach)
    return approach


def settings_of(options: argparse.Namespace) -> "Settings":
    """The settings of a run: the arguments that bear the names of its fields."""
    from eagle_jax.results.manifest import Settings

    names = [field.name for field in dataclasses.fields(Settings)]
    given: dict[str, Any] = {n: value for n, value in vars(options).items() if n in names}
    given["options"] = dict(given.get("options") or ())
    return Settings(**given)


def option(argument: str) -> tuple[str, str | int | float]:
    """A name and its value, a number if the value looks like a number."""
    name, sign, value = argument.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"{argument!r} does not have the form NAME=VALUE")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, text(value)


def text(argument: str) -> str:
    """Any text."""
    # Python keeps bytes that are not UTF-8 in arguments as lone surrogates.
    if any("\ud800" <= character <= "\udfff" for character in argument):
        raise argparse.ArgumentTypeError("the text is not valid UTF-8")
    return argument


def whole(argument: str) -> int:
    """A whole number of at least 0."""
    if not (argument.isascii() and argument.isdigit()):
        raise argparse.ArgumentTypeError(f"{argument!r} is not a whole number of at least 0")
    return int(argument)


def positive(argument: str) -> int:
    """A whole number of at least 1."""
    if not (argument.isascii() and argument.isdigit() and int(argument) > 0):
        raise argparse.ArgumentTypeError(f"{argument!r} is not a whole number of at least 1")
    return int(argument)


def number(argument: str) -> float:
    """Any real number."""
    try:
        return float(argument)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{argument!r} is not a number") from None


def cache_compilations() -> None:
    """Keeps compiled programs on disk, so that the next process starts faster."""
    import jax

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = home / "eagle-jax" / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # No place for a cache: each process compiles, and JAX must not warn.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
