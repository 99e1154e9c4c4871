"""Pings, sent to a real server that answers, fails, redirects, or lets one wait."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from collective.recipe.backup import pinging
from collective.recipe.backup.pinging import ATTEMPTS, BODY_LIMIT, REDIRECTS, Event, ping
from collective.recipe.backup.tests.watcher import ok, status, watching
from collective.recipe.backup.times import monotonic


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(pinging, "BETWEEN", 0.01)
    monkeypatch.setattr(pinging, "ATTEMPT_LIMIT", 0.3)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_start_success_and_failure_go_to_urls_of_their_own():
    with watching() as watcher:
        assert ping(watcher.url, Event.START) == ""
        assert ping(watcher.url, Event.SUCCESS) == ""
        assert ping(watcher.url, Event.FAILURE, "no room: é \udcff") == ""
    assert watcher.pings == [
        ("GET", "/ping/s3cret/start", "", None),
        ("GET", "/ping/s3cret", "", None),
        ("POST", "/ping/s3cret/fail", "no room: é ?", None),
    ]


def test_what_is_added_to_a_url_comes_before_its_query():
    with watching() as watcher:
        assert ping(f"{watcher.url}/?rid=7#part", Event.START) == ""
        assert ping(f"{watcher.url}/?rid=7", Event.SUCCESS) == ""
    assert watcher.paths == ["/ping/s3cret/start?rid=7", "/ping/s3cret/?rid=7"]


def test_a_long_message_is_cut():
    with watching() as watcher:
        assert ping(watcher.url, Event.FAILURE, "x" * 10**6) == ""
    assert watcher.pings[0].body == "x" * BODY_LIMIT


def test_a_name_and_a_password_in_the_url_become_a_header():
    with watching() as watcher:
        url = watcher.url.replace("http://", "http://me:p%40ss@")
        assert ping(url, Event.SUCCESS) == ""
    assert watcher.pings == [("GET", "/ping/s3cret", "", "Basic bWU6cEBzcw==")]


def test_the_url_may_come_from_the_environment_or_from_a_file(tmp_path):
    with watching() as watcher:
        (tmp_path / "url").write_text(f"{watcher.url}/file\n")
        assert ping("env:PING", Event.SUCCESS, environment={"PING": f" {watcher.url}/env "}) == ""
        assert ping(f"file:{tmp_path}/url", Event.SUCCESS) == ""
    assert watcher.paths == ["/ping/s3cret/env", "/ping/s3cret/file"]


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        ("env:PING", "the environment variable PING of ping_url is not set"),
        ("file:/nowhere/url", "cannot read the file of ping_url, /nowhere/url: No such file"),
        ("ftp://127.0.0.1/s3cret", "ping_url is not a URL"),
        ("http://127.0.0.1:s3cret/", "ping_url is not a URL"),
        ("http:///s3cret", "ping_url is not a URL"),
        ("http://[s3cret", "ping_url is not a URL"),
        ("http://127.0.0.1/s3cret\r\nX: y", "ping_url holds what no URL may hold"),
        ("http://127.0.0.1/s3cret b", "ping_url holds what no URL may hold"),
        ("http://127.0.0.1/s3cret\x00b", "ping_url holds what no URL may hold"),
        ("http://127.0.0.1/s3cret\xe9", "ping_url holds what no URL may hold"),
    ],
)
def test_a_url_that_is_none_is_said_without_the_secret(configured, said):
    problem = ping(configured, Event.SUCCESS, environment={})
    assert said in problem
    assert "s3cret" not in problem


def test_a_server_that_fails_for_a_moment_is_asked_again():
    def answer(handler, number):
        (ok if number == ATTEMPTS - 1 else status(503))(handler, number)

    with watching(answer) as watcher:
        assert ping(watcher.url, Event.SUCCESS) == ""
    assert len(watcher.pings) == ATTEMPTS


@pytest.mark.parametrize(("code", "attempts"), [(500, ATTEMPTS), (429, ATTEMPTS), (404, 1)])
def test_a_server_that_fails_is_named_without_the_secret(code, attempts):
    with watching(status(code)) as watcher:
        problem = ping(watcher.url, Event.SUCCESS)
    assert problem == f"http://127.0.0.1: the server answered {code}"
    assert len(watcher.pings) == attempts


def test_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        problem = ping(f"http://u:s3cret@127.0.0.1:{port}/s3cret", Event.SUCCESS)
    assert problem == "http://127.0.0.1: Connection refused"


def test_a_server_that_does_not_answer_costs_little_time():
    leave = threading.Event()
    with watching(lambda _handler, _number: leave.wait(20)) as watcher:
        began = monotonic()
        problem = ping(watcher.url, Event.SUCCESS)
        took = monotonic() - began
        leave.set()
    assert problem == "http://127.0.0.1: no answer in time"
    assert took < 15  # of the 20 and more that the server would take


def test_a_server_that_answers_a_byte_now_and_then_costs_little_time():
    leave = threading.Event()

    def drip(handler, _number):
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
            handler.wfile.write(bytes([byte]))
            if leave.wait(0.05):
                return

    with watching(drip) as watcher:
        began = monotonic()
        problem = ping(watcher.url, Event.SUCCESS, seconds=1)
        took = monotonic() - began
        leave.set()
    assert problem == "no answer within 1 seconds"
    assert took < 15  # of the 20 and more that the server would take


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 yes\r\n\r\n"])
def test_a_server_that_speaks_something_else(garbage):
    with watching(lambda handler, _number: handler.wfile.write(garbage)) as watcher:
        problem = ping(watcher.url, Event.SUCCESS)
    assert problem.startswith("http://127.0.0.1: ")
    assert "s3cret" not in problem


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_the_same_message(code):
    def answer(handler, number):
        (status(code, Location="/moved") if number == 0 else ok)(handler, number)

    with watching(answer) as watcher:
        assert ping(watcher.url, Event.FAILURE, "why") == ""
    assert watcher.pings[-1] == ("POST", "/moved", "why", None)
    assert len(watcher.pings) == 2


def test_a_password_does_not_follow_to_another_server():
    with watching() as other, watching(status(302, Location=other.url)) as watcher:
        assert ping(watcher.url.replace("//", "//me:s3cret@"), Event.SUCCESS) == ""
    assert watcher.pings[0].authorization is not None
    assert other.pings[0].authorization is None


def test_redirects_come_to_an_end():
    def answer(handler, number):
        status(302, Location=f"/round/{number}")(handler, number)

    with watching(answer) as watcher:
        problem = ping(watcher.url, Event.SUCCESS)
    assert problem == "http://127.0.0.1: the server answered 302"
    assert len(watcher.pings) == REDIRECTS + 1


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/s3cret", "file:///etc/passwd", "//"])
def test_a_redirect_leads_to_nothing_but_the_web(target):
    with watching(status(302, Location=target)) as watcher:
        problem = ping(watcher.url, Event.SUCCESS)
    assert problem.startswith("http://127.0.0.1: ")
    assert "s3cret" not in problem
    assert "passwd" not in problem


def test_a_run_without_pings_does_not_import_them():
    code = (
        "import sys, collective.recipe.backup.operations.backup\n"
        "print([name for name in ('urllib.request', 'http.client', 'email', "
        "'collective.recipe.backup.pinging') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
