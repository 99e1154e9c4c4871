"""A look at each file of a live blobstorage, in the order of the walk.

To walk through a large tree and to look at each file costs as much as to go through the list of
what it is compared with.  So a process of its own, which changes nothing, looks a little ahead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import process
from collective.recipe.backup.blobs.layout import Kind, walk

_BATCH = 500


class Seen(NamedTuple):
    """An entry of the tree, as it is there."""

    path: str  # below the root
    kind: Kind  # its kind
    size: int  # bytes; 0 for a directory
    time: int  # of its last change, nanoseconds since 1970; 0 for a directory
    device: int  # number of the file system that it is on; 0 for a directory


def look(root: Path) -> Iterator[Seen]:
    """Yield the entries below *root*.  Raises OSError."""
    top = os.fspath(root)
    for path, kind in walk(root):
        if kind in (Kind.DIRECTORY, Kind.UNREADABLE):
            yield Seen(path, kind, 0, 0, 0)
        else:
            status = os.lstat(f"{top}/{path}")
            yield Seen(path, kind, status.st_size, status.st_mtime_ns, status.st_dev)


def look_ahead(root: Path) -> Generator[Seen, None, None]:
    """Yield it as another process sees it, while that goes on.

    Raises NoAnswerError if that process does not come to its end.
    """
    with closing(process.answered(__name__, os.fsencode(root))) as batches:
        for batch in batches:
            for path, kind, size, time, device in batch:
                yield Seen(path, _KINDS[kind], size, time, device)


_KINDS = {kind.value: kind for kind in Kind}


def main() -> None:
    """Look at the tree that standard input names: see process.answered."""
    root = Path(os.fsdecode(sys.stdin.buffer.read()))
    seen = ((each.path, each.kind.value, *each[2:]) for each in look(root))
    process.answer(iter(lambda: list(islice(seen, _BATCH)), []))
