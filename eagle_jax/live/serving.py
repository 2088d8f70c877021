"""Starts and stops the server of the live page."""

import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from typing import Any

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, reason, require_choice
from eagle_jax.explaining.explanation import Approach, check_approach
from eagle_jax.inputs.fill import DEFAULT_FILL, FILLS
from eagle_jax.inputs.regions import DEFAULT_REGIONS, Regions
from eagle_jax.live.session import Session
from eagle_jax.scoring.answers import DEFAULT_MAX_NEW_TOKENS
from eagle_jax.scoring.case import AskSettings
from eagle_jax.scoring.model import Model
from eagle_jax.search import Limits
from eagle_jax.search.methods import DEFAULT_SEARCH


@checked
def serve(
    model: Model | Callable[[], Model],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    search: str = DEFAULT_SEARCH,
    budget: int | None = None,
    regions: Regions = DEFAULT_REGIONS,
    fill: str = DEFAULT_FILL,
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    system: str | None = None,
    thinking: str | None = None,
    announce: Callable[[str], Any] = print,
) -> None:
    """Serves the live page until it is interrupted.

    By default the server listens on the loopback address, which only this machine reaches. On
    any other address the page opens only with the token in the announced address.

    Args:
      model: from `eagle_jax.load`, or a function that loads the model once the port is known
        to be free.
      host: address to listen on.
      port: port to listen on; 0 takes any free port.
      search: name of a search, a key of `eagle_jax.search.SEARCHES`.
      budget: largest number of masked images that a search scores; None for no limit.
      regions: number or kind of regions, as in `eagle_jax.ask`.
      fill: what is shown in place of hidden regions: "black", "mean" or "blur".
      max_new_tokens: largest number of tokens of an answer.
      system: system message in front of each conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.
      announce: called with the address of the page.

    Raises:
      InputError: there is no such search or fill, the port is in use, or the extra "serve" is
        not installed.
    """
    try:
        import uvicorn

        from eagle_jax.live.guard import LOCAL
        from eagle_jax.live.server import application
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise InputError(
            'the live page needs the extra "serve": python -m pip install "eagle-jax[serve]"'
        ) from None
    approach = Approach(search=search, limits=Limits(budget))
    check_approach(approach)
    require_choice("fill", fill, FILLS)
    listening = _listen(host, port)
    with listening:
        name = f"[{host}]" if ":" in host else host
        token = None if name in LOCAL else secrets.token_urlsafe(16)
        model = model if isinstance(model, Model) else model()
        if not isinstance(model, Model):
            raise InputError(f"model returned {type(model).__name__}; it must return a Model")
        asking = AskSettings(regions, fill, max_new_tokens, system=system, thinking=thinking)
        session = Session(model, approach, asking)
        # A browser that comes at once waits a moment instead of being refused.
        listening.listen()
        address = f"http://{name}:{listening.getsockname()[1]}/"
        announce(address + (f"?token={token}" if token else ""))
        content = application(session, token, lambda: server.should_exit)
        config = uvicorn.Config(content, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        # An interrupt is the normal end of the server; nobody waits for what it cuts short.
        log = logging.getLogger("uvicorn.error")
        log.addFilter(quiet := lambda record: not server.should_exit)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            log.removeFilter(quiet)


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError, TypeError, ValueError) as error:
        listening.close()
        raise InputError(
            f"cannot listen on {host}:{port}: {reason(error)}; choose another --port"
        ) from error
    return listening
