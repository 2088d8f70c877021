"""``eagle-jax diagnose``: why a Yes or No is wrong, and what corrects it."""

import argparse
import sys
from pathlib import Path

from eagle_jax.commands.arguments import (
    add_batch_size_argument,
    add_limit_arguments,
    add_model_arguments,
    add_question_arguments,
    add_search_arguments,
    approach_of,
    cache_compilations,
    text,
)
from eagle_jax.commands.images import read_divided
from eagle_jax.metrics.hallucination import LABELS

# Index of the bundled mistake: the model is sure of a fish that is not there.
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
        "the regions of the image that speak for the mistake, and removes as few of them as "
        "make the answer right.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add(
        "image",
        nargs="?",
        help="image file (default: a scene that the demo model gets wrong)",
    )
    add(
        "--prompt",
        type=text,
        help="question that is answered by Yes or No (default for the bundled scene: whether "
        "there is a fish)",
    )
    add(
        "--label",
        choices=LABELS,
        help="right answer (default for the bundled scene: No)",
    )
    add_model_arguments(parser)
    add_question_arguments(parser)
    add(
        "--bisect",
        action="store_true",
        help="bisect instead of trying every removal: faster, and exact if the answer becomes "
        "right only once",
    )
    add_search_arguments(parser)
    add_limit_arguments(parser)
    add_batch_size_argument(parser)
    add(
        "--out",
        default="diagnosis",
        type=Path,
        metavar="DIR",
        help="folder for diagnosis.png, answers.json and the saved attribution "
        "(default: %(default)s)",
    )


def command(options: argparse.Namespace) -> None:
    """Runs the command."""
    import eagle_jax
    from eagle_jax.errors import InputError
    from eagle_jax.explaining.diagnosis import FIGURE, require_replaceable

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
    # Loading a model may take minutes: what can be refused without a model comes first.
    approach_of(options)
    require_replaceable(options.out)
    pixels, labels, fill = read_divided(image, options)

    cache_compilations()
    model = eagle_jax.load(options.model, dtype=options.dtype, quantize=options.quantize)
    diagnosis = eagle_jax.diagnose(
        model,
        pixels,
        prompt,
        label,
        regions=labels,
        fill=fill,
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
        search=options.search,
        budget=options.budget,
        seconds=options.seconds,
        top_k=options.top_k,
        stop=options.stop,
        insight_weight=options.insight_weight,
        necessity_weight=options.necessity_weight,
        bisect=options.bisect,
        progress=sys.stderr.isatty(),
    )
    if not diagnosis.right:
        diagnosis.save(options.out)
    print(diagnosis.summary())
    if not diagnosis.right:
        print(f"{'written':<12}{options.out / FIGURE} and the attribution beside it")


def _mistake():
    """A scene, a question that the demo model gets wrong, and the right answer."""
    import json

    from eagle_jax.demo import MISTAKES
    from eagle_jax.demo.scenes import draw_scene

    entry = json.loads(MISTAKES.read_text(encoding="utf-8"))["wrong_yes"][_MISTAKE]
    return draw_scene(entry["seed"]).image, entry["question"], entry["label"]
