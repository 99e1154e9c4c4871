"""Root works in directories of a user who is no friend: nothing outside of them changes.

That user may exchange at any moment whatever lies in these directories, and the directories
themselves, for links to what is root's alone.  The run may fail then, for that user has
spoilt nothing but what is that user's own.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from collective.recipe.backup import history
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.links import StrPath
from collective.recipe.backup.operations.prune import prune
from collective.recipe.backup.operations.undo import let_go, undo
from collective.recipe.backup.restoring import journal
from collective.recipe.backup.restoring.moves import staged_path
from collective.recipe.backup.tests.faults.harness import WAITING, Hasty
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is not installed")

USER = 65534
MARK = b"for root alone"
BY_DESCRIPTOR = {"write", "truncate", "clone", *WAITING}
TEMPORARY = re.compile(r"(\.[0-9a-f]{8}\.partial|\.restoring|\.replaced)+$")


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(os.path.realpath(name))


EXCHANGE = """
mv -T "$1" "$1.aside" 2>/dev/null
ln -sT "$2" "$1" 2>/dev/null
"""
AGAIN_AND_AGAIN = """
text=$1
shift
while :; do
    for name; do
        [ ! -e "$name" ] || [ -L "$name" ] || ln -sfT "$text" "$name" 2>/dev/null
    done
