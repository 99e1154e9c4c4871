"""Strange things in the place of each small file: every verb ends, and in words.

A named pipe holds up whoever opens it until somebody writes into it, a socket and a directory
cannot be read, and what can be read may be of any size and depth.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.cli import main
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.errors import DONE
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

pytestmark = pytest.mark.usefixtures("leaping")

PATIENCE = 60
"""Seconds after which a verb is taken to wait for something that never comes."""

READERS = (
    ("list",),
    ("status",),
    ("report",),
    ("doctor",),
    ("verify", "--depth", "stored"),
    ("prune", "--dry-run"),
)
CHANGERS = (
    ("restore", "--no-prompt", "--undo"),
    ("backup",),
    ("rehearse",),
    ("prune",),
    ("restore", "--no-prompt"),
    ("restore", "--no-prompt", "--let-go"),
)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    # a path of a socket has room for no more than a hundred bytes
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)


def directory(path: Path) -> None:
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def nothing_in_it(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(5000))


def brackets(path: Path) -> None:
    path.write_bytes(b'{"format": 1, "a": ' + b"[" * 100_000)


def a_terabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


SHAPES = (
    pipe,
    unix_socket,
    directory,
    link_to_itself,
    nothing_in_it,
    zeros,
    brackets,
    a_terabyte,
)

BACKUPS, BLOBS, LIVE = "var/backups", "var/blobstoragebackups", "var/filestorage"
FIRST, LAST = "2026-03-01-13-00-00", "2026-03-01-14-00-00"
PLACES = (
    "parts/backup/whereabouts.json",
    "parts/backup/.backup.lock",
    f"{BACKUPS}/.backup.lock",
    f"{BACKUPS}/.backup.owner",
    f"{BACKUPS}/.backup-damage.json",
    f"{BACKUPS}/.backup-history.jsonl",
    f"{BACKUPS}/.backup-verified.json",
    f"{BACKUPS}/{FIRST}.dat",
    f"{BACKUPS}/{FIRST}.dat.pruned",
    f"{BACKUPS}/{FIRST}.dat.merging",
    f"{BACKUPS}/{FIRST}.json",
    f"{BACKUPS}/{LAST}.json",
    f"{BACKUPS}/{LAST}.blocks",
    f"{BACKUPS}/{LAST}.index",
    f"{BLOBS}/.backup.owner.blobstorage",
    f"{BLOBS}/blobstorage.{FIRST}/about",
    f"{BLOBS}/blobstorage.{FIRST}/checksums",
    f"{BLOBS}/blobstorage.{FIRST}/checksums.added",
    f"{BLOBS}/blobstorage.{FIRST}/blobstorage/.layout",
    f"{LIVE}/Data.fs.restore.json",
    f"{LIVE}/Data.fs.restored.json",
    f"{LIVE}/Data.fs.lock",
    f"{LIVE}/Data.fs.index",
    "var/blobstorage/.layout",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Operated:
    """A site with two restore points, which was restored and verified, and has gone on."""
    site = Site(tmp_path_factory.mktemp("strange") / "site", founded=NOON)
    operated = Operated(site)
    for number in range(2):
        site.commit({"a": number}, {"x": b"%d" % number}, at=operated.now + timedelta(minutes=10))
        operated.backup()
    operated.restore()
    assert main("verify", STANDARD, operated.config_path, ["--sample", "1%"]) == DONE
    site.commit({"a": 3}, {"x": b"3"}, at=operated.now + timedelta(minutes=10))
    shutil.copytree(site.directory, site.directory.with_name("whole"), symlinks=True)
    return operated


@pytest.fixture
def whole(template: Operated) -> Operated:
    shutil.rmtree(template.site.directory)
    shutil.copytree(
        template.site.directory.with_name("whole"), template.site.directory, symlinks=True
    )
    return template


@pytest.fixture
def impatient() -> Iterator[None]:
    """Fail where a test would wait for ever."""

    def give_up(*_arguments: object) -> None:
        raise AssertionError("it waits for something that never comes")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


CASES = [
    pytest.param(place, shape, id=f"{place}-{shape.__name__}")
    for place in PLACES
    for shape in SHAPES
    # what is as large as its tree of blobs has no limit, and is read to its end
    if not (shape is a_terabyte and "blobstorage.2026" in place and "about" not in place)
]


@pytest.mark.parametrize(("place", "shape"), CASES)
def test_every_verb_ends_and_in_words(
    whole: Operated,
    impatient: None,
    capfd: pytest.CaptureFixture[str],
    place: str,
    shape: Callable[[Path], None],
) -> None:
    path = whole.site.directory / place
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    shape(path)

    for verb, *arguments in (*READERS, *CHANGERS):
        code = main(verb, STANDARD, whole.config_path, arguments)

        answer, said = capfd.readouterr()
        assert "unexpected error" not in said, verb
        assert "Traceback" not in said, verb
        if code:
            assert "ERROR: " in said or (verb == "status" and answer), verb
