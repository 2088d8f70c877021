"""Arguments that several commands share, and their types."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eagle_jax.commands.dialogue import add_dialogue_arguments, text
from eagle_jax.commands.loading import add_pixel_arguments
from eagle_jax.errors import InputError
from eagle_jax.files import local_path

if TYPE_CHECKING:
    from eagle_jax.baselines.options import Option
    from eagle_jax.explaining.ranking import Approach
    from eagle_jax.results.manifest import Settings

BACKENDS = ("port", "bridge")
DTYPES = ("float32", "bfloat16", "float16")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --model, --backend, --dtype, --quantize, --min-pixels and --max-pixels."""
    parser.add_argument(
        "--model",
        default="demo",
        help='model: "demo", "demo-shortcut", a Hugging Face folder, or a hub id '
        "(default: demo)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help="how the model runs: as this package's port, or as the modules of transformers "
        "inside JAX, which needs PyTorch (default: the port, where there is one)",
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
    add_pixel_arguments(parser)


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds LIST, --images, --format and --columns."""
    parser.add_argument(
        "list",
        metavar="LIST",
        type=path,
        help="list of questions: JSON lines, or a published list. "
        '"storybook:words" draws a list of 100 items for the demo model, "storybook:words:5" '
        'a list of 5; "captions", "colours" and "mistakes" are the other storybook lists',
    )
    add_list_format_arguments(parser)


def add_list_format_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --images, --format and --columns."""
    from eagle_jax.lists.reading import FORMATS

    parser.add_argument(
        "--images",
        type=path,
        metavar="DIR",
        help="folder that holds the images (default: the folder of the list)",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help=f"format of the list: {', '.join(FORMATS)} (default: recognised by its content)",
    )
    parser.add_argument("--kind", dest="format", help=argparse.SUPPRESS)
    parser.add_argument(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="columns of a table, or fields of JSON lines, that hold the fields of a list, as "
        "in image=path,prompt=question,label=answer (default: the fields' own names)",
    )


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --together and --split-weights."""
    from eagle_jax.explaining.loop import DEFAULT_TOGETHER

    parser.add_argument(
        "--together",
        default=DEFAULT_TOGETHER,
        type=positive,
        metavar="N",
        help="number of items that are explained at once (default: %(default)s)",
    )
    parser.add_argument(
        "--split-weights",
        default=1,
        type=positive,
        metavar="N",
        help="number of devices that share one copy of the weights (default: %(default)s)",
    )


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --regions, --fill, --max-new-tokens, --system and --thinking."""
    from eagle_jax.inputs.fill import DEFAULT_FILL
    from eagle_jax.inputs.regions import DEFAULT_REGIONS

    parser.add_argument(
        "--regions",
        default=str(DEFAULT_REGIONS),
        help="regions of the image: an approximate number of superpixels (SLICO), "
        '"grid:8x8" for cells, "shifted:64" for cells of a shifted grid, or "opencv:64" for '
        "the published segmentation "
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
    add_dialogue_arguments(parser)


def add_partitions_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --partitions."""
    parser.add_argument(
        "--partitions",
        default=1,
        type=positive,
        metavar="N",
        help="number of partitions of the image whose values make the map: the regions, then "
        "superpixels of other sizes and shifted grids, which take 3 forwards per region each "
        "(default: %(default)s)",
    )


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
        help="number of masked images in a batch, over all devices (default: as many as fill "
        "the devices)",
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
        help="seconds after which the search stops and returns the result so far; in a list, "
        "seconds for each item, which shares the devices with others (default: no limit)",
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
        help="fraction of the full image's score that ends the search, such as 0.9, as soon as "
        "the chosen regions alone reach it (default: no limit)",
    )
    add(
        "--insight-weight",
        default=1.0,
        type=number,
        metavar="X",
        help="weight of insight, p(target given the chosen regions) (default: 1)",
    )
    add(
        "--necessity-weight",
        default=1.0,
        type=number,
        metavar="X",
        help="weight of necessity, 1 - p(target given the remaining regions) (default: 1)",
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
        "repeated (eagle_jax.methods() lists the options of each method)",
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
    from eagle_jax.explaining.ranking import Approach, check_approach
    from eagle_jax.search import Limits, Objective

    approach = Approach(
        method=getattr(options, "method", "eagle"),
        options=dict(getattr(options, "options", None) or ()),
        search=options.search,
        objective=Objective(options.insight_weight, options.necessity_weight),
        limits=Limits(options.budget, options.seconds, options.top_k, options.stop),
        partitions=getattr(options, "partitions", 1),
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


def option(argument: str) -> "tuple[str, Option]":
    """A name and its value, a number if the value looks like a number."""
    from eagle_jax.baselines.options import named_option

    try:
        return named_option(text(argument))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path(argument: str) -> Path:
    """A path of this machine."""
    try:
        return local_path(argument)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
