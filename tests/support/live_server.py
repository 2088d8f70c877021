"""The live page on a free port of this machine, in a thread of this process."""

import contextlib
import threading
import time

import uvicorn

from eagle_jax.live.server import application


@contextlib.contextmanager
def live_server(session, token=None):
    """Serves a session; yields the port."""
    content = application(session, token, lambda: server.should_exit)
    server = uvicorn.Server(uvicorn.Config(content, port=0, log_level="error"))
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
