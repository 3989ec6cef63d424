"""What the server answers, and what it refuses: other names, origins and methods, long bodies, paths out of its folder."""

from __future__ import annotations

import json
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette import testclient

from saejax.errors import InputError
from saejax.interface import serve
from saejax.interface.guard import HEADERS
from saejax.interface.questions import Live

PORT = 8765
HOST = f"127.0.0.1:{PORT}"
GOOD = {"host": HOST, "origin": f"http://{HOST}", "content-type": "application/json"}
LOOK = {"member": "a", "text": "x", "latents": [1, 3]}
EDIT = {"latent": 2, "kind": "add", "strength": 1.5}
CHANGE = {"member": "a", "text": "x", "edits": [EDIT], "position": None}
SAMPLE = {"member": "a", "text": "x", "edits": [], "seed": 7, "temperature": 0}


def failing(**question):
    raise ValueError("a fault of the server's own")


LIVE = Live(
    [{"name": "a", "n_latents": 4}],
    ("ablate", "add"),
    2,
    look=lambda **question: {"asked": question},
    change=lambda **question: {"asked": question},
    sample=lambda **question: {"asked": question},
)


@pytest.fixture
def site(tmp_path) -> Path:
    folder = tmp_path / "interface"
    (folder / "data").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>here</h1>")
    (folder / "data" / "live.js").write_text('saejax.receive("live",null);')
    (folder / "data" / "sweep.js").write_text("sweep")
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "away").symlink_to(tmp_path)
    return folder


def client_of(site, live=LIVE):
    return testclient.TestClient(serve.application(site, live, PORT), base_url=f"http://{HOST}", raise_server_exceptions=False)


@pytest.fixture
def client(site):
    return client_of(site)


def ask(client, path="/api/look", body=LOOK, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={**GOOD, **headers})


def refused(answer, status: int, *words: str):
    assert answer.status_code == status, answer.text
    for name, value in HEADERS.items():
        assert name in answer.headers and (name == "cache-control" or answer.headers[name] == value)
    error = answer.json()["error"]
    assert "\n" not in error and all(word in error for word in words), error


def test_pages_are_served_with_headers_that_protect_them(client):
    for path, holds in (("/", "here"), ("/index.html", "here"), ("/data/sweep.js", "sweep"), ("/live.html", "live/live.js")):
        answer = client.get(path)
        assert answer.status_code == 200 and holds in answer.text
        assert all(answer.headers[name] == value for name, value in HEADERS.items())
    assert "javascript" in client.get("/live/live.js").headers["content-type"]
    assert client.get("/data/live.js").text == 'saejax.receive("live","live.html");\n'
    assert "frame-ancestors 'none'" in HEADERS["content-security-policy"] and "http" not in HEADERS["content-security-policy"]
    assert client.head("/").status_code == 200 and client.head("/").text == ""


def test_questions_reach_the_model_as_they_were_asked(client):
    assert ask(client).json() == {"asked": LOOK}
    assert ask(client, "/api/change", CHANGE).json() == {"asked": CHANGE}
    assert ask(client, "/api/sample", SAMPLE).json() == {"asked": SAMPLE}
    assert ask(client, **{"content-type": "application/json; charset=utf-8"}).status_code == 200
    about = client.get("/api/members").json()
    assert about["members"] == LIVE.members and about["most_latents"] == 2
    assert ask(client).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "name", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""]
)
def test_other_names_are_refused(client, name):
    refused(client.get("/", headers={"host": name}), 403, HOST)
    refused(ask(client, host=name, origin=f"http://{name}"), 403)


@pytest.mark.parametrize("name", [f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"])
def test_its_own_names_are_not(client, name):
    assert client.get("/", headers={"host": name}).status_code == 200
    assert ask(client, host=name, origin=f"http://{name.lower()}").status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"https://{HOST}", f"http://localhost:{PORT}", "", f"http://{HOST}/"]
)
def test_other_origins_may_not_post(client, origin):
    refused(ask(client, origin=origin), 403, "Origin")


def test_a_post_without_an_origin_is_refused(client):
    headers = {"host": HOST, "content-type": "application/json"}
    refused(client.post("/api/look", content=b"{}", headers=headers), 403, "Origin")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""]
)
def test_other_kinds_of_body_are_refused(client, kind):
    refused(ask(client, **{"content-type": kind}), 415, "application/json")


def test_long_bodies_are_refused_before_they_are_read(client):
    refused(ask(client, body=b" " * 70_000), 413, "65,536")
    sent = []

    def endless():
        for _ in range(1000):
            sent.append(1)
            yield b" " * 10_000

    refused(client.post("/api/look", content=endless(), headers=GOOD), 413, "65,536")


