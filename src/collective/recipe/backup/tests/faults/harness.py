"""Faults as ordinary input: a Files that dies, runs out of space or meets a broken disk.

A scenario is run again and again, and each time its next change to the disk goes wrong, in
each of these ways::

    BEFORE     the process dies just before the change
    DURING     the process dies in the middle of a write, half of which is on the disk
    AFTER      the process dies just after the change
    POWER_CUT  the machine dies just after the change: what was not fsynced is gone
    NO_SPACE   the disk is full: a write is cut short, then nothing more can be added
    EIO        this one change fails, all others succeed

For all that the package does on the way out a dead process is dead: after a Crash each
further change raises Crash too.
"""

from __future__ import annotations

import enum
import errno
import itertools
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.links import StrPath

World = TypeVar("World")
Undo = Callable[[], object]

ADDING = {"create", "write", "mkdir", "link", "symlink"}
"""Operations that need room on the disk."""


class Crash(BaseException):
    """The process died here.  Not an Exception: no handler may survive it."""


class Fault(enum.Enum):
    """What goes wrong; see the docstring of the module."""

    BEFORE = enum.auto()
    DURING = enum.auto()
    AFTER = enum.auto()
    POWER_CUT = enum.auto()
    NO_SPACE = enum.auto()
    EIO = enum.auto()


WAITING = {"fsync", "syncfs"}
"""Operations that change nothing for those who look: no test cuts the power for real."""

BY_CHANCE = re.compile(rb'"(?:inode|key|check)": (?:"[0-9a-f]+"|\d+)')
"""What marks in a directory say of it that is another each time, with its checksum."""

ROOMLESS = {"unlink", "rmdir", "chmod", "chown", "utime"}
"""Operations that no full disk refuses; a broken one does."""


class Hasty(Files):
    """Files that do not wait for the disk: for what a test does besides the faults."""

    def _change(
        self, operation: str, path: StrPath, function: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return None if operation in WAITING else function(*args, **kwargs)


class Dying(Hasty):
    """Files that make some changes and then none at all."""

    def __init__(self, changes: int) -> None:
        super().__init__()
        self._left = changes

    def _change(self, operation, path, function, *args, **kwargs):
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return super()._change(operation, path, function, *args, **kwargs)


SYNC_OF_A_DIRECTORY = "fsync of a directory"


class Refusing(Files):
    """Files on a disk that always refuses some *operations*, with an error *number*.

    ``struck`` is what it refused, as (operation, path).  Of fsync it is only that of
    directories which can be refused, by the name SYNC_OF_A_DIRECTORY.
    """

    def __init__(self, operations: Collection[str], number: int) -> None:
        super().__init__()
        self.struck: list[tuple[str, Path]] = []
        self._operations = operations
        self._number = number

    def _change(
        self, operation: str, path: StrPath, function: Any, *args: Any, **kwargs: Any
    ) -> Any:
        def refused() -> None:
            # as from a call on a descriptor, which names no path
            raise OSError(self._number, os.strerror(self._number))

        if operation == "fsync" and Path(path).is_dir():
            operation = SYNC_OF_A_DIRECTORY
        if operation in self._operations:
            self.struck.append((operation, Path(path)))
            return super()._change(operation, path, refused)
        if operation in {*WAITING, SYNC_OF_A_DIRECTORY}:
            return None
        return super()._change(operation, path, function, *args, **kwargs)


CRASHES = (Fault.BEFORE, Fault.DURING, Fault.AFTER, Fault.POWER_CUT)


class FaultyFiles(Files):
    """Files whose change number *at* (from 1) goes wrong; without a *fault* it only counts.

    ``changes`` are all changes that were asked for, as (operation, path); ``struck`` says
    which one went wrong, None as long as none did.  ``taken_back`` are the numbers of those
    that a power cut just after them takes back wholly, as long as none goes wrong.
    """

    def __init__(self, fault: Fault | None = None, at: int = 0) -> None:
        super().__init__()
        self.fault = fault
        self.at = at
        self.changes: list[tuple[str, Path]] = []
        self.struck: tuple[str, Path] | None = None
        self.taken_back: set[int] = set()
        self._counted = 0
        self._unsynced = Unsynced() if fault is Fault.POWER_CUT else None
        self._lock = threading.RLock()

    def _change(
        self, operation: str, path: StrPath, function: Any, *args: Any, **kwargs: Any
    ) -> Any:
        with self._lock:  # large blobs are copied by two threads
            return self._one_change(operation, Path(path), function, *args, **kwargs)

    def _one_change(
        self, operation: str, path: Path, function: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if self.struck:
            self._after_the_fault(operation, path)
        self.changes.append((operation, path))
        # only a write can be half done
        self._counted += self.fault is not Fault.DURING or operation == "write"
        if self.fault is None or self.struck or self._counted != self.at:
            return self._do(operation, path, function, *args, **kwargs)
        self.struck = operation, path
        return self._strike(operation, path, function, *args, **kwargs)

    def _do(self, operation: str, path: Path, function: Any, *args: Any, **kwargs: Any) -> Any:
        if self._unsynced is None:
            return None if operation in WAITING else function(*args, **kwargs)
        undo = self._unsynced.before(operation, path, args)
        size = size_of(args) if operation == "write" else 0
        result = None if operation in WAITING else function(*args, **kwargs)
        self._unsynced.after(operation, path, undo)
        if undo is not None or (operation == "write" and size_of(args) == size + result):
            self.taken_back.add(len(self.changes))
        return result

    def _strike(self, operation: str, path: Path, function: Any, *args: Any, **kwargs: Any) -> Any:
        if self.fault is Fault.EIO:
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
        if self.fault is Fault.NO_SPACE and operation != "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        if self.fault in {Fault.DURING, Fault.NO_SPACE}:
            written = function(*half(args), **kwargs)
            if self.fault is Fault.NO_SPACE:
                return written
        elif self.fault is not Fault.BEFORE:
            self._do(operation, path, function, *args, **kwargs)
        if self._unsynced is not None:
            self._unsynced.lose()
        raise Crash(f"{self.fault.name} {operation} {path}")

    def _after_the_fault(self, operation: str, path: Path) -> None:
        if self.fault in CRASHES:
            raise Crash(f"{operation} {path} by a process that is dead")
        if self.fault is Fault.NO_SPACE and operation in ADDING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))


