"""The manifest: the small file that makes a restore point of a directory exist.

``STAMP.json`` lies beside the data file of its stamp and is written last of all, when the
filestorage part is in the ledger and every blob is in place.  A data file that the ledger
names but no manifest is a part without its blobs: the next run completes it.

One line of JSON, an object with these keys, and ``checksum``, the BLAKE3 of the same
object without it, in the canonical form of ``_canonical``:

    format   1
    stamp    of the restore point            chain   stamp of its full backup
    end      bytes of the filestorage        tid     its last transaction, 16 hex digits
    since    earliest transaction that it can be cut after, 16 hex digits
    taken    the moment by the clock, ISO 8601 (the stamp may differ: stamps must increase)
    stored   bytes that this restore point added
    blobs    name of the directory that holds its blobs, or null
    missing  [oid, tid] of blobs that the source did not have, at most 1000 of them
    lost     how many those are in all
    blob_bytes   bytes of its blobs in all, or null if nobody counted
    others   by what the files are known again that are no blobs, if they are in an archive
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files, NotRegularError, regular
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.times import Tid

FORMAT = 1
SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of one restore point; see the module for the meanings."""

    stamp: str
    chain: str
    end: int
    tid: Tid | None
    since: Tid | None
    taken: datetime
    stored: int
    blobs: str | None
    missing: tuple[BlobId, ...] = ()
    lost: int = 0
    blob_bytes: int | None = None
    others: str = ""


def path_of(directory: Path, stamp: str) -> Path:
    """Return where the manifest of *stamp* lies."""
    return directory / f"{stamp}{SUFFIX}"


def write(directory: Path, manifest: Manifest, files: Files) -> None:
    """Make the restore point exist."""
    content = _encode(manifest)
    content["checksum"] = _checksum(content)
    files.write(path_of(directory, manifest.stamp), _canonical(content) + b"\n")


def read(directory: Path, stamp: str) -> Manifest | None:
    """Return the manifest of *stamp*, None if there is none.

    Raises IntegrityError if it is damaged.
    """
    path = path_of(directory, stamp)
    with explained("cannot read the restore point", path):
        try:
            with open(path, "rb", opener=regular) as file:
                data = file.read()
        except FileNotFoundError:
            return None
        except NotRegularError as error:
            raise _damaged(path) from error
    try:
        manifest = _decode(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path) from error
    if manifest.stamp != stamp:
        raise _damaged(path)
    return manifest


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        "the manifest of a restore point is damaged",
        where=path,
        hint="the data may be good: take it away, and the next backup writes it anew",
    )


def _encode(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "stamp": manifest.stamp,
        "chain": manifest.chain,
        "end": manifest.end,
        "tid": manifest.tid and manifest.tid.hex(),
        "since": manifest.since and manifest.since.hex(),
        "taken": manifest.taken.isoformat(),
        "stored": manifest.stored,
        "blobs": manifest.blobs,
        "missing": [[blob.oid.hex(), blob.tid.hex()] for blob in manifest.missing],
        "lost": manifest.lost,
        "blob_bytes": manifest.blob_bytes,
        "others": manifest.others,
    }


def _decode(content: dict[str, Any]) -> Manifest:
    claimed = content.pop("checksum")
    if claimed != _checksum(content) or content["format"] != FORMAT:
        raise ValueError("checksum or format")
    return Manifest(
        stamp=content["stamp"],
        chain=content["chain"],
        end=content["end"],
        tid=_tid(content["tid"]),
        since=_tid(content["since"]),
        taken=datetime.fromisoformat(content["taken"]),
        stored=content["stored"],
        blobs=content["blobs"],
        missing=tuple(
            BlobId(Oid(bytes.fromhex(oid)), Tid(bytes.fromhex(tid)))
            for oid, tid in content["missing"]
        ),
        lost=content["lost"],
        blob_bytes=content.get("blob_bytes"),
        others=content.get("others", ""),
    )


def _tid(text: str | None) -> Tid | None:
    return Tid(bytes.fromhex(text)) if text else None


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode("ascii")


def _checksum(content: dict[str, Any]) -> str:
    return blake3(_canonical(content)).hexdigest()
