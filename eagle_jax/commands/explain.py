"""``eagle-jax explain``: one answer about one image."""

import argparse
import sys

from eagle_jax.commands import leaving
from eagle_jax.commands.arguments import (
    add_batch_size_argument,
    add_limit_arguments,
    add_method_arguments,
    add_model_arguments,
    add_partitions_argument,
    add_question_arguments,
    add_search_arguments,
    approach_of,
    path,
    text,
)
from eagle_jax.commands.devices import device_text, prepare_devices
from eagle_jax.commands.images import read_divided
from eagle_jax.commands.loading import load_model
from eagle_jax.errors import InputError

_EXAMPLES = """\
examples:
  eagle-jax explain
      explains a bundled image with the bundled demo model
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?" --target Yes
      explains one word of the model's answer
  eagle-jax explain cat.jpg --prompt "Is there a dog in the image?" --target Yes --target-id No
      explains what speaks for the answer that the model did not give
  eagle-jax explain street.jpg --prompt "Describe the image." \\
      --model Qwen/Qwen2.5-VL-3B-Instruct --regions 64 --out street
      explains a whole caption of a larger model
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?" --method igos++
      explains by another method
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?" --seconds 30 --fill blur
      stops after 30 seconds, and shows a blurred image in place of hidden regions
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "explain",
        help="explain one answer about one image",
        description="Finds the regions of an image on which an answer rests, and draws them "
        "in a figure.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add("image", nargs="?", help="image file (default: a bundled storybook scene)")
    add(
        "--prompt",
        type=text,
        help="question or instruction (default for the bundled image: a request for a caption)",
    )
    add_model_arguments(parser)
    add("--answer", type=text, help="answer to explain (default: the model's answer)")
    add(
        "--target",
        type=text,
        help="word or phrase of the answer to explain (default: the whole answer)",
    )
    add(
        "--target-id",
        type=text,
        metavar="TEXT",
        help="text to score in place of the target, such as No for an answer Yes (default: the "
        "target itself)",
    )
    add_question_arguments(parser)
    add_partitions_argument(parser)
    add_method_arguments(parser)
    add_search_arguments(parser)
    add_limit_arguments(parser)
    add_batch_size_argument(parser)
    add(
        "--out",
        default="explanation",
        type=path,
        metavar="DIR",
        help="folder for figure.png and the saved attribution (default: %(default)s)",
    )


def command(options: argparse.Namespace) -> int:
    """Runs the command; 130 if an interrupt cut the search short, otherwise 0."""
    import eagle_jax
    from eagle_jax.explaining.cost import announce_cost
    from eagle_jax.explaining.explanation import explain_case
    from eagle_jax.results.storage import require_free

    image, prompt = options.image, options.prompt
    if image is None:
        image = eagle_jax.demo.IMAGE
        prompt = eagle_jax.demo.PROMPT if prompt is None else prompt
    elif prompt is None:
        raise InputError('--prompt is missing: say what to ask, as in --prompt "What is this?"')
    # Loading a model may take minutes: what can be refused without a model comes first.
    approach = approach_of(options)
    require_free(options.out)
    pixels, labels, fill = read_divided(image, options)

    prepare_devices()
    model = load_model(options)
    case = eagle_jax.ask(
        model,
        pixels,
        prompt,
        answer=options.answer,
        target=options.target,
        target_ids=options.target_id,
        regions=labels,
        fill=fill,
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
        system=options.system,
        thinking=options.thinking,
    )
    announce_cost(case, approach)
    attribution = explain_case(case, approach, progress=sys.stderr.isatty())
    attribution.save(options.out, figure=True)
    leaving.expect(f"interrupted; the explanation is written in {options.out}")
    print(attribution.summary())
    print(f"{'device':<12}{device_text(1)}")
    print(f"{'written':<12}{options.out / 'figure.png'} and the attribution beside it")
    if attribution.options.get("ended") != "interrupt":
        return 0
    print("eagle-jax: interrupted; this is the partial result", file=sys.stderr)
    return 130
