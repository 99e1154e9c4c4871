"""The manifest: the small file that makes a restore point of a directory exist.

``STAMP.json`` lies beside the data file of its stamp and is written last of all, when the
filestorage part is in the ledger and every blob is in place.  A data file that the ledger
names but no manifest is a part without its blobs: the next run completes it.

One line of JSON, an object with these keys, and ``checksum``, the BLAKE3 of the same
object without it, in the canonical form of ``_canonical``:

    format   1
    stamp    of the restore point            chain   stamp of its full backup
    end      bytes of the filestorage        tid     its greatest tid, 16 hex digits; that
                                                     of its last transaction but for odd logs
    since    earliest transaction that it can be cut after, 16 hex digits
    holes    [first, end] of what it cannot tell after that, since a restore cut history off or
             its tids are not in order, 16 hex digits each; may be missing
    stays    stamps of chains that stay as long as this one is the newest; may be missing
    taken    the moment by the clock, ISO 8601 (the stamp may differ: stamps must increase)
    stored   bytes that this restore point added
    blobs    name of the directory that holds its blobs, or null
    missing  [oid, tid] of blobs that were missing at the source, or that could not be read
             there, at most 1000 of them
    lost     how many those are in all
    differing   [oid, tid] of blobs that the source lacked, or had otherwise than they had been
             backed up, and of which it has earlier copies, at most 1000 of them
    differ   how many those are in all (0 if this key is not there)
    left_out how much else at the source could not be copied (0 if this key is not there)
    left     the path of the first of it below the blobstorage, "" for none
    blob_bytes   bytes of its blobs in all, or null if nobody counted
    rights   what Data.fs, its directory and the blobstorage were like, as far as they were there:
             a list of texts each, which of them and its ``rights`` (none if the key is not there)
    others   fingerprint of the files that are no blobs, if they are in an archive
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from blake3 import blake3

from collective.recipe.backup import listings
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import (
    DigestCheck,
    Form,
    LaterReleaseError,
    Table,
    UnreadableError,
    eight_bytes,
)
from collective.recipe.backup.model import BlobId, Hole, Oid
from collective.recipe.backup.rights import WIDTH, Rights, understood, written
from collective.recipe.backup.times import Tid

FORM = Form(version=1, check=DigestCheck("checksum", lambda data: blake3(data).hexdigest()))
SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The fields of a manifest; see the module for the meanings."""

    stamp: str  # of the restore point
    chain: str  # stamp of its full backup
    end: int  # bytes of the filestorage
    tid: Tid | None  # its greatest tid; None: the filestorage has no transaction
    since: Tid | None  # earliest transaction at which it can be cut; None: unknown
    taken: datetime  # by the clock
    stored: int  # bytes that this restore point added
    blobs: str | None  # name of the holding of its blobs; None: no blobs are backed up
    missing: tuple[BlobId, ...] = ()  # blobs without a file at the source, at most 1000
    lost: int = 0  # number of those in all
    blob_bytes: int | None = None  # bytes of its blobs in all; None: not counted
    others: str = ""  # fingerprint of the non-blob files, if they are in an archive; else ""
    differing: tuple[BlobId, ...] = ()  # blobs kept as earlier copies, at most 1000
    differ: int = 0  # number of those in all
    left_out: int = 0  # number of other files that could not be copied
    left: str = ""  # path of the first of those below the blobstorage; "": none
    holes: tuple[Hole, ...] = ()  # spans of transactions that it does not know
    stays: tuple[str, ...] = ()
    """Stamps of chains that stay as long as this restore point is the newest."""
    rights: Mapping[str, Rights] = field(default_factory=dict)  # rights of the sources, by kind


def path_of(directory: Path, stamp: str) -> Path:
    """Return where the manifest of *stamp* lies."""
    return directory / f"{stamp}{SUFFIX}"


def write(directory: Path, manifest: Manifest, files: Files) -> None:
    """Make the restore point exist."""
    files.write(path_of(directory, manifest.stamp), FORM.encode(as_table(manifest)))


