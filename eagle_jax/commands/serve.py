"""``eagle-jax serve``: the live page."""

import argparse

from eagle_jax.commands.arguments import (
    add_model_arguments,
    add_regions_argument,
    add_search_arguments,
    cache_compilations,
    positive,
    whole,
)

_EXAMPLES = """\
examples:
  eagle-jax serve
      opens http://127.0.0.1:8000/ for the bundled demo model
  eagle-jax serve --model Qwen/Qwen2.5-VL-3B-Instruct --host 0.0.0.0 --port 9000
      for others as well: the address that is printed holds a token
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "serve",
        help="ask about pictures in the browser, and watch the search",
        description="Serves a page on which one drops a picture, asks, and clicks a word of "
        'the answer to see where it comes from. Needs the extra "serve".',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add_model_arguments(parser)
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; of this machine alone it is served without a token "
        "(default: 127.0.0.1)",
    )
    add(
        "--port",
        default=8000,
        type=whole,
        metavar="N",
        help="0 for any that is free (default: 8000)",
    )
    add_regions_argument(parser)
    add_search_arguments(parser, "auto")
    add(
        "--max-new-tokens",
        default=128,
        type=positive,
        metavar="N",
        help="limit of an answer (default: 128)",
    )


def command(options: argparse.Namespace) -> None:
    """Runs the command."""
    import eagle_jax

    cache_compilations()
    eagle_jax.serve(
        lambda: eagle_jax.load(options.model, dtype=options.dtype, quantize=options.quantize),
        host=options.host,
        port=options.port,
        search=options.search,
        budget=options.budget,
        regions=options.regions,
        max_new_tokens=options.max_new_tokens,
        announce=lambda address: print(f"open {address} (Ctrl-C ends it)", flush=True),
    )
