"""A server for the live page: its port, its token, its end."""

import contextlib
import secrets
import socket
from collections.abc import Callable
from typing import Any

from eagle_jax.errors import InputError, reason
from eagle_jax.inputs.regions import Regions
from eagle_jax.live.session import Session
from eagle_jax.scoring.model import Model
from eagle_jax.search.methods import chosen_search


def serve(
    model: Model | Callable[[], Model],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    search: str = "auto",
    budget: int | None = None,
    regions: Regions = 64,
    max_new_tokens: int = 128,
    announce: Callable[[str], Any] = print,
) -> None:
    """Serves the live page until it is interrupted.

    On this machine's own address only, unless another is given; a page for others is opened
    by a token that is part of its address.

    Args:
      model: from `eagle_jax.load`, or a function that loads it once the port is known to be
        free.
      host: address to listen on.
      port: to listen on; 0 takes any that is free.
      search: a name of `eagle_jax.search.SEARCHES`.
      budget: most masked images that a search scores; None for as many as it takes.
      regions: see `eagle_jax.ask`.
      max_new_tokens: limit of an answer.
      announce: is told the address of the page.

    Raises:
      InputError: there is no such search, the port is in use, or the extra "serve" is not
        installed.
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
    chosen_search(search)
    listening = _listen(host, port)
    with listening:
        name = f"[{host}]" if ":" in host else host
        token = None if name in LOCAL else secrets.token_urlsafe(16)
        model = model if isinstance(model, Model) else model()
        session = Session(model, search, budget, regions, max_new_tokens)
        # Whoever opens the page at once waits a moment instead of being refused.
        listening.listen()
        address = f"http://{name}:{listening.getsockname()[1]}/"
        announce(address + (f"?token={token}" if token else ""))
        content = application(session, token, lambda: server.should_exit)
        server = uvicorn.Server(uvicorn.Config(content, log_level="warning"))
        # An interrupt is how it ends.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise InputError(
            f"cannot listen on {host}:{port}: {reason(error)}; choose another --port"
        ) from error
    return listening
