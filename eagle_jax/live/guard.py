"""Who may speak to the live page."""

import hmac
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse

LOCAL = ("127.0.0.1", "localhost", "[::1]")
_COOKIE = "eagle-jax-token"


class Guard:
    """Lets through what comes from the page itself, by its origin, its host and its token."""

    def __init__(self, inner: Any, token: str | None):
        """Guards an application.

        Args:
          inner: the ASGI application.
          token: that opens the page and is then kept in a cookie; None for pages on the
            loopback address, which are asked for by a local name only, so that no other
            site's name can be pointed at them.
        """
        self._inner, self._token = inner, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self._inner(scope, receive, send)
        request = Request(scope)
        given = request.query_params.get("token")
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        answer: Any = self._inner
        if origin not in (None, f"http://{host}", f"https://{host}"):
            answer = refusal("this page takes no requests from other sites", 403)
        elif self._token is None and re.sub(r":\d+$", "", host) not in LOCAL:
            answer = refusal(f"this page is not called {host[:100]}", 403)
        elif self._token is not None and given is not None and self._opens(given):
            answer = RedirectResponse(scope["path"], 303)
            answer.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
        elif self._token is not None and not self._opens(request.cookies.get(_COOKIE, "")):
            answer = refusal("open the whole address that the server printed, token too", 401)
        await answer(scope, receive, send)

    def _opens(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def refusal(why: str, status: int = 400) -> JSONResponse:
    """An answer that says in one line what was wrong."""
    return JSONResponse({"error": why}, status)
