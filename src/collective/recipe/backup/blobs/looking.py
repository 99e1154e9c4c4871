"""A look at each file of a live blobstorage, in the order of the walk.

To walk through a large tree and to look at each file costs as much as to go through the list of
what it is compared with.  So a process of its own, which changes nothing, looks a little ahead.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from collective.recipe.backup import process
from collective.recipe.backup.blobs.layout import Kind, walk

_BATCH = 500


class Seen(NamedTuple):
    """What lies in the tree."""

    path: str  # below the root
    kind: Kind
    size: int  # bytes; 0 for a directory
    time: int  # of its last change, nanoseconds since 1970; 0 for a directory
    device: int  # number of the file system that it is on; 0 for a directory


class LookFailed(Exception):  # noqa: N818  no error: the work is done without it
    """The other process has not come to its end."""


def look(root: Path) -> Iterator[Seen]:
    """Yield what lies below *root*.  Raises OSError."""
    top = os.fspath(root)
    for path, kind in walk(root):
        if kind in (Kind.DIRECTORY, Kind.UNREADABLE):
            yield Seen(path, kind, 0, 0, 0)
        else:
            status = os.lstat(f"{top}/{path}")
            yield Seen(path, kind, status.st_size, status.st_mtime_ns, status.st_dev)


def look_ahead(root: Path) -> Generator[Seen, None, None]:
    """Yield it as another process sees it, while that goes on.

    Raises LookFailed if that process does not come to its end.
    """
    with process.computing(__name__, os.fsencode(root)) as answer:
        if answer is None:
            raise LookFailed
        while batch := _batch(answer):
            for path, kind, size, time, device in batch:
                yield Seen(path, _KINDS[kind], size, time, device)


def _batch(answer: IO[bytes]) -> list[tuple[str, str, int, int, int]]:
    try:
        found = pickle.load(answer)  # noqa: S301  our own process wrote it
    except _NO_PICKLE as error:
        # somebody else may have written to its output as well, as a sitecustomize can
        raise LookFailed from error
    if not isinstance(found, list):
        raise LookFailed
    return found


_NO_PICKLE = (
    *(pickle.UnpicklingError, EOFError, ValueError, LookupError),
    *(AttributeError, ImportError, TypeError),
)
"""What other bytes than a pickle raise."""

_KINDS = {kind.value: kind for kind in Kind}


def main() -> None:
    """Look at the tree that standard input names: see process.computing."""
    root = Path(os.fsdecode(sys.stdin.buffer.read()))
    with closing(sys.stdout.buffer) as answer:
        seen = ((each.path, each.kind.value, *each[2:]) for each in look(root))
        while batch := list(islice(seen, _BATCH)):
            pickle.dump(batch, answer)
            answer.flush()
        pickle.dump([], answer)
