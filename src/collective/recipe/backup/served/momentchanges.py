"""Changes to an opened moment: they are kept in a directory, for that moment alone.

Any user of this machine may be able to write to it.  So no written record is unpickled here: the
storage resolves no conflicts, and keeps no extensions of transactions.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zc.lockfile import LockError
from ZODB.Connection import TransactionMetaData
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError

from collective.recipe.backup.errors import InUse, UsageError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.smallfile import read_small
from collective.recipe.backup.times import Tid, show_tid

_NOTE = "moment.json"
_LARGEST_NOTE = 1 << 16
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class _Unresolving:
    """Leaves conflicts to the client: to resolve one is to unpickle records, with any class."""

    def tryToResolveConflict(  # noqa: N802  ZODB calls it so
        self,
        oid: bytes,
        committedSerial: bytes,  # noqa: N803  ZODB names it so
        oldSerial: bytes,  # noqa: N803
        newpickle: bytes,
        committedData: bytes = b"",  # noqa: ARG002, N803
    ) -> bytes:
        """Raise ConflictError."""
        raise ConflictError(oid=oid, serials=(committedSerial, oldSerial), data=newpickle)


class _Changes(_Unresolving, FileStorage):  # type: ignore[misc]  # ZODB has no types
    """The changes to a moment."""

    def tpc_begin(
        self, transaction: TransactionMetaData, tid: Tid | None = None, status: str = " "
    ) -> None:
        """Begin to write a transaction, without its extension: it is unpickled for a history."""
        transaction.extension_bytes = b""
        super().tpc_begin(transaction, tid, status)


class _ChangeableMoment(_Unresolving, DemoStorage):  # type: ignore[misc]  # ZODB has no types
    """A moment, and changes over it."""


def changeable(moments: Mapping[str, Any], directory: Path, files: Files) -> dict[str, Any]:
    """Return storages over those of *moments*, by their names, which keep changes in *directory*.

    Raises UsageError if that has the changes of another moment or can be read by others, InUse,
    and BackupError.
    """
    _check_moment(moments, directory, files)
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        for name, moment in moments.items():
            place = directory / _file_name(name)
            try:
                changes = _Changes(f"{place}.fs", blob_dir=f"{place}.blobs")
            except LockError as error:
                raise InUse("another process has the changes open", where=directory) from error
            stack.callback(changes.close)
            found[name] = _ChangeableMoment(base=moment, changes=changes)
        stack.pop_all()
    return found


def _check_moment(moments: Mapping[str, Any], directory: Path, files: Files) -> None:
    """Note in *directory* of which moment its changes are, or compare that."""
    note = directory / _NOTE
    ours = {name: show_tid(Tid(each.lastTransaction())) for name, each in moments.items()}
    with explained("cannot keep changes there", directory):
        files.make_directories(directory.parent)
        if not directory.is_dir():
            # the records are those of the site, the hashes of passwords too
            files.make_directory(directory, 0o700)
        is_new = not note.exists()
        if is_new and any(directory.iterdir()):
            raise UsageError(
                "changes are kept in a directory of their own, and this one is not empty",
                where=directory,
                hint="name another one, or one that is not there yet",
            )
        if directory.stat().st_mode & _OF_OTHERS:
            raise UsageError(
                "other users may read the directory for changes, which holds what the site holds",
                where=directory,
                hint=f"chmod 700 {directory}, or name one that is not there yet",
            )
        if is_new:
            files.write(note, json.dumps(ours).encode(), 0o600)
            return
        data = read_small(note, _LARGEST_NOTE)
    try:
        theirs = json.loads(data or b"")
    except ValueError:
        theirs = None
    if theirs != ours:
        raise UsageError(
            "the changes there are those of another moment",
            where=directory,
            hint="open that moment, or name another directory for the changes",
        )


def _file_name(name: str) -> str:
    """Return the name of the files for a storage, another one for each."""
    return "Data" if name == MAIN else f"storage-{quote(name, safe='')}"
