"""The live page over HTTP: images come in, answers and partial results go out."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from eagle_jax import demo
from eagle_jax.errors import InputError, reason
from eagle_jax.live.guard import Guard, refusal
from eagle_jax.live.session import Cancelled, Session
from eagle_jax.reports.page import Explanation, page_bytes
from eagle_jax.reports.page.document import document
from eagle_jax.reports.page.page_data import explanation_data, search_state
from eagle_jax.reports.page.report import PANEL, STYLES
from eagle_jax.results.attribution import Attribution

_MOST_BYTES, _MOST_TEXT, _MOST_WAITING = 20_000_000, 1_000_000, 8
# Seconds between signs of life of a stream, at which it also notices a closed connection.
_PULSE = 1.0
_LOG = logging.getLogger(__name__)


def application(
    session: Session,
    token: str | None = None,
    ending: Callable[[], bool] = lambda: False,
) -> Guard:
    """The ASGI application of a session.

    Args:
      session: state of the server.
      token: secret that opens the page, see `Guard`; None on the loopback address.
      ending: returns True once the server is shutting down, which ends all searches.
    """
    live = _Live(session, ending)
    routes = [
        Route("/", live.page),
        Route("/images", live.image, methods=["POST"]),
        Route("/questions", live.question, methods=["POST"]),
        Route("/searches", live.search, methods=["POST"]),
        Route("/reports/{number:int}", live.report),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={InputError: _refused}), token)


def _refused(request: Request, error: Exception) -> Response:
    return refusal(reason(error))


class _Live:
    def __init__(self, session: Session, ending: Callable[[], bool]):
        self._session, self._ending = session, ending
        self._model_lock = asyncio.Lock()
        self._waiting = 0
        # The event loop itself holds its tasks only weakly.
        self._searches: set[asyncio.Task] = set()
        self._page = _live_page(session)

    async def page(self, request: Request) -> Response:
        rules = {
            "Content-Security-Policy": "frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        return HTMLResponse(self._page, headers=rules)

    async def image(self, request: Request) -> Response:
        if request.query_params.get("demo") is not None:
            source = demo.IMAGE
        else:
            source = await _body(request, _MOST_BYTES)
        number = await asyncio.to_thread(self._session.add_image, source)
        return JSONResponse({"image": number})

    async def question(self, request: Request) -> Response:
        asked = await _record(request, {"image": int, "prompt": str})
        async with self._turn():
            number, attribution = await asyncio.to_thread(
                self._session.question, asked["image"], asked["prompt"]
            )
        shown = await asyncio.to_thread(explanation_data, Explanation("live", attribution))
        return JSONResponse({"question": number, "explanation": shown})

    async def search(self, request: Request) -> Response:
        asked = await _record(request, {"question": int, "positions": list | None})
        events = self._events(request, asked["question"], asked["positions"])
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def report(self, request: Request) -> Response:
        try:
            attribution = self._session.explanation(request.path_params["number"])
        except InputError as error:
            return refusal(reason(error), 404)
        content = await asyncio.to_thread(page_bytes, [Explanation("live", attribution)])
        attached = {"Content-Disposition": 'attachment; filename="explanation.html"'}
        return Response(content, media_type="text/html", headers=attached)

    async def _events(
        self, request: Request, question: int, positions: list[int] | None
    ) -> AsyncIterator[str]:
        """Server-sent events of a search, until the search or the connection ends."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        cancelled = threading.Event()

        def on_step(so_far: Attribution, planned: int | None) -> None:
            cost = {"forwards": so_far.forwards, "seconds": so_far.seconds}
            state = search_state(so_far) | cost | {"planned": planned}
            loop.call_soon_threadsafe(queue.put_nowait, ("step", state))

        async def run() -> None:
            try:
                async with self._turn():
                    number, attribution = await asyncio.to_thread(
                        self._session.explain, question, positions, on_step, cancelled
                    )
                shown = await asyncio.to_thread(
                    explanation_data, Explanation("live", attribution)
                )
                queue.put_nowait(("done", {"number": number, "explanation": shown}))
            except InputError as error:
                queue.put_nowait(("failed", {"error": reason(error)}))
            except Cancelled:
                queue.put_nowait(("cancelled", {}))
            except Exception as error:
                # For example out of memory: the page shows one line, the log has the traceback.
                _LOG.exception("a search failed")
                queue.put_nowait(
                    ("failed", {"error": f"the search failed: {reason(error, 200)}"})
                )

        # The search keeps its turn until its thread has ended, even without a listener.
        searching = asyncio.create_task(run())
        self._searches.add(searching)
        searching.add_done_callback(self._searches.discard)
        try:
            if self._waiting > 0 or self._model_lock.locked():
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
        """Holds the model, which serves one request at a time; few may wait."""
        if self._waiting >= _MOST_WAITING:
            raise InputError("too many requests are waiting for the model; try again later")
        self._waiting += 1
        try:
            await self._model_lock.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._model_lock.release()


def _live_page(session: Session) -> str:
    content = document(
        title="eagle-jax live",
        body="<main></main><noscript>The live page needs scripts switched on.</noscript>",
        data={"model": session.model.name, "prompt": demo.PROMPT},
        scripts=(*PANEL, "live.js"),
        styles=(*STYLES, "live.css"),
        policy="img-src data: blob:; connect-src 'self'",
    )
    return content.decode("ascii")


def _event(kind: str, value: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"


async def _body(request: Request, most: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise InputError(f"the upload is larger than {most // 10**6} MB")
    return bytes(content)


async def _record(request: Request, fields: dict[str, Any]) -> dict[str, Any]:
    body = await _body(request, _MOST_TEXT)
    try:
        record = json.loads(body)
        given = {name: record.get(name) for name in fields}
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError("the request is not a JSON object") from error
    for name, kind in fields.items():
        value = given[name]
        if not isinstance(value, kind):
            raise InputError(f"{name} is missing or of the wrong type")
        if isinstance(value, list) and not all(type(entry) is int for entry in value):
            raise InputError(f"{name} must be a list of whole numbers")
    return given
