"""A store in a directory: of a local disk, or of anything that is mounted.

An object is a file, and its name is its path below the directory.  Files and directories are
for their owner alone (modes 600 and 700).  A file comes to be as every other one does (see
``files``), but it never takes the place of another.

The clock of the store is that of its file system: what it writes as the time of a new file.
On a network file system that is the server's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    StoreRefused,
    StoreUnreachable,
    from_os_error,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.stores import (
    CHECK,
    Buffer,
    NoSuchObject,
    ObjectExists,
    Promises,
    StoredObject,
    Views,
    Weakness,
    checked,
    is_name,
    nothing_above,
)
from collective.recipe.backup.stores.allowance import Allowance

_PRIVATE = 0o700
_AWAY = {
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
    errno.ENODEV,
    errno.ENXIO,
}
"""Numbers of the errors of a mounted disk that is not there any more."""

_UNREADABLE = {errno.EIO, errno.EBADMSG, errno.EILSEQ, errno.EUCLEAN}
"""Numbers of the errors of bytes that a disk cannot read, or that its own check sums disprove."""


class LocalStore:
    """The store in the directory *root*, an absolute path."""

    promises = Promises(parallel=1, gap=1 << 16)

    def __init__(self, root: Path, files: Files, allowance: Allowance | None = None) -> None:
        self.location = str(root)
        self._allowance = allowance or Allowance()
        self._root = root
        self._files = files
        self._made: set[Path] = set()

    def prepare(self) -> None:
        """Make the directory, but none above it: a disk that is not mounted would lack that."""
        with self._told("cannot make the directory of the repository"):
            if not self._root.parent.is_dir():
                raise nothing_above(self.location)
            if not self._root.is_dir():
                self._make(self._root)

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:  # noqa: ARG002  protocol
        """Write a file."""
        path = self._path(name)
        self._allowance.ask()
        with self._told("cannot write to the repository"):
            self._make_way(path.parent)
            try:
                with self._files.creating(path) as writer:
                    for piece in self._allowance.pieces(data):
                        writer.write(piece)
                return _stored(path.stat())
            except FileExistsError as error:
                raise ObjectExists(name) from error

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Read a file, or a range of it."""
        path = self._path(name)
        self._allowance.ask()
        with self._told("cannot read the repository"):
            try:
                with open_regular(path) as file:
                    there = os.fstat(file.fileno()).st_size
                    wanted = there - start if size is None else size
                    if start + wanted > there or wanted < 0:
                        raise NoSuchObject(f"{name} has {there} bytes")
                    extents = self._allowance.extents(start, wanted)
                    return b"".join(self._read(name, file.fileno(), each) for each in extents)
            except FileNotFoundError as error:
                self._must_be_there()
                raise NoSuchObject(name) from error

    def _read(self, name: str, descriptor: int, extent: tuple[int, int]) -> bytes:
        """Return bytes of a file that is open: where they begin, and how many."""
        try:
            return _bytes(descriptor, *extent)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            raise IntegrityError(
                f"an object of the repository cannot be read: {error.strerror}",
                where=f"{self.location}/{name}",
                hint="the disk or its connection is failing: look into the system log; heal "
                "stores again what can be read",
            ) from error

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Walk the directories in which such names can lie."""
        above = prefix.rpartition("/")[0]
        self._allowance.ask()
        with self._told("cannot list the repository"):
            self._must_be_there()
            yield from self._below(above, prefix)

    def delete(self, name: str) -> None:
        """Remove a file."""
        path = self._path(name)
        self._allowance.ask()
        with self._told("cannot remove from the repository"):
            try:
                self._files.remove(path)
            except FileNotFoundError:
                self._must_be_there()
            except PermissionError as error:
                # of a disk, or a directory, to which one may only add
                raise StoreRefused(
                    f"cannot remove from the repository: {error.strerror}",
                    where=path,
                    hint="run this as a user who may remove there, on the machine that has the "
                    "disk if need be; what is stored stays as it is",
                ) from error

    def sweep(self) -> None:
        """Remove files under temporary names that no writer has locked; see Store."""
        with self._told("cannot clean up the repository"):
            directories = [Path(directory) for directory in self._directories()]
            for directory in directories:
                self._files.sweep(directory, alone=False)
            check = self._root / CHECK
            for directory in reversed(directories):
                if directory.is_relative_to(check):
                    self._files.remove_empty(directory)

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:  # noqa: ARG002  protocol
        """Yield nothing: a file is kept once, and stays."""
        return iter(())

    def show(self, views: Views, *, anew: bool = False) -> None:
        """Do nothing: objects are seen by their names."""

    def clock(self) -> datetime:
        """Make a file that is gone at once, and look at its time."""
        self._allowance.ask()
        with self._told("cannot ask the repository for the time"):
            self._must_be_there()
            with self._files.scratch(self._root / "clock") as writer:
                return _stored(os.fstat(writer.descriptor))

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _path(self, name: str) -> Path:
        return self._root.joinpath(*checked(name).split("/"))

    def _must_be_there(self) -> None:
        """Raise StoreUnreachable where the directory is missing: nothing may be made beneath."""
        if not self._root.is_dir():
            raise StoreUnreachable(
                "the directory of the repository is not there",
                where=self._root,
                hint="is the disk mounted, and is the path right?  A new repository is made once, "
                "by init, which makes the directory; check-store wants it made",
            )

    def _make_way(self, directory: Path) -> None:
        """Make the directory of an object, durably; the one of the store must be there."""
        if directory in self._made:
            return
        self._must_be_there()
        for each in reversed([directory, *directory.parents]):
            if each != self._root and self._root in each.parents and not each.is_dir():
                self._make(each)
        self._made.add(directory)

    def _make(self, directory: Path) -> None:
        self._files.make_directory(directory, _PRIVATE)
        self._files.sync_directory(directory.parent)

    def _directories(self) -> Iterator[str]:
        for directory, names, _files in os.walk(self._root, onerror=_raise):
            names[:] = [each for each in names if is_name(each)]
            yield directory

    def _below(self, above: str, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects in the directory *above* that have the prefix, sorted."""
        try:
            with os.scandir(self._root / above) as entries:
                # a name counts with the slash that would follow it, as a flat store has it
                found = sorted((_sortable(each), each) for each in entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        for _key, entry in found:
            name = f"{above}/{entry.name}" if above else entry.name
            if not is_name(name) or not (name.startswith(prefix) or prefix.startswith(name + "/")):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(name, prefix)
            elif name.startswith(prefix):
                yield from _entry(name, entry)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _explained(error, what, self._root) from error


def _entry(name: str, entry: os.DirEntry[str]) -> Iterator[StoredObject]:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # removed since
        return
    if stat.S_ISREG(status.st_mode):
        yield StoredObject(name, status.st_size, _stored(status))


def _sortable(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _stored(status: os.stat_result) -> datetime:
    # integers: a float has not enough digits for microseconds
    seconds, rest = divmod(status.st_mtime_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.replace(microsecond=rest // 1000)


def _bytes(descriptor: int, start: int, size: int) -> bytes:
    """Return *size* bytes from *start* on.  Raises NoSuchObject where the file got shorter."""
    pieces = []
    while size:
        piece = os.pread(descriptor, size, start)
        if not piece:
            raise NoSuchObject("it got shorter while it was read")
        pieces.append(piece)
        start += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _explained(error: OSError, what: str, root: Path) -> BackupError:
    told = from_os_error(error, what, root)
    if error.errno not in _AWAY:
        return told
    hint = "the disk is not there any more, or its server does not answer: look at the mount"
    return StoreUnreachable(told.what, where=told.where, hint=hint)


def _raise(error: OSError) -> None:
    raise error
