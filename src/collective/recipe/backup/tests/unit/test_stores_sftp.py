"""A store by SFTP: on OpenSSH's server and on that of asyncssh, with what breaks on the way."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    StoreRefused,
    StoreUnreachable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.repository.names import id_of
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.stores import ObjectExists
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.stores.sftp import sftpplace
from collective.recipe.backup.tests.contracts.store import NAME, StoreContract, names
from collective.recipe.backup.tests.wires import wire_to


def at(port: int, directory: Path):
    return store_at(f"sftp://127.0.0.1:{port}{directory}", Files())


@pytest.fixture
def store(sshd, in_a_home_for_sshd, tmp_path):
    (tmp_path / "of").mkdir()
    with closing(at(sshd.port, tmp_path / "of" / "the store")) as store:
        store.prepare()
        yield store


@pytest.mark.needs("sshd")
class TestOnOpenSsh(StoreContract):
    """The contract."""


class AsyncsshServer:
    """The server of asyncssh, in a thread of this process; *sftp* is the class of its sessions."""

    def __init__(self, directory: Path) -> None:
        import asyncssh

        self.sftp = asyncssh.SFTPServer

        self.host, self.key = (asyncssh.generate_private_key("ssh-ed25519") for _each in range(2))
        self.authorized = directory / "authorized"
        self.key.write_public_key(self.authorized)
        self.key.write_private_key(directory / "key")
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.listener = self._do(self._listen())
        self.port = self.listener.get_port()

    async def _listen(self):
        import asyncssh

        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host],
            authorized_client_keys=str(self.authorized),
            sftp_factory=self._session,
        )

    def _session(self, channel):
        # the class may be another one by now
        return self.sftp(channel)

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def _end(self):
        self.listener.close()
        await self.listener.wait_closed()
        await asyncio.sleep(0.05)

    def close(self) -> None:
        self._do(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def asyncssh_server(ssh_home, tmp_path):
    with closing(AsyncsshServer(tmp_path)) as server:
        known = server.host.export_public_key().decode()
        name = f"[127.0.0.1]:{server.port}"
        (ssh_home / ".ssh" / "known_hosts").write_text(f"{name} {known}")
        (ssh_home / ".ssh" / "config").write_text(f"Host *\n  IdentityFile {tmp_path / 'key'}\n")
        yield server


class TestOnAsyncssh(StoreContract):
    @pytest.fixture
    def store(self, asyncssh_server, tmp_path):
        with closing(at(asyncssh_server.port, tmp_path / "store")) as store:
            store.prepare()
            yield store


def lacking(asyncssh_server, number: int, *methods: str) -> None:
    """Let *methods* fail with the errno *number*; 0: the server does not know them."""
    import asyncssh

    class Lacking(asyncssh.SFTPServer):
        """A server that cannot do everything."""

    def fail(*_arguments):
        if not number:
            raise asyncssh.SFTPOpUnsupported("no")
        raise OSError(number, os.strerror(number))

    for method in methods:
        setattr(Lacking, method, fail)
    asyncssh_server.sftp = Lacking


@pytest.mark.parametrize("number", [0, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EACCES])
def test_where_there_are_no_hard_links_a_file_is_renamed(asyncssh_server, tmp_path, number):
    lacking(asyncssh_server, number, "link")
    with closing(at(asyncssh_server.port, tmp_path / "store")) as store:
        store.prepare()
        store.put(NAME, b"first")
        with pytest.raises(ObjectExists):
            store.put(NAME, b"second")
        assert store.get(NAME) == b"first"
        assert [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()] == [
            NAME.rpartition("/")[2]
        ]


def test_a_file_whose_link_failed_otherwise_is_not_renamed(asyncssh_server, tmp_path):
    lacking(asyncssh_server, errno.ENOENT, "link")
    with closing(at(asyncssh_server.port, tmp_path / "store")) as store:
        store.prepare()
        with pytest.raises(BackupError):
            store.put(NAME, b"first")
        assert list(store.list()) == []


def test_a_server_that_can_flush_no_file_takes_it_all_the_same(asyncssh_server, tmp_path):
    lacking(asyncssh_server, 0, "fsync")
    with closing(at(asyncssh_server.port, tmp_path / "store")) as store:
        store.prepare()
        store.put(NAME, b"x")
        assert store.get(NAME) == b"x"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("method", ["write", "fsync"])
def test_a_server_that_is_full_says_so_and_has_no_half_object(
    asyncssh_server, tmp_path, number, method
):
    with closing(at(asyncssh_server.port, tmp_path / "store")) as store:
        store.prepare()
        store.put("m/a", b"x")
        store.close()
        lacking(asyncssh_server, number, method)
        with pytest.raises(BackupError, match="the server says") as caught:
            store.put(NAME, b"x" * 100_000)
        assert caught.value.exit_code == 1
        assert "Free some room" in caught.value.hint
        assert names(store) == ["m/a"]
        assert not list((tmp_path / "store").rglob("*.partial"))


@pytest.mark.needs("ssh-agent")
def test_the_key_may_be_in_an_agent_alone(sshd, in_a_home_for_sshd, tmp_path, monkeypatch):
    (in_a_home_for_sshd / ".ssh" / "config").unlink()
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as agent:
        try:
            while not path.exists():
                time.sleep(0.01)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            with closing(at(sshd.port, tmp_path)) as store, pytest.raises(StoreRefused):
                store.put(NAME, b"x")
            subprocess.run(["ssh-add", "-q", Path(sshd.directory) / "site"], check=True)
            with closing(at(sshd.port, tmp_path)) as store:
                store.put(NAME, b"x")
                assert store.get(NAME) == b"x"
        finally:
            agent.kill()


@pytest.mark.needs("sshd")
def test_no_directory_is_made_above_that_of_the_repository(sshd, in_a_home_for_sshd, tmp_path):
    with closing(at(sshd.port, tmp_path / "of" / "the store")) as store:
        with pytest.raises(ConfigurationError, match="directory above") as caught:
            store.prepare()
        assert "mounted" in caught.value.hint
    assert not (tmp_path / "of").exists()


@pytest.mark.needs("sshd")
def test_files_are_for_their_owner_alone_and_may_only_be_read(store, tmp_path):
    store.put(NAME, b"x")
    root = tmp_path / "of" / "the store"
    found = [root, *root.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()} == {0o700}
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in found if path.is_file()] == [
        (NAME.rpartition("/")[2], 0o400)
    ]


@pytest.mark.needs("sshd")
def test_a_host_key_that_is_unknown_or_another_one_is_refused(sshd, in_a_home_for_sshd, tmp_path):
    known = in_a_home_for_sshd / ".ssh" / "known_hosts"
    of_another = (Path(sshd.directory) / "site.pub").read_text()
    for text in ("", f"[127.0.0.1]:{sshd.port} {of_another}"):
        known.write_text(text)
        with (
            closing(at(sshd.port, tmp_path)) as store,
            pytest.raises(StoreRefused, match="host key of the server is unknown") as caught,
        ):
            store.put(NAME, b"x")
        assert f"ssh-keygen -F '[127.0.0.1]:{sshd.port}'" in caught.value.hint
        assert not (tmp_path / NAME).exists()


@pytest.mark.needs("sshd")
def test_a_user_that_the_server_does_not_let_in_is_told(sshd, in_a_home_for_sshd, tmp_path):
    config = in_a_home_for_sshd / ".ssh" / "config"
    config.write_text(f"Host *\n  IdentityFile {Path(sshd.directory) / 'host'}\n")
    with closing(at(sshd.port, tmp_path)) as store, pytest.raises(StoreRefused) as caught:
        names(store)
    assert "does not let this user in" in caught.value.what
    assert "agent" in caught.value.hint


@pytest.mark.needs("sshd")
def test_a_directory_that_is_not_there_is_not_made(sshd, in_a_home_for_sshd, tmp_path):
    with closing(at(sshd.port, tmp_path / "mount" / "store")) as store:
        for ask in (
            lambda: store.put(NAME, b"x"),
            lambda: store.get(NAME),
            lambda: names(store),
            lambda: store.delete(NAME),
            store.clock,
        ):
            with pytest.raises(StoreUnreachable, match="is not there") as caught:
                ask()
            assert "mounted" in caught.value.hint
    assert not (tmp_path / "mount").exists()


def test_a_server_that_is_not_there_is_told(ssh_home):
    with closing(at(1, Path("/store"))) as store, pytest.raises(StoreUnreachable) as caught:
        names(store)
    assert caught.value.exit_code == 6
    assert "network" in caught.value.hint


class Relay:
    """Passes bytes on to *port* until it is told to *cut* what goes through it."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.open: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()
        self.left: int | None = None  # bytes that still go to the server

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _address = self.listening.accept()
                theirs = socket.create_connection(("127.0.0.1", self.target))
                self.open += [ours, theirs]
                for pair in ((ours, theirs, True), (theirs, ours, False)):
                    self.threads.append(threading.Thread(target=self._pass, args=pair))
                    self.threads[-1].start()

    def _pass(self, source, target, up) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 15):
                if up and self.left is not None:
                    self.left -= len(data)
                    if self.left < 0:
                        self.left = None
                        self.cut()
                        return
                target.sendall(data)

    def cut(self) -> None:
        for each in self.open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.cut()
        for thread in self.threads:
            thread.join()
        for each in self.open:
            each.close()


