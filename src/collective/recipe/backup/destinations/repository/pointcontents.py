"""The contents of a restore point of a site: JSON in the restore point, and its roots.

::

    format  the version of all this, 1
    log     an object, or null: the filestorage is not backed up
              root    number of its root among those of the restore point, from 0
              mode    permissions of the filestorage
    blobs   an object, or null: no blobs are backed up
              root    number of its root
              foreign  number of the root of what lies among them; not there if nothing does
    files   an object, or not there: no further files are backed up
              root    number of its root
              files   how many there are
              size    bytes of these, but for holes
    manifest  an object: what a manifest in a directory says (see ``destinations.manifest``), but
            for its ``format`` and ``checksum``; or null
"""

from __future__ import annotations

from collective.recipe.backup.destinations.manifest import Manifest, as_table, in_table
from collective.recipe.backup.errors import ConfigurationError, IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, LaterReleaseError, Table, UnreadableError
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.points import Point

_MODES = 0o7777
# the seal authenticates it, so it needs no check of its own
_FORM = Form(version=1, check=None)


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """The filestorage of a restore point."""

    root: ChunkId  # the root of its state
    mode: int  # permissions


@dataclass(frozen=True, kw_only=True)
class BlobsPart:
    """The blobs of a restore point."""

    root: ChunkId  # the list of their pages
    foreign: ChunkId | None = None  # of what lies among them; None: that was not backed up


@dataclass(frozen=True, kw_only=True)
class FilesPart:
    """The further files of a restore point."""

    root: ChunkId  # of their tree
    files: int  # how many
    size: int  # bytes of these but for holes


@dataclass(frozen=True, kw_only=True)
class PointContents:
    """The contents of a restore point."""

    log: LogPart | None = None  # None: the filestorage is not backed up
    blobs: BlobsPart | None = None  # None: no blobs are backed up
    files: FilesPart | None = None  # None: no further files are backed up
    manifest: Manifest | None = None  # None: nothing else is known of it

    @property
    def roots(self) -> tuple[ChunkId, ...]:
        """The roots of the restore point."""
        found = [part.root for part in (self.log, self.blobs, self.files) if part is not None]
        if self.blobs is not None and self.blobs.foreign is not None:
            found.append(self.blobs.foreign)
        return tuple(found)

    def payload(self) -> bytes:
        """Return what stands in the restore point."""
        roots = self.roots
        log, blobs, files = self.log, self.blobs, self.files
        parts: dict[str, object] = {
            "log": log and {"root": roots.index(log.root), "mode": log.mode},
            "blobs": blobs and {"root": roots.index(blobs.root)},
            "manifest": self.manifest and as_table(self.manifest),
        }
        # optional fields are written only if they have a value, so that older releases read the
        # others
        if blobs is not None and blobs.foreign is not None:
            at = roots.index(blobs.foreign)
            parts["blobs"] = {"root": roots.index(blobs.root), "foreign": at}
        if files is not None:
            root = roots.index(files.root)
            parts["files"] = {"root": root, "files": files.files, "size": files.size}
        return _FORM.encode(parts)


def contents_of(point: Point) -> PointContents:
    """Return what *point* holds.

    Raises IntegrityError if it does not say so, ConfigurationError if a later release made it.
    """
    try:
        return _contents(_FORM.decode(point.payload), point)
    except LaterReleaseError as error:
        raise ConfigurationError(
            f"what a restore point holds cannot be read: {error}",
            where=point.name,
            hint="use that release, or a later one",
        ) from error
    except UnreadableError as error:
        raise IntegrityError(
            f"a restore point does not say what it holds: {error}",
            where=point.name,
            hint="use another restore point",
        ) from error


def _contents(said: Table, point: Point) -> PointContents:
    log = blobs = files = manifest = None
    if said.value("log") is not None:
        part = said.table("log")
        log = LogPart(root=_root(part, point), mode=part.number("mode") & _MODES)
    if said.value("blobs") is not None:
        part = said.table("blobs")
        foreign = _root(part, point, "foreign") if "foreign" in part else None
        blobs = BlobsPart(root=_root(part, point), foreign=foreign)
    if said.value("files") is not None:
        part = said.table("files")
        files = FilesPart(
            root=_root(part, point), files=part.number("files"), size=part.number("size")
        )
    if said.value("manifest") is not None:
        manifest = in_table(said.table("manifest"))
    return PointContents(log=log, blobs=blobs, files=files, manifest=manifest)


def _root(said: Table, point: Point, key: str = "root") -> ChunkId:
    number = said.number(key)
    if not 0 <= number < len(point.roots):
        raise UnreadableError(f"it has no root {number}")
    return point.roots[number]
