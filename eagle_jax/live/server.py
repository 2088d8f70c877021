"""The live page over HTTP: pictures come in, answers and growing maps go out."""

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

from eagle_jax.errors import InputError, reason
from eagle_jax.inputs.regions import Regions
from eagle_jax.live.guard import LOCAL, LOOPBACK, Guard, refusal
from eagle_jax.live.session import Session
from eagle_jax.live.watching import Cancelled
from eagle_jax.reports.page import Finding, page
from eagle_jax.reports.page.document import document
from eagle_jax.reports.page.findings import search_state, told
from eagle_jax.reports.page.report import PANEL, STYLES
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring.model import Model
from eagle_jax.search.methods import chosen_search

_MOST_BYTES, _MOST_TEXT, _MOST_WAITING = 20_000_000, 1_000_000, 8
# Seconds after which a silent stream shows that it lives, and notices that nobody listens.
_PULSE = 1.0
_LOG = logging.getLogger(__name__)


def serve(
    model: Model | Callable[[], Model],
    *,
    host: str = LOOPBACK,
    port: int = 8000,
    search: str = "exact",
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
      regions: see `eagle_jax.ask`.
      max_new_tokens: limit of an answer.
      announce: is told the address of the page.

    Raises:
      InputError: there is no such search, the port is in use, or the extra "serve" is not
        installed.
    """
    try:
        uvicorn = import_module("uvicorn")
        import_module("starlette")
    except ImportError:
        raise InputError(
            'the live page needs the extra "serve": python -m pip install "eagle-jax[serve]"'
        ) from None
    chosen_search(search)
    listening = _listen(host, port)
    with listening:
        name = f"[{host}]" if ":" in host else host
        token = None if name in LOCAL else secrets.token_urlsafe(16)
        model = model if isinstance(model, Model) else model()
        session = Session(model, search, regions, max_new_tokens)
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


def application(
    session: Session,
    token: str | None = None,
    ending: Callable[[], bool] = lambda: False,
) -> Any:
    """The ASGI application of a session.

    Args:
      session: what it serves.
      token: that opens the page; None for pages on the loopback address, which are asked for
        by a local name only.
      ending: whether the server is about to end, and with it all searches.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    live = _Live(session, ending)
    routes = [
        Route("/", live.page),
        Route("/pictures", live.picture, methods=["POST"]),
        Route("/questions", live.question, methods=["POST"]),
        Route("/searches", live.search, methods=["POST"]),
        Route("/reports/{number:int}", live.report),
    ]
    return Guard(Starlette(routes=routes), token)


class _Live:
    def __init__(self, session: Session, ending: Callable[[], bool]):
        self._session, self._ending = session, ending
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0
        # The event loop itself holds its tasks only weakly.
        self._searches: set[asyncio.Task] = set()
        self._page = _live_page(session)

    async def page(self, request: Any) -> Any:
        from starlette.responses import HTMLResponse

        rules = {
            "Content-Security-Policy": "frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        return HTMLResponse(self._page, headers=rules)

    async def picture(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        try:
            if request.query_params.get("demo") is not None:
                source = _demo().IMAGE
            else:
                source = await _body(request, _MOST_BYTES)
            number = await asyncio.to_thread(self._session.add_picture, source)
        except InputError as error:
            return refusal(reason(error))
        return JSONResponse({"picture": number})

    async def question(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        try:
            asked = await _record(request, {"picture": int, "prompt": str})
            async with self._turn():
                number, attribution = await asyncio.to_thread(
                    self._session.question, asked["picture"], asked["prompt"]
                )
            found = await asyncio.to_thread(told, Finding("live", attribution))
        except InputError as error:
            return refusal(reason(error))
        return JSONResponse({"question": number, "finding": found})

    async def search(self, request: Any) -> Any:
        from starlette.responses import StreamingResponse

        try:
            asked = await _record(request, {"question": int, "positions": list | None})
        except InputError as error:
            return refusal(reason(error))
        events = self._events(request, asked["question"], asked["positions"])
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def report(self, request: Any) -> Any:
        from starlette.responses import Response

        try:
            found = self._session.finding(request.path_params["number"])
        except InputError as error:
            return refusal(reason(error), 404)
        content = await asyncio.to_thread(page, [Finding("live", found)])
        attached = {"Content-Disposition": 'attachment; filename="explanation.html"'}
        return Response(content, media_type="text/html", headers=attached)

    async def _events(
        self, request: Any, question: int, positions: list[int] | None
    ) -> AsyncIterator[str]:
        """Server-sent events of a search, until it is done or nobody listens any more."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        cancelled = threading.Event()

        def tell(so_far: Attribution) -> None:
            state = search_state(so_far) | _cost(so_far)
            loop.call_soon_threadsafe(queue.put_nowait, ("step", state))

        async def run() -> None:
            try:
                async with self._turn():
                    number, found = await asyncio.to_thread(
                        self._session.explain, question, positions, tell, cancelled
                    )
                whole = await asyncio.to_thread(told, Finding("live", found))
                queue.put_nowait(("done", {"number": number, "finding": whole}))
            except InputError as error:
                queue.put_nowait(("failed", {"error": reason(error)}))
            except Cancelled:
                queue.put_nowait(("cancelled", {}))
            except Exception as error:
                # Out of memory, say. The page is told, the log has the rest.
                _LOG.exception("a search failed")
                queue.put_nowait(
                    ("failed", {"error": f"the search failed: {reason(error, 200)}"})
                )

        # The search keeps its turn until its thread has ended, also when nobody listens.
        searching = asyncio.create_task(run())
        self._searches.add(searching)
        searching.add_done_callback(self._searches.discard)
        try:
            if self._waiting > 0 or self._one_at_a_time.locked():
                yield _event("waiting", {"ahead": self._waiting + 1})
            while not self._ending() and not await request.is_disconnected():
                try:
                    kind, value = await asyncio.wait_for(queue.get(), _PULSE)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                yield _event(kind, value)
                if kind != "step":
                    break
        finally:
            cancelled.set()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place in the queue of those who want the model: one at a time, few waiting."""
        if self._waiting >= _MOST_WAITING:
            raise InputError("too many are waiting for the model; try again later")
        self._waiting += 1
        try:
            await self._one_at_a_time.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._one_at_a_time.release()


def _live_page(session: Session) -> str:
    content = document(
        title="eagle-jax live",
        body="<main></main><noscript>The live page needs scripts switched on.</noscript>",
        data={"model": session.model.name, "prompt": _demo().PROMPT},
        scripts=(*PANEL, "live.js"),
        styles=(*STYLES, "live.css"),
        policy="img-src data: blob:; connect-src 'self'",
    )
    return content.decode("ascii")


def _demo() -> Any:
    return import_module("eagle_jax.demo")


def _cost(attribution: Attribution) -> dict[str, int | float]:
    return {"forwards": attribution.forwards, "seconds": attribution.seconds}


def _event(kind: str, value: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"


async def _body(request: Any, most: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise InputError(f"this is more than {most // 10**6} MB; send something smaller")
    return bytes(content)


async def _record(request: Any, fields: dict[str, Any]) -> dict[str, Any]:
    body = await _body(request, _MOST_TEXT)
    try:
        record = json.loads(body)
        found = {name: record.get(name) for name in fields}
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError("the request is no JSON object") from error
    for name, kind in fields.items():
        if not isinstance(found[name], kind):
            raise InputError(f"{name} is missing or of the wrong type")
        if isinstance(found[name], list) and not all(type(one) is int for one in found[name]):
            raise InputError(f"{name} must be whole numbers")
    return found
