"""``backup-open``: the site of a moment for clients of ZEO, until it is closed."""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ZConfig
import ZEO
import ZODB
import ZODB.config
from ZEO import StorageServer
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError, ReadOnlyError, UndoError
from zodbpickle import pickle as zodbpickle

from collective.recipe.backup import sitebackup
from collective.recipe.backup.cli import main
from collective.recipe.backup.errors import BackupError, InUse, NoRestorePoint, UsageError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.operations import momentopening
from collective.recipe.backup.operations.momentopening import (
    OpenedMoment,
    OpenOrder,
    opened_moments,
)
from collective.recipe.backup.operations.momentserver import (
    MomentServer,
    address_of,
    served,
    zope_conf,
)
from collective.recipe.backup.served.momentchanges import changeable
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import ZERO_TID


@contextmanager
def serving(server: MomentServer) -> Iterator[None]:
    thread = threading.Thread(target=server.loop)
    thread.start()
    try:
        yield
    finally:
        loop = server._server.acceptor.event_loop
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@contextmanager
def client(address: Any, directory: Path, **options: Any) -> Iterator[Any]:
    with closing(ZEO.DB(address, blob_dir=str(directory), wait_timeout=20, **options)) as db:
        connection = db.open()
        try:
            yield connection
        finally:
            connection.transaction_manager.abort()
            connection.close()


@pytest.fixture(params=[Operated, OperatedInRepository])
def operated(tmp_path, request) -> Operated:
    site = Site(tmp_path / "site")
    site.commit({"a": 1}, {"x": b"first"}, at=NOON - timedelta(hours=2))
    site.commit({"a": 2}, {"x": b"second"}, at=NOON - timedelta(hours=1))
    operated = request.param(site)
    operated.backup()
    return operated


def test_clients_read_the_site_of_a_moment_and_cannot_write(operated, tmp_path):
    order = OpenOrder(cache=tmp_path / "cache", when=NOON - timedelta(minutes=90))
    before = operated.site.contents()
    with (
        opened_moments(operated.run("open"), order) as opened,
        served(opened, str(tmp_path / "s"), operated.run("open").files, read_only=True) as server,
        serving(server),
        client(server.address, tmp_path / "blobs", read_only=True) as connection,
    ):
        root = connection.root()
        assert root["values"]["a"]["value"] == 1
        with root["blobs"]["x"].open() as file:
            assert file.read() == b"first"
        root["written"] = True
        with pytest.raises(ReadOnlyError):
            connection.transaction_manager.commit()
    assert operated.site.contents() == before
    assert not (tmp_path / "s").exists()
    assert list((tmp_path / "cache").iterdir()) == []