def read(directory: Path, stamp: str) -> Manifest | None:
    """Return the manifest of *stamp*, None if there is none.

    Raises IntegrityError if it is damaged, or of a later release.
    """
    return listings.once(directory, ("manifest", stamp), partial(_read, directory, stamp))


def _read(directory: Path, stamp: str) -> Manifest | None:
    path = path_of(directory, stamp)
    with explained("cannot read the restore point", path):
        try:
            table = FORM.load(path)
            manifest = None if table is None else in_table(table)
        except LaterReleaseError as error:
            raise IntegrityError(
                f"the manifest of a restore point cannot be read: {error}",
                where=path,
                hint="restore with the release that made the backup, or a later one",
            ) from error
        except UnreadableError as error:
            raise _damaged(path) from error
    if manifest is not None and manifest.stamp != stamp:
        raise _damaged(path)
    return manifest


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        "the file that describes a restore point (its manifest) is damaged",
        where=path,
        hint="the data may be good: move this file away, and the next backup writes it anew",
    )


def as_table(manifest: Manifest) -> dict[str, Any]:
    """Return what the object of a manifest says, without its format and its checksum."""
    return {
        "stamp": manifest.stamp,
        "chain": manifest.chain,
        "end": manifest.end,
        "tid": manifest.tid and manifest.tid.hex(),
        "since": manifest.since and manifest.since.hex(),
        "holes": [[hole.first.hex(), hole.end.hex()] for hole in manifest.holes],
        "stays": list(manifest.stays),
        "taken": manifest.taken.isoformat(),
        "stored": manifest.stored,
        "blobs": manifest.blobs,
        "missing": _rows(manifest.missing),
        "lost": manifest.lost,
        "differing": _rows(manifest.differing),
        "differ": manifest.differ,
        "blob_bytes": manifest.blob_bytes,
        "others": manifest.others,
        "left_out": manifest.left_out,
        "left": manifest.left,
        "rights": [[what, *written(it)] for what, it in sorted(manifest.rights.items())],
    }


def in_table(table: Table) -> Manifest:
    """Return the manifest of which ``as_table`` has made *table*.  Raises UnreadableError."""
    return Manifest(
        stamp=table.text("stamp"),
        chain=table.text("chain"),
        end=table.number("end"),
        tid=_tid(table.id_or_none("tid")),
        since=_tid(table.id_or_none("since")),
        holes=tuple(
            Hole(Tid(eight_bytes(first)), Tid(eight_bytes(end)))
            for first, end in (table.rows("holes", 2) if "holes" in table else ())
        ),
        stays=tuple(table.texts("stays")) if "stays" in table else (),
        taken=table.moment("taken"),
        stored=table.number("stored"),
        blobs=table.text_or_none("blobs"),
        missing=_blobs(table.rows("missing", 2)),
        lost=table.number("lost"),
        blob_bytes=table.number_or_none("blob_bytes"),
        others=table.text_or_none("others") or "",
        differing=_blobs(table.rows("differing", 2) if "differing" in table else ()),
        differ=table.number_or_none("differ") or 0,
        left_out=table.number_or_none("left_out") or 0,
        left=table.text_or_none("left") or "",
        rights=_rights(table.rows("rights", 1 + WIDTH) if "rights" in table else ()),
    )


def _rows(blobs: Iterable[BlobId]) -> list[list[str]]:
    return [[blob.oid.hex(), blob.tid.hex()] for blob in blobs]


def _blobs(rows: Iterable[Sequence[str]]) -> tuple[BlobId, ...]:
    return tuple(BlobId(Oid(eight_bytes(oid)), Tid(eight_bytes(tid))) for oid, tid in rows)


def _rights(rows: Iterable[list[str]]) -> dict[str, Rights]:
    try:
        return {what: understood(texts) for what, *texts in rows}
    except ValueError as error:
        raise UnreadableError(str(error)) from error


def _tid(data: bytes | None) -> Tid | None:
    return None if data is None else Tid(data)