@contextmanager
def failing_reads(
    path: Path, *, after: int = 0, number: int | None = errno.EIO, times: int = 1000
) -> Iterator[None]:
    """Let reads of the file *path* fail inside the body once *after* bytes of it were read.

    They fail with the error *number*, as on a bad sector; None: the file just ends there, as
    with a network that lost its memory.  After *times* failures the file is healthy again.
    """
    sick = path.stat()
    failures = itertools.count()
    healthy = os.read

    def read(descriptor: int, size: int) -> bytes:
        if not os.path.samestat(os.fstat(descriptor), sick):
            return healthy(descriptor, size)
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        if at < after:
            return healthy(descriptor, min(size, after - at))
        if next(failures) < times:
            if number is None:
                return b""
            raise OSError(number, os.strerror(number))
        return healthy(descriptor, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", read)
        patch.setattr(os, "copy_file_range", _refused)
        yield


def _refused(*_args: object) -> int:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def half(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a write or copy_file_range, for half of it at most."""
    *head, last = args
    if isinstance(last, int):
        return *head, max(1, min(last, os.fstat(head[0]).st_size) // 2)
    return *head, last[: max(1, len(last) // 2)]


def written(args: tuple[Any, ...]) -> int:
    """Return the descriptor that a write or copy_file_range writes to."""
    descriptor: int = args[1] if len(args) == 3 else args[0]
    return descriptor


def size_of(args: tuple[Any, ...]) -> int:
    """Return the size of the file that a write or copy_file_range writes to."""
    return os.fstat(written(args)).st_size


class Unsynced:
    """What a power cut would lose: entries of directories and bytes that nobody fsynced yet.

    It loses all of that, which no real file system is so strict to do; what survives
    this survives every order in which a kernel writes its caches back.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[set[Path], Undo]] = []
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self._graveyard = Path(tempfile.mkdtemp(prefix="unsynced-"))
        self._graves = itertools.count()

    def __del__(self) -> None:
        shutil.rmtree(self._graveyard, ignore_errors=True)
        for descriptor, _size in self._sizes.values():
            os.close(descriptor)

    def before(self, operation: str, path: Path, args: tuple[Any, ...]) -> Undo | None:
        """Note what is there before a change; return what takes the change back."""
        if operation == "write":
            self._remember_size(written(args))
        elif operation == "fsync" and not path.is_dir():
            self._forget_size(args[0])
        elif operation in {"create", "symlink", "link"} and not os.path.lexists(path):
            return lambda: path.unlink(missing_ok=True)
        elif operation == "mkdir" and not path.exists():
            # what is fsynced in a directory that is lost is lost with it; and it may be gone
            # with one above it whose removal is durable
            return lambda: path.is_dir() and shutil.rmtree(path)
        elif operation == "rmdir":
            return lambda: path.parent.is_dir() and path.mkdir()
        elif operation == "unlink":
            return self._resurrection(path)
        elif operation == "rename":
            return self._renaming_back(args[0], args[1])
        return None

    def after(self, operation: str, path: Path, undo: Undo | None) -> None:
        """Note that a change was made; *undo* is what before() returned."""
        if undo is not None:
            self._entries.append(({path.parent}, undo))
        elif operation == "syncfs":
            self._entries.clear()
            for descriptor, _size in self._sizes.values():
                os.close(descriptor)
            self._sizes.clear()
        elif operation == "fsync":
            for directories, _undo in self._entries:
                directories.discard(path)
            self._entries = [entry for entry in self._entries if entry[0]]

    def lose(self) -> None:
        """Take back, newest first, all that is not durable."""
        for _directories, undo in reversed(self._entries):
            undo()
        self._entries.clear()
        for descriptor, size in self._sizes.values():
            os.ftruncate(descriptor, size)
            os.close(descriptor)  # it would hold the locks of the dead
        self._sizes.clear()

    def _remember_size(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        key = status.st_dev, status.st_ino
        if key not in self._sizes:
            self._sizes[key] = os.dup(descriptor), status.st_size

    def _forget_size(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        copy, _size = self._sizes.pop((status.st_dev, status.st_ino), (None, 0))
        if copy is not None:
            os.close(copy)

    def _resurrection(self, path: Path) -> Undo:
        grave = self._graveyard / str(next(self._graves))
        try:
            os.link(path, grave, follow_symlinks=False)
        except OSError:  # the graveyard lies on another file system
            shutil.copy2(path, grave, follow_symlinks=False)

        def resurrect() -> None:
            if not path.parent.is_dir():
                return  # a directory whose removal is durable is gone with all that was in it
            with suppress(FileNotFoundError):
                path.unlink()
            shutil.move(grave, path)

        return resurrect

    def _renaming_back(self, source: Path, target: Path) -> Undo:
        replaced = None
        if target.is_symlink() or target.is_file():
            replaced = self._resurrection(target)

        def rename_back() -> None:
            target.rename(source)
            if replaced:
                replaced()

        return rename_back


def every_fault(
    make: Callable[[], World],
    act: Callable[[World, FaultyFiles], object],
    *,
    faults: Collection[Fault] = tuple(Fault),
) -> Iterator[tuple[World, BaseException | None, str]]:
    """Run *act* on a new world of *make* once for each fault and each change that it makes.

    What would leave the disk as another fault of them does is left out; see ``numbers``.
    Yields the world as it was left, what *act* raised (None: it returned all the same, so
    its work must be done) and words that say which fault it was.
    """
    counting = FaultyFiles(Fault.POWER_CUT)
    act(make(), counting)
    assert counting.changes, "the scenario changes nothing"
    for fault in faults:
        for at in numbers(fault, counting, faults):
            files = FaultyFiles(fault, at)
            world = make()
            outcome: BaseException | None = None
            try:
                act(world, files)
            except (Crash, OSError, BackupError) as error:
                outcome = error
            if not files.struck:  # by two threads it makes more changes at one time than at another
                if outcome is not None:
                    raise outcome
                continue
            assert fault not in CRASHES or isinstance(outcome, Crash), "it survived its death"
            operation, path = files.struck
            yield world, outcome, f"{fault.name} at change {at}: {operation} {path.name}"


def numbers(fault: Fault, counted: FaultyFiles, faults: Collection[Fault]) -> Sequence[int]:
    """Return the numbers (from 1) of the changes at which *fault*, one of *faults*, strikes.

    After a change the disk is as before the next one, and as after the next ones if a power cut
    takes those back; a full disk refuses nothing that needs no room.  For *DURING* only writes
    are numbered.
    """
    operations = [operation for operation, _path in counted.changes]
    every = range(1, len(operations) + 1)
    if fault is Fault.DURING:
        return range(1, operations.count("write") + 1)
    if fault is Fault.AFTER and Fault.BEFORE in faults:
        return every[-1:]
    if fault is Fault.POWER_CUT:
        return [at for at in every if at == 1 or at not in counted.taken_back]
    if fault is Fault.NO_SPACE:
        return [at for at in every if operations[at - 1] not in ROOMLESS]
    return every


def picture(root: Path) -> Iterator[tuple[object, ...]]:
    """Yield all that lies in *root*, but for its times, wherever that is and as if by chance."""
    inodes: dict[int, int] = {}
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted([*names, *files], key=told):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            yield (
                told(os.path.relpath(path, root)),
                status.st_mode,
                inodes.setdefault(status.st_ino, len(inodes)),
                BY_CHANCE.sub(b"", content.replace(os.fsencode(root), b"/")),
            )


def told(name: str) -> str:
    """Return *name*, of a file or a path, without what chance has added to it."""
    return re.sub(r"\.[0-9a-f]{8}\.partial\b", ".partial", name)


def survive_every_fault(
    make: Callable[[], World],
    act: Callable[[World, FaultyFiles], object],
    check: Callable[[World, BaseException | None], object],
    *,
    faults: Collection[Fault] = tuple(Fault),
    disk: Callable[[World], Path] | None = None,
) -> int:
    """Call *check* after each fault of every_fault; return how many there were.

    *disk* is the directory that holds all of a world (None: there is none).  What lies in it, after
    an error of one kind, is checked once, however many faults leave it.  A check that fails names
    the fault.
    """
    count = 0
    checked: set[object] = set()
    for world, outcome, fault in every_fault(make, act, faults=faults):
        count += 1
        if disk is not None:
            left = type(outcome), *picture(disk(world))
            if left in checked:
                continue
            checked.add(left)
        try:
            check(world, outcome)
        except Exception as error:
            raise AssertionError(f"after {fault}: {type(error).__name__}: {error}") from error
    assert count, "no fault struck"
    return count
