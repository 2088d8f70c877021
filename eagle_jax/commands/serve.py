"""``eagle-jax serve``: the live page."""

import argparse

from eagle_jax.commands import leaving
from eagle_jax.commands.arguments import (
    add_model_arguments,
    add_question_arguments,
    add_search_arguments,
    whole,
)
from eagle_jax.commands.devices import prepare_devices
from eagle_jax.commands.loading import load_model

_EXAMPLES = """\
examples:
  eagle-jax serve
      opens http://127.0.0.1:8000/ for the bundled demo model
  eagle-jax serve --model Qwen/Qwen2.5-VL-3B-Instruct --host 0.0.0.0 --port 9000
      other machines can open the page, too: the printed address contains a token
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "serve",
        help="ask about images in the browser, and watch the search",
        description="Serves a page where you drop in an image, ask a question and click a word "
        'of the answer to see where it comes from. Needs: pip install "eagle-jax[serve]".',
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add_model_arguments(parser)
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; any but the loopback address needs a token, which is "
        "printed (default: %(default)s)",
    )
    add(
        "--port",
        default=8000,
        type=whole,
        metavar="N",
        help="port to listen on; 0 takes any free port (default: %(default)s)",
    )
    add_question_arguments(parser)
    add_search_arguments(parser)


def command(options: argparse.Namespace) -> None:
    """Runs the command, until it is interrupted."""
    import eagle_jax

    def announce(address: str) -> None:
        leaving.expect("interrupted; the server has stopped")
        print(f"open {address} (Ctrl-C stops the server)", flush=True)

    prepare_devices()
    eagle_jax.serve(
        lambda: load_model(options),
        host=options.host,
        port=options.port,
        search=options.search,
        budget=options.budget,
        regions=options.regions,
        fill=options.fill,
        max_new_tokens=options.max_new_tokens,
        system=options.system,
        thinking=options.thinking,
        announce=announce,
    )
