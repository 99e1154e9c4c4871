"""Very many restore points in no time: what a year of them looks like to who lists them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from collective.recipe.backup.destinations import manifest
from collective.recipe.backup.files import Files
from collective.recipe.backup.links import StrPath
from collective.recipe.backup.repozo import chains, ledger
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.times import stamp, tid_at


class Quick(Files):
    """Files that wait for no disk: a test has no power cut."""

    def _change(
        self, operation: str, path: StrPath, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        if operation in ("fsync", "syncfs"):
            return None
        return super()._change(operation, path, function, *args, **kwargs)


def add_restore_points(operated: Operated, count: int) -> None:
    """Add *count* incremental restore points to the newest chain, each an hour later.

    What their data files hold is no transaction: they can be listed and compared by name,
    size and checksum, and not restored.
    """
    directory, files = operated.place().filestorage, Quick()
    chain = chains.read_directory(directory).chains[-1]
    written = manifest.read(directory, chain.last.stamp)
    assert written is not None
    parts, moment = list(chain.parts), datetime.fromisoformat(written.taken.isoformat())
    for number in range(count):
        moment += timedelta(hours=1)
        data = b"%08d" % number
        checksum = hashlib.md5(data).hexdigest()
        end = parts[-1].end
        part = ledger.Part(f"{stamp(moment)}.deltafs", end, end + len(data), checksum)
        files.write(directory / part.name, data)
        parts.append(part)
        later = replace(
            written, stamp=part.stamp, end=part.end, taken=moment, tid=tid_at(moment), stored=8
        )
        manifest.write(directory, later, files)
    ledger.write_ledger(directory, chain.stamp, parts, files)
    operated.now = moment