WRONG = {
    "not JSON": b"{",
    "not UTF-8": b'{"member": "\xff"}',
    "a list": b"[]",
    "nested": b"[" * 30_000,
    "NaN": b'{"member": "a", "text": "x", "edits": [], "seed": 1, "temperature": NaN}',
    "twice": b'{"member": "a", "member": "a", "text": "x", "latents": []}',
    "a field too few": {"member": "a", "text": "x"},
    "a field too many": LOOK | {"model": "other"},
    "no such member": LOOK | {"member": "../a"},
    "member of a kind": LOOK | {"member": ["a"]},
    "text of a kind": LOOK | {"text": 3},
    "text too long": LOOK | {"text": "x" * 20_001},
    "latent too large": LOOK | {"latents": [4]},
    "latent below 0": LOOK | {"latents": [-1]},
    "latent not whole": LOOK | {"latents": [1.0]},
    "latent a truth": LOOK | {"latents": [True]},
    "too many": LOOK | {"latents": [0, 1, 2]},
    "the same": LOOK | {"latents": [1, 1]},
}
WRONG_CHANGE = {
    "kind": {"edits": [EDIT | {"kind": "__class__"}]},
    "kind of a kind": {"edits": [EDIT | {"kind": ["add"]}]},
    "strength": {"edits": [EDIT | {"strength": 101}]},
    "huge strength": {"edits": [EDIT | {"strength": 10**400}]},
    "strength of a kind": {"edits": [EDIT | {"strength": "1"}]},
    "the same": {"edits": [EDIT, EDIT]},
    "not an edit": {"edits": [3]},
    "field of an edit": {"edits": [EDIT | {"more": 1}]},
    "position": {"position": -1},
    "position of a kind": {"position": "last"},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_questions_are_refused_in_one_line(client, case):
    refused(ask(client, body=WRONG[case]), 400)


@pytest.mark.parametrize("case", WRONG_CHANGE)
def test_wrong_edits_are_refused_in_one_line(client, case):
    refused(ask(client, "/api/change", CHANGE | WRONG_CHANGE[case]), 400)


@pytest.mark.parametrize(
    "wrong", [{"seed": 2**32}, {"seed": -1}, {"temperature": 5}, {"temperature": -0.1}, {"temperature": None}]
)
def test_wrong_samples_are_refused_in_one_line(client, wrong):
    refused(ask(client, "/api/sample", SAMPLE | wrong), 400)


def test_what_the_model_refuses_and_what_fails(site):
    def refuse(**question):
        raise InputError("position=9: the text has 2 tokens")

    client = client_of(site, LIVE._replace(change=refuse, sample=failing))
    refused(ask(client, "/api/change", CHANGE), 400, "the text has 2 tokens")
    answer = ask(client, "/api/sample", SAMPLE)
    refused(answer, 500, "terminal")
    assert "fault" not in answer.text


PATHS = [
    *("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/data/../../secret", "/data/%2e%2e/%2e%2e/secret", "//secret"),
    *("/out", "/away/secret", "/away", "/%00", "/index.html%00", "/data", "/data/", "/nothing", "/etc/passwd", "//etc/passwd"),
    *(
        "/live/../serve.py",
        "/live/%2e%2e/serve.py",
        "/live/",
        "/live/..%5cserve.py",
        "/api/",
        "/api/evaluate",
        "/" + "x" * 5000,
    ),
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_out_of_the_folder_are_not_there(client, path):
    scope = {"type": "http", "method": "GET", "path": urllib.request.unquote(path), "raw_path": path.encode()}
    assert status_of(client.app, scope) == (404, False)


def in_a_loop(f, *arguments):
    """Runs a coroutine function in a thread of its own: the browser's driver keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, f, *arguments).result()


def status_of(app, scope) -> tuple[int, bool]:
    """(status, whether the secret or code came) of a path as a server hands it on, which a client would tidy first."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    whole = {
        "headers": [(b"host", HOST.encode())],
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
    }
    in_a_loop(app, {**whole, **scope}, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], b"secret" in body or b"import" in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(client, method):
    for path in ("/", "/api/look", "/api/members", "/live.html", "/live/live.js"):
        refused(client.request(method, path), 405)
    refused(client.get("/api/look"), 405)
    refused(client.post("/", headers=GOOD), 405)


def test_one_question_at_a_time_a_few_wait_and_the_rest_come_again(site):
    at_once, most, free = 0, 0, threading.Event()

    def slow(**question):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        free.wait(20)
        at_once -= 1
        return {}

    app = serve.application(site, LIVE._replace(look=slow), PORT)
    statuses: list[int] = []

    async def one():
        connection = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=f"http://{HOST}")
        async with connection as client:
            statuses.append((await client.post("/api/look", json=LOOK, headers={"origin": f"http://{HOST}"})).status_code)
            if len(statuses) == 3:
                free.set()

    async def all_of_them():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            while not at_once:
                await anyio.sleep(0.01)
            for _ in range(11):
                tasks.start_soon(one)

    in_a_loop(all_of_them)
    assert most == 1 and statuses == [503] * 3 + [200] * 9


def test_a_port_that_is_taken_is_named():
    with serve.bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert serve.address(listening) == f"http://127.0.0.1:{port}/"
        with pytest.raises(InputError, match=f"--port={port}: cannot be listened on.*0 for a free one"):
            serve.bind("127.0.0.1", port)
