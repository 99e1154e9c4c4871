"""The fields of a manifest about blobs: those that a backup added, and those known before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collective.recipe.backup.destinations.manifest import Manifest

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied


def blobs_of(
    name: str | None, copied: Copied | None, *, before: Manifest | None, known: Manifest | None
) -> dict[str, Any]:
    """Return the fields of a manifest that are about its blobs, which are in *name*.

    *copied* is the result of this backup for them (None for both: they are not backed up), *before*
    the newest restore point of the chain; *known* is that if it is completed now.
    """
    return {
        "blobs": name,
        "missing": copied.missing if copied else (),
        "lost": copied.lost if copied else 0,
        "blob_bytes": _blob_bytes(before, copied),
        "others": _others(known, name, copied),
        **_left(before, name, copied),
        **_differing(before, copied),
    }


def _blob_bytes(before: Manifest | None, copied: Copied | None) -> int | None:
    """Return the bytes of all blobs of a restore point, None if they were not counted."""
    if copied is None:
        return None
    if copied.whole is not None:
        return copied.whole
    if before is None or before.blob_bytes is None:
        return None
    return before.blob_bytes + copied.size


def _others(known: Manifest | None, name: str | None, copied: Copied | None) -> str:
    """Return the fingerprint of the foreign files in an archive; see Manifest."""
    if known and known.blobs == name and not (copied and copied.others):
        return known.others
    return copied.others if copied else ""


def _left(before: Manifest | None, name: str | None, copied: Copied | None) -> dict[str, Any]:
    """Return the fields about files besides blobs that could not be copied, now or last time."""
    if copied and copied.whole is not None:
        return {"left_out": copied.left_out, "left": copied.left}
    if before is not None and before.blobs == name:
        return {"left_out": before.left_out, "left": before.left}
    return {}


def _differing(before: Manifest | None, copied: Copied | None) -> dict[str, Any]:
    """Return which blobs the source has otherwise than the restore point.

    Of the one *before* those that it names were looked at again, and no others.
    """
    if copied is None:
        return {}
    unnamed = before.differ - len(before.differing) if before and copied.whole is None else 0
    return {"differ": copied.differ + unnamed, "differing": copied.differing}