@pytest.mark.slow
@pytest.mark.needs("sshd")
def test_a_connection_that_breaks_anywhere_costs_one_put(sshd, in_a_home_for_sshd, tmp_path):
    known = in_a_home_for_sshd / ".ssh" / "known_hosts"
    (tmp_path / "store").mkdir()
    with closing(Relay(sshd.port)) as relay:
        key = (Path(sshd.directory) / "host.pub").read_text()
        known.write_text(f"[127.0.0.1]:{relay.port} {key}")
        with closing(at(relay.port, tmp_path / "store")) as store:
            store.put("m/a", b"x")
            for number, left in enumerate((100, 40_000, 1_000_500)):
                data = b"%d" % number * 1_000_000
                relay.left = left
                put(store, f"bundles/ab/{id_of(data)}", data)
                assert store.get(f"bundles/ab/{id_of(data)}") == data
            assert len(names(store, "bundles/")) == 3
            relay.cut()
            assert store.get("m/a") == b"x"


@pytest.mark.needs("sshd")
def test_a_key_that_may_only_add_can_neither_remove_nor_replace(sshd, in_a_home_for_sshd, tmp_path):
    (tmp_path / "store").mkdir()
    config = in_a_home_for_sshd / ".ssh" / "config"
    config.write_text(f"Host *\n  IdentityFile {Path(sshd.directory) / 'adder'}\n")
    with closing(at(sshd.port, tmp_path / "store")) as store:
        store.put(NAME, b"x")
        with pytest.raises(ObjectExists):
            store.put(NAME, b"y")
        assert names(store) == [NAME]
        assert store.get(NAME) == b"x"
        store.clock()
        for name in (NAME, "m/none"):
            with pytest.raises(StoreRefused, match="may not do that"):
                store.delete(name)
        assert store.get(NAME) == b"x"


