"""The past of a moment: revisions of an object, and transactions, the last one first.

The dictionaries are those of FileStorage.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeAlias

from persistent.TimeStamp import TimeStamp

from collective.recipe.backup.filestorage.format import PACKED, DataRecord
from collective.recipe.backup.served.loggedextensions import extension_of
from collective.recipe.backup.served.momentrecords import MomentRecords

Entry: TypeAlias = dict[str, Any]
Wanted: TypeAlias = Callable[[Entry], bool] | None
"""Tells which entries count; None: all do."""

_UNDOABLE = b" "


def history_of(records: MomentRecords, oid: bytes, size: int, wanted: Wanted) -> list[Entry]:
    """Return the last *size* revisions of an object, as far as they are known."""
    found: list[Entry] = []
    record: DataRecord | None = records.current(oid)
    while record is not None and len(found) < size:
        written = records.written(record.transaction)
        entry = {
            **extension_of(written.extension),
            "time": TimeStamp(record.tid).timeTime(),
            "user_name": written.user,
            "description": written.description,
            "tid": record.tid,
            "size": record.size,
        }
        if wanted is None or wanted(entry):
            found.append(entry)
        record = records.before(record)
    return found


def undo_log(records: MomentRecords, first: int, stop: int, wanted: Wanted) -> list[Entry]:
    """Return the transactions from number *first* up to *stop*, but none before a pack.

    The last one has the number 0, and only those that are *wanted* count.
    """
    found: list[Entry] = []
    count = 0
    for written in records.backwards():
        if count >= stop or written.status == PACKED:
            break
        entry = {
            "id": base64.encodebytes(written.tid).rstrip(),
            "time": TimeStamp(written.tid).timeTime(),
            "user_name": written.user,
            "size": written.length,
            "description": written.description,
            **extension_of(written.extension),
        }
        if written.status == _UNDOABLE and (wanted is None or wanted(entry)):
            if count >= first:
                found.append(entry)
            count += 1
    return found
