"""The restore points of a directory: ledger, manifests and blobs, put together.

A part that the ledger names is a restore point if its manifest says so and its blobs are there.  A
part without a manifest is the work of an older release, whose blobs have its stamp in their name;
or a run of ours died, and then it is no restore point.

A former restore point is never passed over in silence: a manifest whose part no ledger names any
more, and a part behind the damage of a ledger, are listed as damaged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from collective.recipe.backup.blobs.holdings import Holding, Holdings
from collective.recipe.backup.blobs.older import Belongings
from collective.recipe.backup.destinations import manifest
from collective.recipe.backup.destinations.directory.blobpart import BlobPart
from collective.recipe.backup.destinations.directory.lostledgers import cut_off
from collective.recipe.backup.destinations.manifestpoint import point_of
from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.repozo.chains import Chain, read_directory
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.times import STAMP

_STAMPED = re.compile(rf"\.{STAMP}")
"""Pattern of the text after the name of the blobstorage, in the names of its backups."""


def restore_points(directory: Path, blobs: BlobPart | None) -> list[RestorePoint]:
    """Return the restore points of *directory* and of *blobs*, oldest first."""
    found = blobs.found() if blobs else Holdings()
    flaws = found.flaws()
    with explained("cannot look at the backups", directory):
        listing = read_directory(directory)
    belongings = Belongings(found)
    parts = sorted(
        ((chain, part) for chain in listing.chains for part in chain.parts),
        key=lambda pair: pair[1].stamp,
    )
    points = []
    for (chain, part), after in zip_longest(parts, [part.stamp for _chain, part in parts[1:]]):
        point = _with_manifest(chain, part, found, blobs.storage if blobs else None)
        if point is None:
            theirs = belongings.of(part.stamp, after)
            point = _without_manifest(chain, part, theirs, has_blobs=blobs is not None)
        flaw = flaws.get(point.blobs or "")
        points.append(_unusable(chain, part, f"its blobs: {flaw}") if flaw else point)
    with explained("cannot look at the backups", directory):
        points += cut_off(directory, listing)
    return sorted(points, key=lambda point: point.age)


def _with_manifest(
    chain: Chain, part: Part, blobs: Mapping[str, Holding], storage: str | None
) -> RestorePoint | None:
    """Return the restore point of *part*, None if it has no manifest.

    Without a *storage* no blobs are backed up now, and those of a manifest do not count: the
    filestorage can be restored without them.
    """
    try:
        written = manifest.read(chain.directory, part.stamp)
    except BackupError as error:
        # the others are as good as they were
        return _unusable(chain, part, str(error))
    if not chain.is_restorable(part):
        return _unusable(chain, part, f"{chain.missing[0]} is missing")
    if written is None:
        return None
    if (written.chain, written.end) != (chain.stamp, part.end):
        return _unusable(chain, part, "its manifest does not fit the ledger")
    if storage is None:
        return point_of(replace(written, blobs=None, blob_bytes=None, missing=(), lost=0))
    if written.blobs is not None and written.blobs not in blobs:
        elsewhere = _where_else(written.blobs, storage, blobs)
        problem = f"its blobs are missing: {written.blobs}{elsewhere}"
        unusable = _unusable(chain, part, problem)
        return replace(unusable, tid=written.tid, since=written.since, taken=written.taken)
    return point_of(written)


def _where_else(missing: str, storage: str, blobs: Mapping[str, Holding]) -> str:
    """Return in brackets where the *missing* blobs may be, "" if that is unknown."""
    if not missing.startswith(f"{storage}."):
        old = _STAMPED.split(missing)[0]
        # a directory of that name there would not help
        return (
            f" (looked for is {storage}.*, since blob_storage ends in {storage} now: "
            f"let it end in {old} again to restore this)"
        )
    nameless = [each.paths[-1].name for each in blobs.values() if not each.certain]
    if not nameless:
        return ""
    # a number tells nothing, and what does is in the archive
    return f" (they may be in {', '.join(nameless)}, damaged or of an older release)"


def _without_manifest(
    chain: Chain, part: Part, blobs: Holding | None, *, has_blobs: bool
) -> RestorePoint:
    """Return what an older release, or a run of ours that died, left under a stamp."""
    if has_blobs:
        try:
            unfinished = blobs is None or blobs.ours
        except IntegrityError as error:
            return _unusable(chain, part, str(error))
        if unfinished:
            died = _unusable(chain, part, "its blobs were not backed up to the end")
            return replace(died, damaged=False)
    return RestorePoint(
        stamp=part.stamp,
        chain=chain.stamp,
        end=part.end,
        blobs=blobs.name if blobs else None,
        stored=chain.path(part).stat().st_size + (blobs.stored if blobs else 0),
    )


def _unusable(chain: Chain, part: Part, problem: str) -> RestorePoint:
    return RestorePoint(
        stamp=part.stamp,
        chain=chain.stamp,
        end=part.end,
        problems=(problem,),
        restorable=False,
        damaged=True,
    )