@pytest.mark.needs("sshd")
def test_a_sweep_removes_what_dead_puts_left_long_ago(store, tmp_path):
    store.put(NAME, b"x")
    directory = (tmp_path / "of" / "the store" / NAME).parent
    old, young = directory / "a.0123abcd.partial", directory / "b.0123abcd.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    store.sweep()
    assert not old.exists()
    assert young.exists()
    assert names(store) == [NAME]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sftp://user:secret@host/a", "no password may stand"),
        ("sftp://host", "no host, or no path"),
        ("sftp:///a", "no host, or no path"),
        ("sftp://host/a/../b", "no host, or no path"),
        ("sftp://host:99999/a", "no number"),
        ("sftp://host/a?b", "nothing after its path"),
    ],
)
def test_a_url_that_means_no_directory_is_refused_and_shows_no_secret(url, words):
    with pytest.raises(ConfigurationError) as caught:
        store_at(url, Files())
    assert words in caught.value.what
    assert "secret" not in str(caught.value)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sftpplace, "find_spec", lambda _name: None)
    with closing(at(1, Path("/a"))) as store, pytest.raises(BackupError) as caught:
        store.get(NAME)
    assert "asyncssh" in caught.value.what
    assert "[sftp]" in caught.value.hint


@pytest.mark.needs("sshd")
def test_a_connection_that_breaks_in_an_object_is_one_error_and_no_traceback(
    sshd, in_a_home_for_sshd, tmp_path, caplog
):
    (tmp_path / "far").mkdir()
    key = (Path(sshd.directory) / "host.pub").read_text()
    with wire_to(sshd.port, 2_000_000) as wire:
        (in_a_home_for_sshd / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{wire.port} {key}")
        with closing(at(wire.port, tmp_path / "far")) as store, ThreadPoolExecutor(1) as threads:
            putting = threads.submit(store.put, NAME, bytes(20_000_000))
            while wire.sent < 2_000_000 and not putting.done():
                time.sleep(0.01)
            wire.end()
            assert isinstance(putting.exception(), BackupError)
            del putting
            gc.collect()
    assert "never retrieved" not in caplog.text
