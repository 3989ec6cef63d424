"""What every request must be, and what every answer says, whatever is served: an ASGI application around another.

A page of another site, open in the same browser, can send requests here, and can make its own name stand for this machine. So a
request must name this server (which a rebound name does not), a POST must come from a page of this server, and no answer may be
framed, or read by another origin.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# As in the pages themselves (assets/*.html), and what only a server can say: who may frame them, and where the live page asks.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types saejax-data"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}


def names_of(port: int) -> frozenset[str]:
    """What a request to this machine may call it."""
    names = ("127.0.0.1", "localhost", "[::1]")
    return frozenset(f"{name}:{port}" for name in names) | (frozenset(names) if port == 80 else frozenset())


class Guard:
    """Refuses other names and origins with 403; adds `HEADERS` to every answer, also to those of errors."""

    def __init__(self, app: ASGIApp, names: Collection[str]):
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] != "http":  # no other protocol is spoken here
            return
        error = self._error(scope["method"], Headers(scope=scope))
        app = JSONResponse({"error": error}, 403) if error else self._app
        await app(scope, receive, send_with_headers)

    def _error(self, method: str, headers: Headers) -> str:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._names:
            return f"this server answers to {', '.join(sorted(self._names))} only"
        if method == "POST" and headers.getlist("origin") != [f"http://{hosts[0].lower()}"]:
            return f"a POST must come from a page of this server: Origin: http://{hosts[0].lower()}"
        return ""
