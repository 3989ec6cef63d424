"""`--tasks=serve` as a user runs it: a process of its own, asked over a socket; and what it says where it cannot serve."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest
from made_up_run import FLAGS, NAMES, make

import launch


def ask(served, name: str, **question) -> dict:
    where = urlsplit(served.address).netloc
    connection = http.client.HTTPConnection(where, timeout=60)
    headers = {"origin": f"http://{where}", "content-type": "application/json"}
    connection.request("POST", f"/api/{name}", json.dumps(question), headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    return found


def test_it_answers(served):
    looked = ask(served, "look", member=NAMES[0], text="Return a new array.", latents=[3])
    assert looked["tokens"][1] == ["Return", False] and len(looked["activations"]["3"]) == len(looked["tokens"])
    assert all(len(row) <= 4 for row in looked["strongest"]) and looked["labels"]
    assert ask(served, "look", member=NAMES[1], text="Return", latents=[])["labels"] == {}
    edits = [{"latent": looked["strongest"][-1][0][0], "kind": "ablate", "strength": 0}]
    assert ask(served, "change", member=NAMES[0], text="Return a new array.", edits=edits, position=None)["kl"] > 0
    question = {"member": NAMES[0], "text": "Return", "edits": [], "seed": 3, "temperature": 1}
    assert ask(served, "sample", **question) == ask(served, "sample", **question)


def test_the_pages_are_served_and_say_that_there_is_a_live_one(served):
    connection = http.client.HTTPConnection(urlsplit(served.address).netloc, timeout=60)
    for path, holds in (("/", "assets/js/overview.js"), ("/data/live.js", '"live.html"'), ("/live.html", "live/live.js")):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200 and holds in answer.read().decode()
        assert "server" not in {name.lower() for name, _ in answer.getheaders()}


def test_a_body_without_a_length_is_cut_off(served):
    where = urlsplit(served.address)
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        head = f"POST /api/look HTTP/1.1\r\nHost: {where.netloc}\r\nOrigin: http://{where.netloc}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(10):
            connection.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_other_runs_may_use_the_work_directory_meanwhile(served, capsys):
    arguments = ["launch.py", f"--workdir={served.workdir}", *FLAGS]
    assert launch.main([*arguments, "--tasks=interface"]) == 0
    assert "interface: complete" in capsys.readouterr().err
    port = urlsplit(served.address).port
    assert launch.main([*arguments, "--tasks=serve", f"--port={port}"]) == launch.BAD_INPUT_STATUS
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"--port={port}" in error and "another" in error
    run = json.loads((served.workdir / "run.json").read_text())
    assert "serve" not in run["tasks"] and not (served.workdir / "settings" / "serve.json").exists()


def test_without_pages_it_says_what_to_do(tmp_path, capsys):
    make(tmp_path / "run")
    assert launch.main(["launch.py", f"--workdir={tmp_path / 'run'}", *FLAGS, "--tasks=serve"]) == launch.BAD_INPUT_STATUS
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--tasks=features,interface" in error


@pytest.mark.parametrize("flag", ["--host=0.0.0.0", "--port=70000", "--port=-1"])
def test_only_this_machines_addresses_and_ports_there_are(tmp_path, capsys, flag):
    assert launch.main(["launch.py", f"--workdir={tmp_path}", *FLAGS, "--tasks=serve", flag]) == launch.BAD_INPUT_STATUS
    assert flag.split("=")[0] in capsys.readouterr().err
