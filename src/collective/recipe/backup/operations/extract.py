"""One thing out of a moment, with all that it holds: an export for ZODB, or its blobs as files.

Nothing is changed but the file or the directory that was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from collective.recipe.backup.errors import ConfigurationError, IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.writes import Writer
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.objects import zexp
from collective.recipe.backup.objects.current import Held, OidNumbers
from collective.recipe.backup.objects.inert import (
    OtherDatabase,
    Reference,
    UnreadableStateError,
    state_of,
)
from collective.recipe.backup.objects.paths import Location
from collective.recipe.backup.objects.references import references
from collective.recipe.backup.objects.subtree import Subtrees
from collective.recipe.backup.operations.blobsizes import BLOB
from collective.recipe.backup.operations.objects import OpenedObjects
from collective.recipe.backup.times import show_tid

_PIECE = 1 << 20
_PRIVATE = 0o600
"""Permissions of extracted files: in the site only few users may be able to see them."""
_LONGEST = 180
"""Bytes of a file name that are taken over: a disk has room for 255, and the oid may go before."""


class Extracted(NamedTuple):
    """The numbers of extracted things."""

    objects: int  # objects
    blobs: int  # blobs
    cuts: Counter[tuple[str, str, str]]
    """References to objects outside: name, oid and class, with the number of each."""


class ExtractedBlobs(NamedTuple):
    """Blobs that were written to files of their own."""

    files: list[tuple[Path, str]]  # each with its content type; "": it has none
    flaws: list[
        IntegrityError
    ]  # objects that cannot be read, and blobs that are not there or damaged


class NamedBlob(NamedTuple):
    """A blob, with the name that the object beside it gives to its file."""

    blob: BlobId  # id of the blob
    name: str  # of a file, fit for any disk; "": nothing says one
    content_type: str  # "": nothing says one


def extract(opened: OpenedObjects, place: Location, target: Path, files: Files) -> Extracted:
    """Write the object at *place* and what it holds to *target*, as importFile takes it.

    Raises IntegrityError for what cannot be read, and for a blob that the backup has not.
    """
    found = _Found(opened, place)
    blobs = 0
    cuts: Counter[tuple[str, str, str]] = Counter()
    with files.writing(target, _PRIVATE) as writer:
        writer.write(zexp.BEGIN)
        for held in found.records():
            try:
                data, cut = zexp.with_cuts(held.data, found.keeps)
            except UnreadableStateError as error:
                raise _unreadable(held.oid, error) from error
            cuts.update(found.described(held.oid, each) for each in cut)
            writer.write(zexp.head_of(held.oid, data))
            writer.write(data)
            if held.kind == BLOB:
                blobs += 1
                _write_blob(opened, held, writer)
        writer.write(zexp.END)
    return Extracted(len(found.oids), blobs, cuts)


def extract_blobs(
    opened: OpenedObjects, place: Location, directory: Path, files: Files
) -> ExtractedBlobs:
    """Write each blob that the object at *place* holds to a file of its own in *directory*.

    The name of a file comes from the object that refers to the blob, else from the oid.  Blobs that
    cannot be read are left out and named among the flaws.
    """
    found = _Found(opened, place)
    names = dict(_names(found))
    flaws = list(found.unreadable())
    done: list[tuple[Path, str]] = []
    taken: set[str] = set()
    if not directory.is_dir():
        files.make_directory(directory)
    for held in found.records():
        if held.kind != BLOB:
            continue
        name, content_type = names.get(held.oid, ("", ""))
        if not name or name in taken or (directory / name).exists():
            name = f"{held.oid.hex()}-{name}" if name else held.oid.hex()
        taken.add(name)
        try:
            with (
                _opened_blob(opened, BlobId(held.oid, held.tid)) as blob,
                files.writing(directory / name, _PRIVATE) as writer,
            ):
                while piece := blob.read(_PIECE):
                    writer.write(piece)
        except IntegrityError as error:
            flaws.append(error)
        else:
            done.append((directory / name, content_type))
    return ExtractedBlobs(done, flaws)


def named_blobs(opened: OpenedObjects, place: Location) -> Iterator[NamedBlob]:
    """Yield each blob that the object at *place* holds."""
    found = _Found(opened, place)
    names = dict(_names(found))
    for held in found.records():
        if held.kind == BLOB:
            yield NamedBlob(BlobId(held.oid, held.tid), *names.get(held.oid, ("", "")))


def write_blob(opened: OpenedObjects, blob: BlobId, target: Path, files: Files) -> None:
    """Write the bytes of *blob* to *target*.  Raises IntegrityError if they cannot be read."""
    with _opened_blob(opened, blob) as data, files.writing(target, _PRIVATE) as writer:
        while piece := data.read(_PIECE):
            writer.write(piece)


class _Found:
    """The objects that the object at a place holds."""

    def __init__(self, opened: OpenedObjects, place: Location) -> None:
        self._objects = opened.objects
        self._numbers = OidNumbers()
        self.oids: list[Oid] = []
        self._unreadable: list[Oid] = []
        walk = Subtrees(opened.objects, place.above)
        for reached in walk.walk([place.held.oid]):
            self.oids.append(reached.held.oid)
            if not reached.is_readable:
                self._unreadable.append(reached.held.oid)
            self._numbers[reached.held.oid] = len(self.oids)
        self._names = {(cut.holder, cut.target): cut.name for cut in (*walk.cuts, *walk.missing)}

    def records(self) -> Iterator[Held]:
        """Yield each object, the one that was asked for first."""
        return filter(None, map(self._objects.load, self.oids))

    def unreadable(self) -> Iterator[IntegrityError]:
        """Yield a flaw for each object whose state cannot be read: it may hold blobs."""
        for held in filter(None, map(self._objects.load, self._unreadable)):
            try:
                held.state()
            except UnreadableStateError as error:
                yield _unreadable(held.oid, error)

    def keeps(self, reference: Reference) -> bool:
        return reference.oid in self._numbers

    def described(self, holder: Oid, cut: Reference | OtherDatabase) -> tuple[str, str, str]:
        if isinstance(cut, OtherDatabase):
            return "", "", f"the database {cut.database}"
        return self._names.get((holder, cut.oid), ""), cut.oid.hex(), cut.kind


def _names(found: _Found) -> Iterator[tuple[Oid, tuple[str, str]]]:
    """Yield for each blob the file name and the content type that an object has beside it."""
    for held in found.records():
        try:
            state = state_of(held.data)
        except UnreadableStateError:
            continue
        if isinstance(state.value, dict):
            texts = (state.value.get("filename"), state.value.get("contentType"))
            name, content_type = (each if isinstance(each, str) else "" for each in texts)
            for named in references(state):
                yield named.reference.oid, (safe_name(name), content_type)


def safe_name(name: str) -> str:
    """Return a file name that a stranger has chosen, as one that can do no harm here."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(char if char.isprintable() else "_" for char in last).strip(". ")
    stem, dot, extension = kept.rpartition(".")
    ending = f"{dot}{extension}".encode() if stem else b""
    if len(ending) > _LONGEST // 2:
        stem, ending = kept, b""
    begin = (stem or kept).encode(errors="ignore")[: _LONGEST - len(ending)]
    return begin.decode(errors="ignore").lstrip("-. ") + ending.decode()


