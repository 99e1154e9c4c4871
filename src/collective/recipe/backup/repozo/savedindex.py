"""``STAMP.index``: a copy of Data.fs.index, so that a restored filestorage opens at once.

repozo writes the index of the very end of each backup, which costs it a scan of the whole
filestorage; we copy what lies beside the filestorage, and only for a full backup.  FileStorage
scans the transactions after the position of the index when it is opened.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.believing import is_believed
from collective.recipe.backup.filestorage.companions import index_of
from collective.recipe.backup.filestorage.fsindex import fits, position
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.repozo.blocks import read_blocks, stored_as
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.smallfile import open_regular

_PIECE = 1 << 20


def index_path(directory: Path, stamp: str) -> Path:
    """Return the path of the index beside the data file of *stamp*."""
    return directory / f"{stamp}.index"


def copy_index(
    log: TransactionLog, target: Path, end: int, files: Files
) -> tuple[Path, bytes] | None:
    """Copy the index of *log*, which is to be *target*; return its temporary name, and BLAKE3.

    None, and nothing is left, if there is none of this log as it was at *end* or before, or
    ZODB would not believe it.
    """
    # resolved, for the filestorage may be reached by a symbolic link, or its index be one
    source = index_of(log.path).resolve()
    if not fits(source, log, end) or not _is_in_place(log):
        return None
    partial = files.partial_name(target)
    with explained("cannot copy the index", target):
        try:
            with files.writing(partial, log.mode & 0o666) as writer, open_regular(source) as file:
                while piece := file.read(_PIECE):
                    writer.write(piece)
        except FileNotFoundError:
            # a pack removed it just now
            return None
        except BaseException:
            files.discard(partial)
            raise
        if not (fits(partial, log, end) and _is_of_use(partial, log) and _is_in_place(log)):
            # another one was put in its place meanwhile, or it is of no use
            files.remove(partial)
            return None
        return partial, stored_as(partial)[1]


def _is_of_use(index: Path, log: TransactionLog) -> bool:
    with suppress(OSError):
        return is_believed(index, log.read_at)
    return False


def _is_in_place(log: TransactionLog) -> bool:
    """Tell whether no pack has put another file in the place of *log*."""
    try:
        status = os.stat(log.path)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == log.identity


def index_for(chain: Chain, through: str | None, end: int) -> Path | None:
    """Return the newest index that serves a filestorage recovered from *chain* up to *end*.

    It is one of the parts up to that of the stamp *through* (None: the newest); None if
    none fits or all are damaged.  Raises KeyError if the chain has no part of that stamp.
    """
    for part in reversed(chain.up_to(through)):
        path = index_path(chain.directory, part.stamp)
        offset = position(path)
        if offset is not None and offset <= end and _is_whole(chain, part, path, offset):
            return path
    return None


def _is_whole(chain: Chain, part: Part, path: Path, offset: int) -> bool:
    blocks = read_blocks(chain.directory, part)
    if blocks is None:
        # as repozo writes it
        return offset == part.end
    return blocks.index is not None and stored_as(path)[1] == blocks.index