done
"""


def by_the_user(code: str, *arguments: Path) -> subprocess.Popen[bytes]:
    """Start a shell of the user."""
    return subprocess.Popen(["sh", "-c", code, "sh", *arguments], user=USER, group=USER)


def given_away(directory: Path) -> None:
    """Let all below *directory* belong to the user."""
    for path in [directory, *directory.rglob("*")]:
        os.lchown(path, USER, USER)


def seen(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return all that can be known of what lies in *directory*, the names of it included."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else None
        numbers = (status.st_ino, status.st_mode, status.st_uid, status.st_nlink)
        found[str(path)] = (*numbers, status.st_mtime_ns, status.st_ctime_ns, data)
    return found


class Treasure:
    """What belongs to root: a tree with the names that the site has, and a file."""

    def __init__(self, directory: Path, like: Path) -> None:
        self.root = directory / "treasure"
        shutil.copytree(like, self.root, symlinks=True)
        self.secret = self.root / "secret"
        self.secret.write_bytes(MARK)
        for path in self.root.rglob("*"):
            if path.is_file():
                path.chmod(0o600)
        self._before = seen(self.root)

    def counterpart(self, path: Path) -> Path:
        """Return what lies where *path* would in the site, or the file."""
        name = TEMPORARY.sub("", path.name)
        place = self.root / path.parent / name
        return place if place.is_dir() else self.secret

    def check(self, site: Path) -> None:
        """Check that it is as it was, and that the user has not been given a copy of it."""
        assert seen(self.root) == self._before
        for path in site.rglob("*"):
            status = path.lstat()
            if path.is_file() and not path.is_symlink() and MARK in path.read_bytes():
                assert status.st_uid == 0, path
                assert not status.st_mode & 0o077, path


class Exchanging(Hasty):
    """Files whose user exchanges, just before change number *at*, what it is about."""

    def __init__(self, attack: Callable[[Path], object], of: str, at: int) -> None:
        super().__init__()
        self.count = 0
        self._attack = attack
        self._of = of
        self._at = at

    def _change(
        self, operation: str, path: StrPath, function: Any, *args: Any, **kwargs: Any
    ) -> Any:
        attacked = Path(path)
        named = operation not in BY_DESCRIPTOR
        if self._of.startswith("source"):
            named = operation in {"rename", "link"}
            attacked = Path(args[0]) if named else attacked
        if named:
            self.count += 1
            if self.count == self._at:
                self._attack(attacked.parent if self._of.endswith("directory") else attacked)
        return super()._change(operation, path, function, *args, **kwargs)


def exchange(path: Path, text: Path) -> None:
    """Put a link to *text* in the place of *path*, as far as the user can."""
    by_the_user(EXCHANGE, path, text).wait()


def backed_up(directory: Path, **options: Any) -> Operated:
    """Return a site with a backup of NOON, and something newer."""
    operated = Operated(Site(directory), **options)
    operated.site.commit({"a": 1}, {"x": b"blob"}, at=NOON)
    operated.backup()
    operated.site.commit({"a": 2}, {"x": b"changed", "y": b"new"})
    return operated


def fresh(directory: Path) -> Operated:
    operated = Operated(Site(directory))
    operated.site.commit({"a": 1}, {"x": b"blob"}, at=NOON)
    return operated


def spoilt(directory: Path) -> Operated:
    """Return a site that is replaced whole, and not changed in place."""
    operated = backed_up(directory)
    operated.site.filestorage.write_bytes(b"nothing that could be kept")
    shutil.rmtree(operated.site.blobstorage)
    return operated


def restored(directory: Path) -> Operated:
    operated = backed_up(directory)
    operated.restore()
    return operated


def replaced(directory: Path) -> Operated:
    operated = spoilt(directory)
    operated.restore()
    return operated


def kept_too_long(directory: Path) -> Operated:
    operated = backed_up(directory, keep=3)
    operated.backup(full=True)
    return Operated(operated.site, keep=1)


def archived(directory: Path) -> Operated:
    return backed_up(directory, archive_blob=True)


def archived_and_lost(directory: Path) -> Operated:
    operated = archived(directory)
    operated.site.lose()
    return operated


def told(operated: Operated, files: Files) -> None:
    """Write what a run writes about itself."""
    record = history.RunRecord(
        verb="backup",
        destination="standard",
        started=operated.now,
        process=os.getpid(),
        host="here",
    )
    place = operated.place().filestorage
    history.append(place, record, files)
    history.append(place, record, files)
    files.publish(place / "metrics", b"backup 1\n")


Make = Callable[[Path], Operated]
Act = Callable[[Operated, Files], object]

VERBS: dict[str, tuple[Make, Act]] = {
    "first backup": (fresh, lambda it, files: it.backup(files=files)),
    "backup": (backed_up, lambda it, files: it.backup(files=files)),
    "full backup": (kept_too_long, lambda it, files: it.backup(files=files, full=True)),
    "prune": (kept_too_long, lambda it, files: prune(it.run("prune", files=files))),
    "restore": (spoilt, lambda it, files: it.restore(files=files)),
    "restore in place": (backed_up, lambda it, files: it.restore(files=files)),
    "undo": (replaced, lambda it, files: undo(it.run("restore", files=files))),
    "undo in place": (restored, lambda it, files: undo(it.run("restore", files=files))),
    "let go": (replaced, lambda it, files: let_go(it.run("restore", files=files))),
    "backup to archives": (archived, lambda it, files: it.backup(files=files)),
    "restore of archives": (archived_and_lost, lambda it, files: it.restore(files=files)),
    "told": (backed_up, told),
}


@pytest.mark.parametrize("of", ["name", "directory", "source", "source's directory"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_user_who_exchanges_what_a_change_is_about_gains_nothing(
    ground: Path, verb: str, of: str
) -> None:
    make, act = VERBS[verb]
    operated = make(ground / "site")
    site = operated.site.directory
    treasure = Treasure(ground, site)
    pristine = site.rename(ground / "pristine")

    def attack(path: Path) -> None:
        if path != site and path.is_relative_to(site):
            exchange(path, treasure.counterpart(path.relative_to(site)))

    for at in itertools.count(1):
        world_of(operated, pristine)
        files, outcome = Exchanging(attack, of, at), None
        try:
            act(operated, files)
        except (OSError, BackupError) as error:
            outcome = error
        treasure.check(site)
        if files.count < at:
            break
        shutil.rmtree(site)
    assert outcome is None, "it does not work without an attack either"
    assert at > 1 or of.startswith("source"), "there was nothing to exchange"


def world_of(operated: Operated, pristine: Path) -> None:
    """Make the site of *operated* what is *pristine*, and let it belong to the user."""
    shutil.copytree(pristine, operated.site.directory, symlinks=True)
    noted = journal.journal_path(operated.site.filestorage)
    found = journal.read(noted)
    if found.state is not None:
        # it knows the restored file by its inode
        journal.write(noted, found.state, found.moves, Hasty())
    given_away(operated.site.directory)


def test_a_process_that_exchanges_paths_all_the_time_gains_nothing(ground: Path) -> None:
    """Where a name was given its owner by its path, it took four tries at most."""
    make, act = VERBS["restore"]
    operated = make(ground / "site")
    site = operated.site.directory
    treasure = Treasure(ground, site)
    pristine = site.rename(ground / "pristine")
    for number in range(10):
        world_of(operated, pristine)
        lives = operated.site.filestorage, operated.site.blobstorage
        staged = [staged_path(live) for live in lives]
        with by_the_user(AGAIN_AND_AGAIN, treasure.secret, *staged) as process:
            with suppress(OSError, BackupError):
                act(operated, Files())
            process.kill()
        treasure.check(site)
        site.rename(ground / f"tried {number}")
