"""Access to the live page: origin, host and token."""

import hmac
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse

LOCAL = ("127.0.0.1", "localhost", "[::1]")
_COOKIE = "eagle-jax-token"


class Guard:
    """Passes on requests of the page itself, judged by origin, host and token."""

    def __init__(self, inner: Any, token: str | None):
        """Guards an application.

        Args:
          inner: the ASGI application.
          token: secret that opens the page and is then kept in a cookie. None for a server on
            the loopback address: requests must then name a local host, so that another
            site's name cannot be pointed at the page.
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
            answer = refusal("requests from other sites are not allowed", 403)
        elif self._token is None and re.sub(r":\d+$", "", host) not in LOCAL:
            answer = refusal(f"host {host[:100]} is not allowed", 403)
        elif self._token is not None and given is not None and self._opens(given):
            answer = RedirectResponse(scope["path"], 303)
            answer.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
        elif self._token is not None and not self._opens(request.cookies.get(_COOKIE, "")):
            answer = refusal(
                "open the full address that the server printed, with its token", 401
            )
        await answer(scope, receive, send)

    def _opens(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def refusal(why: str, status: int = 400) -> JSONResponse:
    """A JSON response with a one-line error."""
    return JSONResponse({"error": why}, status)
