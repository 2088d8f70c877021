"""``eagle-jax explain``: one answer about one picture."""

import argparse
import sys
from pathlib import Path

from eagle_jax.commands.arguments import (
    add_method_arguments,
    add_model_arguments,
    add_regions_argument,
    add_search_arguments,
    cache_compilations,
    number,
    positive,
    text,
)
from eagle_jax.errors import InputError

_EXAMPLES = """\
examples:
  eagle-jax explain
      explains a bundled picture with the bundled demo model
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?" --target Yes
      explains one word of the model's answer
  eagle-jax explain cat.jpg --prompt "Is there a dog in the image?" --target Yes --target-id No
      asks what speaks for the answer the model did not give
  eagle-jax explain street.jpg --prompt "Describe the image." \\
      --model Qwen/Qwen2.5-VL-3B-Instruct --regions 64 --out street
      explains a whole caption of a real model
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?" --method igos++
      draws the map of another method
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "explain",
        help="explain one answer about one image",
        description="Finds which regions of an image an answer rests on, and draws it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add("image", nargs="?", help="the picture; without one, a bundled storybook scene")
    add(
        "--prompt",
        type=text,
        help="question or instruction (default for the bundled picture: a caption)",
    )
    add_model_arguments(parser)
    add("--answer", type=text, help="explain this answer (default: the model's own)")
    add("--target", type=text, help="a word or phrase of the answer (default: all of it)")
    add(
        "--target-id",
        type=text,
        metavar="TEXT",
        help="score this token at the target (default: the answer's own)",
    )
    add_regions_argument(parser)
    add_method_arguments(parser)
    add_search_arguments(parser, "auto")
    add(
        "--seconds",
        type=number,
        help="conclude the search after this time (default: no limit)",
    )
    add(
        "--top-k",
        type=positive,
        metavar="K",
        help="leading regions that are wanted exactly; others are estimated or left out "
        "(default: none)",
    )
    add(
        "--stop",
        type=number,
        metavar="SHARE",
        help="end where the regions restore this share of the full image's score "
        "(default: with all regions)",
    )
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help="masked images per forward (default: what fills the devices)",
    )
    add(
        "--out",
        default="explanation",
        type=Path,
        help="folder for figure.png and the saved attribution (default: explanation)",
    )


def command(options: argparse.Namespace) -> int:
    """Runs the command; 0, or as of an interrupt where one cut the search short."""
    import eagle_jax
    from eagle_jax.baselines.methods import full_options
    from eagle_jax.inputs.images import read_image
    from eagle_jax.inputs.regions import segment
    from eagle_jax.results.storage import require_free

    image, prompt = options.image, options.prompt
    if image is None:
        image = eagle_jax.demo.IMAGE
        prompt = eagle_jax.demo.PROMPT if prompt is None else prompt
    elif prompt is None:
        raise InputError('--prompt is missing: say what to ask, as in --prompt "What is this?"')
    # All that can be refused without the model comes first: loading it may take minutes.
    told = dict(options.option or ())
    full_options(options.method, told)
    require_free(options.out)
    pixels = read_image(image)
    labels = segment(pixels, options.regions)

    cache_compilations()
    model = eagle_jax.load(options.model, dtype=options.dtype, quantize=options.quantize)
    attribution = eagle_jax.explain(
        model,
        pixels,
        prompt,
        answer=options.answer,
        target=options.target,
        target_ids=options.target_id,
        regions=labels,
        method=options.method,
        options=told,
        search=options.search,
        budget=options.budget,
        seconds=options.seconds,
        top_k=options.top_k,
        stop=options.stop,
        batch_size=options.batch_size,
        progress=sys.stderr.isatty(),
    )
    attribution.save(options.out, figure=True)
    print(attribution.summary())
    print(f"{'written':<12}{options.out / 'figure.png'} and the attribution beside it")
    if attribution.options.get("ended") != "interrupt":
        return 0
    print("eagle-jax: interrupted; this is what was found until then", file=sys.stderr)
    return 130
