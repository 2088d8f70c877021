"""``eagle-jax diagnose``: why a Yes or No is wrong, and what corrects it."""

import argparse
import sys
from pathlib import Path

from eagle_jax.commands.arguments import (
    add_model_arguments,
    add_regions_argument,
    add_search_arguments,
    cache_compilations,
    positive,
    text,
)
from eagle_jax.metrics.hallucination import LABELS

# A fish that is not there, and that the model is sure of.
_MISTAKE = 21
_EXAMPLES = """\
examples:
  eagle-jax diagnose
      a mistake of the bundled demo model about a bundled storybook scene
  eagle-jax diagnose street.jpg --prompt "Is there a dog in the image?" --label No \\
      --model Qwen/Qwen2.5-VL-3B-Instruct --regions 64 --out dog
      finds what made a model see a dog that is not there
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "diagnose",
        help="find out why a Yes or No is wrong, and what corrects it",
        description="Asks a question whose answer is known. Where the model is wrong, finds "
        "the parts of the image that speak for the mistake and removes as little of them as "
        "makes the answer right.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add("image", nargs="?", help="the picture; without one, a mistake of the demo model")
    add("--prompt", type=text, help="a question that is answered by Yes or No")
    add("--label", choices=LABELS, help="the right answer")
    add_model_arguments(parser)
    add_regions_argument(parser)
    add(
        "--bisect",
        action="store_true",
        help="ask again with few removals instead of all: faster, exact where the answer "
        "turns right once",
    )
    add_search_arguments(parser, "exact")
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help="masked images per forward (default: what fills the devices)",
    )
    add(
        "--out",
        default="diagnosis",
        type=Path,
        help="folder for diagnosis.png, answers.json and the saved attribution "
        "(default: diagnosis)",
    )


def command(options: argparse.Namespace) -> None:
    """Runs the command."""
    import eagle_jax
    from eagle_jax.diagnosis import FIGURE, require_room
    from eagle_jax.errors import InputError
    from eagle_jax.inputs.images import read_image
    from eagle_jax.inputs.regions import segment

    image, prompt, label = options.image, options.prompt, options.label
    if image is None:
        if prompt is not None or label is not None:
            raise InputError("--prompt and --label need an image: name its file")
        image, prompt, label = _mistake()
    elif prompt is None or label is None:
        missing = "--prompt" if prompt is None else "--label"
        raise InputError(
            f'{missing} is missing, as in --prompt "Is there a dog in the image?" --label No'
        )
    # All that can be refused without the model comes first: loading it may take minutes.
    require_room(options.out)
    pixels = read_image(image)
    labels = segment(pixels, options.regions)

    cache_compilations()
    model = eagle_jax.load(options.model, dtype=options.dtype, quantize=options.quantize)
    found = eagle_jax.diagnose(
        model,
        pixels,
        prompt,
        label,
        regions=labels,
        bisect=options.bisect,
        search=options.search,
        budget=options.budget,
        batch_size=options.batch_size,
        progress=sys.stderr.isatty(),
    )
    if not found.right:
        found.save(options.out)
    print(found.summary())
    if not found.right:
        print(f"{'written':<12}{options.out / FIGURE} and the attribution beside it")


def _mistake():
    """A scene, a question and its right answer, which the demo model gets wrong."""
    import json

    from eagle_jax.demo import MISTAKES
    from eagle_jax.demo.scenes import draw_scene

    entry = json.loads(MISTAKES.read_text(encoding="utf-8"))["wrong_yes"][_MISTAKE]
    return draw_scene(entry["seed"]).image, entry["question"], entry["label"]
