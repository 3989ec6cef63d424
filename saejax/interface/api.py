"""GET /api/members and POST /api/look, /api/change, /api/sample: JSON in, JSON out, one question at the model at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from saejax.errors import InputError
from saejax.interface import questions
from saejax.interface.questions import Live

MOST_BYTES = 64 * 1024
BODY_SECONDS = 10.0  # in which a body must have come
WAIT_SECONDS = 10.0  # for the model
MOST_WAITING = 8
_NO_STORE = {"cache-control": "no-store"}


class Turns:
    """One at a time; a few may wait for a while, the others are told to come again (503)."""

    def __init__(self, most_waiting: int = MOST_WAITING, wait_seconds: float = WAIT_SECONDS):
        self._lock = asyncio.Lock()
        self._waiting, self._most_waiting, self._wait_seconds = 0, most_waiting, wait_seconds

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """The caller's turn."""
        if self._waiting >= self._most_waiting:
            raise HTTPException(503, "busy: too many questions are waiting", {"retry-after": "1"})
        self._waiting += 1
        try:
            await asyncio.wait_for(self._lock.acquire(), self._wait_seconds)
        except TimeoutError as error:
            raise HTTPException(503, "busy: the model did not come free", {"retry-after": "1"}) from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()


def routes(live: Live) -> list[Route]:
    """The API's addresses, below /api."""
    turns = Turns()

    async def members(request: Request) -> Response:
        about = {"members": live.members, "kinds": live.kinds, "most_latents": live.most_latents}
        limits = {"most_characters": questions.MOST_CHARACTERS, "most_strength": questions.MOST_STRENGTH}
        return JSONResponse(about | limits, headers=_NO_STORE)

    def asked(check: Callable[..., dict], answer: Callable[..., dict]) -> Callable:
        async def endpoint(request: Request) -> Response:
            try:
                arguments = check(questions.parse(await _body(request)), live)
                async with turns.take():
                    if await request.is_disconnected():  # whoever asked has typed on
                        return Response(status_code=204)
                    return JSONResponse(await run_in_threadpool(answer, **arguments), headers=_NO_STORE)
            except InputError as error:
                raise HTTPException(400, str(error)) from error

        return endpoint

    posts = {"look": (questions.look, live.look), "change": (questions.change, live.change)}
    posts["sample"] = (questions.sample, live.sample)
    return [
        Route("/members", members, methods=["GET"]),
        *(Route(f"/{name}", asked(*pair), methods=["POST"]) for name, pair in posts.items()),
    ]


async def refused(request: Request, error: Exception) -> Response:
    """An error as one line of JSON."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
    return JSONResponse({"error": "the server failed; its terminal says why"}, 500)


async def _body(request: Request) -> bytes:
    """The body, as JSON it says it is, no longer than it may be: what is longer is not read to its end."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "content-type: must be application/json")
    if int(request.headers.get("content-length", "0")) > MOST_BYTES:  # the server has checked that it is a number
        raise HTTPException(413, f"the body is longer than {MOST_BYTES:,} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise HTTPException(413, f"the body is longer than {MOST_BYTES:,} bytes")
    except TimeoutError as error:
        raise HTTPException(408, f"the body did not come within {BODY_SECONDS:g} seconds") from error
    return bytes(body)
