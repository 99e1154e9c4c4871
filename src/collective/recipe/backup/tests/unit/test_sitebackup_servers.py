"""Whether a ZEO server that a client names is this machine."""

from __future__ import annotations

import os
import socket
from threading import Event

import pytest

from collective.recipe.backup.sitebackup import servers
from collective.recipe.backup.sitebackup.servers import Address, is_here, is_same, parsed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8100", Address(port="8100")),
        (":8100", Address(port="8100")),
        ("Zeo.example.com:8100", Address(host="zeo.example.com", port="8100")),
        ("zeo", Address(host="zeo")),
        ("[::1]:8100", Address(host="::1", port="8100")),
        ("/srv/var/../zeo.sock", Address(path="/srv/zeo.sock")),
        ("", Address()),
        (" 127.0.0.1:8100 ", Address(host="127.0.0.1", port="8100")),
    ],
)
def test_addresses_are_read_as_zconfig_reads_them(text: str, address: Address) -> None:
    assert parsed(text) == address


@pytest.mark.parametrize(
    "host", ["", "localhost", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", os.uname().nodename]
)
def test_a_host_of_many_names_is_this_machine(host: str) -> None:
    assert is_here(host) is True


def test_another_machine_is_known_by_its_number_without_asking_the_network() -> None:
    assert is_here("10.11.12.13") is False
    assert is_here("2001:db8::1") is False


def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*numbers: str) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 0)) for number in numbers]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_more: found)

    answers("10.11.12.13", "127.0.0.1")
    assert is_here("zeo.example.com") is True
    answers("10.11.12.13")
    assert is_here("zeo.example.com") is False


def test_a_name_that_nobody_knows_cannot_be_told() -> None:
    assert is_here("no-such-host.invalid") is None
    assert is_here("x" * 300) is None
    assert is_here("..") is None


@pytest.mark.parametrize("odd", ["\0", "\udcff", "é", "x" * 300, "..", "eth99", " "])
def test_whatever_stands_in_the_place_of_a_host_is_no_reason_to_fail(odd: str) -> None:
    for host in (odd, f"a{odd}b", f"fe80::1%{odd}"):
        assert not is_here(host)
        assert not is_same(f"[{host}]:8100", "8100")


def test_a_network_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_it, **_more: [] if over.wait() else [])
    assert servers._looked_up("zeo.example.com", 0.05) == []
    over.set()


@pytest.mark.parametrize(
    ("client", "server", "same"),
    [
        ("8100", "8100", True),
        ("localhost:8100", "8100", True),
        ("localhost:8100", "localhost:8200", False),
        ("localhost:8100", "", True),
        ("10.11.12.13:8100", "10.11.12.13:8100", True),
        ("10.11.12.13:8100", "8100", False),
        ("/srv/zeo.sock", "/srv/./zeo.sock", True),
        ("/srv/zeo.sock", "8100", False),
        ("8100", "/srv/zeo.sock", False),
        ("no-such-host.invalid:8100", "8100", None),
        ("no-such-host.invalid:8100", "8200", False),
        (servers.UNKNOWN, "8100", None),
    ],
)
def test_client_and_server_mean_the_same(client: str, server: str, same: bool | None) -> None:
    assert is_same(client, server) is same
