"""The live page on a free port of this machine, in a thread of this process."""

import contextlib
import threading
import time

import uvicorn

from eagle_jax.live.server import application


@contextlib.contextmanager
def live_server(session, token=None):
    """Serves a session; yields the port."""
    settings = uvicorn.Config(
        application(session, token), port=0, log_level="error", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