class HostileClient:
    """Speaks to a server of ZEO, and sends it what no client of ZEO would."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")
        self.receive()
        self.send(b"Z5")
        self._number = 0

    def __enter__(self) -> HostileClient:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, message: bytes) -> None:
        self._socket.sendall(len(message).to_bytes(4, "big") + message)

    def receive(self) -> bytes:
        """Return the next message; nothing: the server has closed the connection."""
        return self._file.read(int.from_bytes(self._file.read(4), "big"))

    def ask(self, method: str, *arguments: Any) -> str:
        """Return which kind of answer the server gives: a reply, an error, or none."""
        self._number += 1
        self.send(pickle.dumps((self._number, False, method, arguments), 3))
        while message := self.receive():
            number, flag, _kind, _value = zodbpickle.loads(message)
            if number == self._number:
                return "error" if flag else "reply"
        return ""


class Runs:
    """A pickle of it runs a command."""

    def __init__(self, told: Path) -> None:
        self._told = told

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._told}",)


# a pack is refused in a thread of its own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_client_that_sends_nonsense_reads_nothing_else_and_disturbs_nobody(operated, tmp_path):
    """Each method gets arguments of each kind; the answer is an error, or nothing of interest."""
    words: tuple[Any, ...] = (None, -1, 1 << 70, 1.5, "../../etc/passwd", "", [], {}, True)
    words += (b"", b"/" * 8, bytes(8), b"\xff" * 8, b"x" * 100_000, "\ud800", ("a",) * 50)
    socket_path = tmp_path / "s"
    before = operated.site.contents()
    with (
        opened_moments(operated.run("open"), OpenOrder(cache=tmp_path / "cache")) as opened,
        served(opened, str(socket_path), operated.run("open").files, read_only=True) as server,
        serving(server),
        client(server.address, tmp_path / "blobs", read_only=True) as connection,
    ):
        with HostileClient(socket_path) as hostile:
            assert hostile.ask("register", "1", True) == "reply"
            answers = {
                hostile.ask(method, *arguments)
                for method in sorted(StorageServer.registered_methods)
                for arguments in [(word,) * count for word in words for count in (1, 2, 3)]
            }
            assert answers == {"reply", "error"}
        for message in (
            pickle.dumps((1, False, "ping", (Runs(tmp_path / "told"),)), 3),
            pickle.dumps((1, False, "__class__", ()), 3),
            pickle.dumps((1, False, "storage", ()), 3),
            b"garbage",
            b"",
        ):
            with HostileClient(socket_path) as hostile, suppress(OSError):
                hostile.send(message)
                assert (
                    hostile.ask("loadBefore", bytes(8), b"\xff" * 8) != "reply"
                )  # it is not registered
        assert not (tmp_path / "told").exists()
        assert connection.root()["values"]["a"]["value"] == 2
        with connection.root()["blobs"]["x"].open() as file:
            assert file.read() == b"second"
    assert operated.site.contents() == before


def test_two_moments_are_open_at_once(operated, tmp_path):
    cache, run = tmp_path / "cache", operated.run("open")
    first = OpenOrder(cache=cache, when=NOON - timedelta(minutes=90))
    with opened_moments(run, first) as [old], opened_moments(run, OpenOrder(cache=cache)) as [new]:
        assert old.storage.lastTransaction() < new.storage.lastTransaction()
        assert old.tid < new.tid == operated.points()[-1].tid


def test_changes_are_kept_beside_the_moment_and_for_it_alone(operated, tmp_path):
    run, changes = operated.run("open"), tmp_path / "changes"
    order = OpenOrder(cache=tmp_path / "cache", changes=changes)
    with opened_moments(run, order) as [opened], closing(ZODB.DB(opened.storage)) as db:
        with db.transaction() as connection:
            connection.root()["tried"] = Blob(b"something")
        with pytest.raises(InUse), opened_moments(run, order):
            pass
    assert changes.stat().st_mode & 0o77 == 0
    with (
        opened_moments(run, order) as [opened],
        closing(ZODB.DB(opened.storage)) as db,
        db.transaction() as connection,
    ):
        with connection.root()["tried"].open() as file:
            assert file.read() == b"something"
        with connection.root()["blobs"]["x"].open() as file:
            assert file.read() == b"second"
    other = order._replace(when=NOON - timedelta(minutes=90))
    with pytest.raises(UsageError, match="another moment"), opened_moments(run, other):
        pass
    other = order._replace(changes=operated.site.directory)
    with pytest.raises(UsageError, match="not empty"), opened_moments(run, other):
        pass


class RunsSomething:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_what_is_written_to_a_moment_is_not_unpickled_there(operated, tmp_path):
    run, order = operated.run("open"), OpenOrder(cache=tmp_path / "c", changes=tmp_path / "changes")
    hostile = pickle.dumps(RunsSomething(tmp_path / "it ran"), 2)
    with opened_moments(run, order) as [opened]:
        storage = opened.storage

        def commit(serial: bytes, extension: bytes = b"") -> None:
            change = TransactionMetaData()
            change.extension_bytes = extension
            storage.tpc_begin(change)
            try:
                storage.store(bytes(8), serial, hostile * 2, "", change)
                storage.tpc_vote(change)
            except BaseException:
                storage.tpc_abort(change)
                raise
            storage.tpc_finish(change)

        with pytest.raises(ConflictError):
            commit(bytes(7) + b"\1")
        commit(storage.getTid(bytes(8)), extension=hostile)
        with pytest.raises(ConflictError):
            commit(bytes(7) + b"\1")
        assert len(storage.history(bytes(8), size=1)) == 1
        [newest] = storage.undoLog(0, 1)
        change = TransactionMetaData()
        storage.tpc_begin(change)
        with suppress(ConflictError, UndoError):
            storage.undo(newest["id"], change)
        storage.tpc_abort(change)
    assert not (tmp_path / "it ran").exists()


def test_a_directory_for_changes_that_others_may_read_is_refused(operated, tmp_path):
    (tmp_path / "changes").mkdir(mode=0o755)
    order = OpenOrder(cache=tmp_path / "cache", changes=tmp_path / "changes")
    refused = pytest.raises(UsageError, match="other users may read")
    with refused, opened_moments(operated.run("open"), order):
        pass
    (tmp_path / "changes").chmod(0o700)
    with opened_moments(operated.run("open"), order):
        pass


def test_storages_of_any_name_have_changes_of_their_own(tmp_path):
    names = ["1", "Data", "a/b", "a_b", "..", "storage-a"]
    moments = {name: MappingStorage(name) for name in names}
    storages = changeable(moments, tmp_path / "changes", Files())
    assert list(storages) == names
    for each in storages.values():
        each.close()
    assert len(list((tmp_path / "changes").glob("*.fs"))) == len(names)


def test_a_moment_before_all_backups_is_refused(operated, tmp_path):
    order = OpenOrder(cache=tmp_path / "cache", when=NOON - timedelta(days=9999))
    with pytest.raises(NoRestorePoint), opened_moments(operated.run("open"), order):
        pass


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "example.com:80", "x", "70000", "::"])
def test_no_address_is_taken_that_other_machines_reach(text):
    with pytest.raises(UsageError):
        address_of(text)


def test_addresses_of_this_machine():
    assert address_of("8100") == ("127.0.0.1", 8100)
    assert address_of("localhost:0") == ("localhost", 0)
    assert address_of("[::1]:8100") == ("::1", 8100)
    assert address_of("./zeo") == "./zeo"
    with pytest.raises(UsageError, match="too long"):
        address_of("/" + "x" * 200)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0", "socket"])
def test_an_address_that_is_taken_is_an_error(tmp_path, text):
    files = Files()
    asked = str(tmp_path / text) if text == "socket" else address_of(text)
    with served([], asked, files, read_only=True) as server:
        taken = address_of(server.address)
        again = served([], taken, files, read_only=True)
        with pytest.raises(BackupError, match="cannot serve there"), again:
            pass
    with served([], taken, files, read_only=True):
        pass


def test_a_socket_without_a_directory_is_an_error(tmp_path):
    nowhere = served([], str(tmp_path / "gone" / "socket"), Files(), read_only=True)
    with pytest.raises(BackupError, match="cannot serve there"), nowhere:
        pass


def test_each_storage_of_the_site_is_in_the_configuration_that_is_shown():
    opened = [OpenedMoment(name, "a stamp", ZERO_TID, None) for name in ("catalog", MAIN)]
    assert zope_conf(opened, "127.0.0.1:8100", Path("/b"), read_only=False) == (
        "<zodb_db catalog>\n    mount-point /catalog\n    <zeoclient>\n"
        "        server 127.0.0.1:8100\n        storage catalog\n        blob-dir /b/catalog\n"
        "    </zeoclient>\n</zodb_db>\n"
        "<zodb_db main>\n    mount-point /\n    <zeoclient>\n"
        "        server 127.0.0.1:8100\n        storage 1\n        blob-dir /b/1\n"
        "    </zeoclient>\n</zodb_db>"
    )


def test_without_zeo_the_command_says_what_to_install(site, capsys, monkeypatch):
    operated = Operated(site)
    operated.backup()
    monkeypatch.setitem(sys.modules, "importlib.util", SimpleNamespace(find_spec=lambda _: None))
    with pytest.raises(momentopening.ConfigurationError, match="ZEO is needed"):
        momentopening.check_zeo()
    assert main("open", "standard", operated.config_path, []) == 2
    assert "collective.recipe.backup[open]" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(site):
    site.commit({"a": 1})
    operated = Operated(site)
    operated.backup()
    # the path of a socket may not be long
    room = Path(tempfile.mkdtemp(dir="/tmp"))
    code = (
        "import sys; from collective.recipe.backup.cli import main; "
        "sys.exit(main('open', 'standard', *sys.argv[1:2], sys.argv[2:]))"
    )
    asked = [str(operated.config_path), "--cache", str(room)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        conf = [process.stdout.readline() for _line in range(8)]
        [address] = [line.split()[1] for line in conf if "server" in line]
        [blobs] = [line.split()[1] for line in conf if "blob-dir" in line]
        assert "        read-only true\n" in conf
        assert os.stat(Path(address).parent).st_mode & 0o77 == 0
        with client(address, Path(blobs), read_only=True) as connection:
            assert connection.root()["values"]["a"]["value"] == 1
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate()
    assert process.returncode == 0
    assert "serving until Ctrl-C" in err
    assert "Traceback" not in err
    room.rmdir()  # nothing is left in it


# the section of a zope.conf


def configured_storage(*lines: str) -> Any:
    section = "\n".join(["%import collective.recipe.backup", "<restorepoint>", *lines])
    return ZODB.config.storageFromString(f"{section}\n</restorepoint>\n")


def test_a_section_of_zope_conf_opens_a_moment(site, tmp_path):
    tids = [site.commit({"a": number}, {"x": b"%d" % number}) for number in (1, 2)]
    operated = Operated(site)
    operated.backup()
    place, cache = operated.place(), f"cache-dir {tmp_path / 'cache'}"
    location = f"location {place.filestorage}"
    ways = {
        "config": (f"config {operated.config_path}", f"before {tids[1].hex()}"),
        "location": (location, f"blob-location {place.blobstorage}", f"moment {tids[0].hex()}"),
    }
    for lines in ways.values():
        with (
            closing(configured_storage(*lines, cache)) as storage,
            closing(ZODB.DB(storage)) as db,
            db.transaction() as connection,
        ):
            assert connection.root()["values"]["a"]["value"] == 1
            with connection.root()["blobs"]["x"].open() as file:
                assert file.read() == b"1"
    with closing(configured_storage(location, cache)) as storage:
        assert storage.lastTransaction() == tids[1]
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_section_takes_what_sitebackup_is_configured_by(site, tmp_path, monkeypatch):
    tid = site.commit({"a": 1})
    toml = site.directory / "sitebackup.toml"
    toml.write_text('datafs = "var/filestorage/Data.fs"\nblob_storage = "var/blobstorage"\n')
    monkeypatch.chdir(site.directory)
    assert sitebackup.main(["backup", "-q"]) == 0
    monkeypatch.chdir(tmp_path)
    cache = f"cache-dir {tmp_path / 'cache'}"
    with closing(configured_storage(f"config {toml}", cache)) as storage:
        assert storage.lastTransaction() == tid


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "either config or location.*config is a file"),
        (["location {0}", "storage x"], "no storage 'x' .there are 1"),
        (["location {0}", "moment x"], "'x' is not a moment .write"),
        (["location {0}", "before yesterday"], "'yesterday'"),
        (["location {0}", "moment today", "before 0"], "before and moment cannot be used together"),
        (["config {0}/sitebackup.toml"], "no option keeep.*sitebackup.toml"),
    ],
)
def test_a_fault_in_a_section_is_named_when_the_section_is_read(tmp_path, lines, words):
    (tmp_path / "sitebackup.toml").write_text("keeep = 3\n")
    text = "\n".join(["<restorepoint old>", *lines, "</restorepoint>"]).format(tmp_path)
    schema = ZConfig.loadSchemaFile(
        io.StringIO(
            '<schema><import package="collective.recipe.backup"/>'
            '<multisection type="ZODB.storage" name="*" attribute="storages"/></schema>'
        )
    )
    refused = pytest.raises(ZConfig.ConfigurationError, match=f"(?s)^<restorepoint old>: .*{words}")
    with refused as told:
        ZConfig.loadConfigFile(schema, io.StringIO(f"{text}\n"))
    assert told.value.__suppress_context__


def test_a_section_whose_moment_is_not_there_says_so_when_it_is_opened(tmp_path):
    with pytest.raises(ZConfig.ConfigurationError, match=r"^<restorepoint>: there is no restore"):
        configured_storage(f"location {tmp_path}")