def _write_blob(opened: OpenedObjects, held: Held, writer: Writer) -> None:
    writer.write(zexp.BLOB)
    place = writer.size
    writer.write(zexp.LENGTH.pack(0))
    begin = writer.size
    with _opened_blob(opened, BlobId(held.oid, held.tid)) as blob:
        while piece := blob.read(_PIECE):
            writer.write(piece)
    writer.overwrite(place, zexp.LENGTH.pack(writer.size - begin))


def _opened_blob(opened: OpenedObjects, blob: BlobId) -> BinaryIO:
    blobs = opened.state.blobs if opened.state is not None else None
    if blobs is None:
        raise ConfigurationError(
            "what is asked for holds blobs, and this backup has none",
            hint="name the restore point of a destination that has blobs",
        )
    with explained("cannot read a blob of the backup"):
        try:
            return blobs.open(blob)
        except KeyError as error:
            raise IntegrityError(
                f"the blob of object {blob.oid.hex()}, transaction {show_tid(blob.tid)}, is not "
                "in the backup",
                hint="the site may have lost it before: verify tells",
            ) from error


def _unreadable(oid: Oid, error: UnreadableStateError) -> IntegrityError:
    return IntegrityError(
        f"the object {oid.hex()} cannot be read: {error}",
        hint="name a part of it that can be, or an earlier moment",
    )
