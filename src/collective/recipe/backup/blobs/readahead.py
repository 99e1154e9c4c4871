"""Let the disk read blobs before it is their turn to be copied.

Each small file that is not in the memory of the kernel yet costs the copier several waits: for its
directory, for its inode and for its bytes.  A process of its own, which changes nothing, waits for
many of them at once.  The bytes are in memory when the copier comes; if they were there before, the
process costs next to nothing.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import process
from collective.recipe.backup.blobs.checksums import Checksum, Checksums
from collective.recipe.backup.blobs.copying import CopyOrder
from collective.recipe.backup.blobs.layout import named
from collective.recipe.backup.times import Tid, pause

AHEAD = 64 << 20
"""Bytes that are read before they are copied: no more than the memory will hold till then."""

_LARGEST = 8 << 20
"""Bytes of a file that are asked for; the kernel sees that the rest is read in its order."""
_EVERY = 50
"""One file of this number is tested for being in memory already."""
_READERS = 8
_BATCH = 16
_WAIT = 0.01
"""Seconds after which it is looked again how far the copier has come."""


class Task(NamedTuple):
    """The work of the process that reads ahead."""

    root: Path  # of the tree to read
    checksums: Checksums  # of the files in it
    target: Path  # directory that the copier fills in order
    until: Tid  # last transaction whose blobs are copied
    copier: int  # process id


@contextmanager
def reading_ahead(task: Task) -> Iterator[Callable[[Iterable[CopyOrder]], Iterable[CopyOrder]]]:
    """Yield what hands on orders, and lets the tree be read a little ahead of them.

    That begins with the first file, of those that are looked at, which is not in the memory of
    the kernel; it ends with the body.
    """
    helps = process.can_compute() and hasattr(os, "posix_fadvise")
    with ExitStack() as stack:
        yield partial(_watched, task, stack) if helps else _itself


def _itself(orders: Iterable[CopyOrder]) -> Iterable[CopyOrder]:
    return orders


def _watched(task: Task, stack: ExitStack, orders: Iterable[CopyOrder]) -> Iterator[CopyOrder]:
    begun = False
    for number, order in enumerate(orders):
        if not begun and number % _EVERY == 0 and not _is_in_memory(task.root, order.entry.path):
            stack.enter_context(process.computing(__name__, pickle.dumps(task)))
            begun = True
        yield order


def _is_in_memory(root: Path, path: str) -> bool:
    """Tell whether the kernel has the first bytes of a file; False where it does not say."""
    try:
        descriptor = os.open(f"{root}/{path}", _FLAGS)
    except OSError:  # the copier meets that as well, and reports it
        return True
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except (OSError, AttributeError):  # it is not, or the system knows no such question
        return False
    finally:
        os.close(descriptor)
    return True


def main() -> None:
    """Read ahead what standard input asks for: see process.computing."""
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301  our own process wrote it
    read(task, AHEAD)


def read(task: Task, ahead: int) -> int:
    """Read at most *ahead* bytes before they are copied; return how many files were asked for.

    Ends when the copier has died.
    """
    number, size = 0, 0
    asked: deque[Future[None]] = deque()
    to_come: deque[tuple[str, int]] = deque()
    rest = (each for each in task.checksums if _is_copied(each, task.until))
    with ThreadPoolExecutor(_READERS, "readahead") as pool:
        while batch := list(islice(rest, _BATCH)):
            asked.append(pool.submit(_ask_for, os.fspath(task.root), batch))
            if len(asked) > 2 * _READERS:
                asked.popleft().result()
            to_come.append((f"{task.target}/{batch[-1].path}", sum(map(_room, batch))))
            number, size = number + len(batch), size + to_come[-1][1]
            while size > ahead and len(to_come) > 1:
                while not os.path.lexists(to_come[0][0]):
                    if os.getppid() != task.copier:
                        return number
                    pause(_WAIT)
                size -= to_come.popleft()[1]
    return number


def _is_copied(checksum: Checksum, until: Tid) -> bool:
    entry = named(checksum.path)
    return entry is not None and not entry.is_later(until)


def _room(checksum: Checksum) -> int:
    return min(checksum.size or 0, _LARGEST)


def _ask_for(root: str, batch: list[Checksum]) -> None:
    for checksum in batch:
        with suppress(OSError):  # the copier meets it as well, and reports it
            descriptor = os.open(f"{root}/{checksum.path}", _FLAGS)
            try:
                os.posix_fadvise(descriptor, 0, _LARGEST, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)


_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
