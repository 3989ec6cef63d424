"""The static site and the live page over HTTP, on this machine only. Knows no model: `questions.Live` answers what is asked."""

from __future__ import annotations

import socket
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from saejax.errors import InputError
from saejax.interface import api
from saejax.interface.guard import Guard, names_of
from saejax.interface.questions import Live

PAGES = Path(__file__).parent / "live"


def bind(host: str, port: int) -> socket.socket:
    """A socket that is listened on; port 0 takes a free one.

    Raises:
      InputError: the port is taken, or not for this user.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"--port={port}: cannot be listened on at {host} ({error.strerror}); name another, or 0 for a free one"
        ) from error
    # Accepted connections inherit it; without it an answer's second part waits 40 ms for the browser to acknowledge the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address(listening: socket.socket) -> str:
    """What a browser is given."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def application(site: Path, live: Live, port: int) -> ASGIApp:
    """Everything that is served.

    Args:
      site: the folder that `site.build` made.
      live: what answers the live page.
      port: that is listened on.
    """

    async def page(request: Request) -> Response:
        return FileResponse(PAGES / "live.html")

    async def link(request: Request) -> Response:
        return Response('saejax.receive("live","live.html");\n', media_type="text/javascript")

    routes = [
        Mount("/api", routes=api.routes(live)),
        Route("/live.html", page),
        Route("/data/live.js", link),  # in the folder it says that there is none
        Mount("/live", StaticFiles(directory=PAGES)),
        Mount("/", StaticFiles(directory=site, html=True)),  # stays in the folder: what a link leads out to is not there
    ]
    handlers = {HTTPException: api.refused, Exception: api.refused}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), names_of(port))


def run(app: ASGIApp, listening: socket.socket) -> None:
    """Serves until it is interrupted."""
    import uvicorn

    config = uvicorn.Config(
        app,
        **{"loop": "asyncio", "http": "h11", "ws": "none", "lifespan": "off", "log_level": "warning"},
        **{"access_log": False, "server_header": False, "proxy_headers": False},
        limit_concurrency=64,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listening])
