"""Lists of the foreign files in a blobstorage, in pages that restore points share.

With ``only_blobs`` no log says which blobs there are, so the whole blobstorage is walked anyway,
and the other files in it are backed up as well.  Paths are below the blobstorage, in the order of a
walk (see ``blobs.layout``), wherever they lie: among ZODB's own directories as well.

docs/design/repository.rst has both formats byte for byte.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from collective.recipe.backup.blobs.layout import Kind, may_be_foreign, order
from collective.recipe.backup.blobs.refusing import leads_out
from collective.recipe.backup.destinations.repository.blobpages import (
    BlobFile,
    check_version,
    read_file,
    written_file,
)
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.filestorage.segments.fields import Fields, Names, number, string
from collective.recipe.backup.frozen import dataclass

MAGIC, PAGE_MAGIC, VERSION = b"CRBOTHER", b"CRBOPAGE", 1
_LEAST_OF_A_PAGE, _MOST_OF_A_PAGE = 32, 512
"""Entries of a page, but for the last one."""
_ENDS_A_PAGE = 128
"""A page ends at one path of this number, on average."""
_KINDS = (Kind.DIRECTORY, Kind.FILE, Kind.LINK)
_TIME, _VERSION = 8, 2
_SMALLEST_ENTRY, _SMALLEST_PAGE = 3, 3
"""Bytes that each takes at least."""


class ForeignEntry(NamedTuple):
    """A foreign file, or a directory or a symbolic link."""

    path: str  # below the blobstorage
    kind: Kind  # FILE, LINK or DIRECTORY
    time: int = 0  # of its last change, nanoseconds since 1970; of a directory 0
    file: BlobFile | None = None  # of a file
    text: bytes = b""  # of a link: where it leads to
    mode: int = 0  # of a directory: permissions; else 0, see file

    @property
    def size(self) -> int:
        """Bytes of a file, or of the text of a link."""
        return self.file.size if self.file else len(self.text)


class ForeignPage(NamedTuple):
    """A page."""

    name: bytes  # of its chunk
    entries: int  # in it
    size: int  # bytes of the files in it


@dataclass(frozen=True)
class ForeignList:
    """All files in a blobstorage that are not blobs."""

    pages: tuple[ForeignPage, ...]  # in the order of paths

    @property
    def count(self) -> int:
        """Number of entries."""
        return sum(page.entries for page in self.pages)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(page.size for page in self.pages)

    def root(self) -> Linked:
        """Return what this list can be read from again."""
        names = Names()
        data = MAGIC + VERSION.to_bytes(_VERSION, "big") + number(len(self.pages))
        for page in self.pages:
            data += names.name(page.name) + number(page.entries) + number(page.size)
        return names.linked(data)


def read_foreign_list(root: Linked) -> ForeignList:
    """Return the list with this *root*.  Raises IntegrityError if that is damaged."""
    fields = Fields(root.data, "the list of what lies among the blobs", root.names)
    check_version(fields, MAGIC)
    pages = [
        ForeignPage(fields.name(), fields.number(), fields.number())
        for _page in range(fields.count(_SMALLEST_PAGE))
    ]
    fields.finish()
    return ForeignList(tuple(pages))


def ends_page(entries: Sequence[ForeignEntry]) -> bool:
    """Tell whether a page with these *entries* is to end here.

    The paths say it, so that a new entry leaves the later pages as they are.
    """
    if not _LEAST_OF_A_PAGE <= len(entries) < _MOST_OF_A_PAGE:
        return len(entries) >= _MOST_OF_A_PAGE
    return zlib.crc32(os.fsencode(entries[-1].path)) % _ENDS_A_PAGE == 0


def written_foreign_page(entries: Sequence[ForeignEntry]) -> Linked:
    """Return the chunk of a page with these entries."""
    names = Names()
    head = PAGE_MAGIC + VERSION.to_bytes(_VERSION, "big") + number(len(entries))
    return names.linked(head + b"".join(_written(each, names) for each in entries))


def _written(each: ForeignEntry, names: Names) -> bytes:
    head = string(os.fsencode(each.path)) + bytes([_KINDS.index(each.kind)])
    if each.kind is Kind.LINK:
        return head + each.time.to_bytes(_TIME, "big", signed=True) + string(each.text)
    if each.file is None:
        return head + number(each.mode)
    return head + number(each.file.mode) + written_file(each.file, names)


def read_foreign_page(page: ForeignPage, linked: Linked) -> list[ForeignEntry]:
    """Return the entries of a page, which is the chunk *linked*.

    Raises IntegrityError if that is damaged, or none that has the page.
    """
    fields = Fields(linked.data, "a page of what lies among the blobs", linked.names)
    check_version(fields, PAGE_MAGIC)
    found = [_entry(fields) for _entry_number in range(fields.count(_SMALLEST_ENTRY))]
    fields.finish()
    if len(found) != page.entries or sum(each.size for each in found if each.file) != page.size:
        raise fields.damaged("it is not the one that the list names")
    return found


def _entry(fields: Fields) -> ForeignEntry:
    path, kind = os.fsdecode(fields.string()), fields.take(1)[0]
    if kind >= len(_KINDS) or not _is_path(path) or not may_be_foreign(path, _KINDS[kind]):
        raise fields.damaged(f"{path!r} is nothing that it could have")
    if _KINDS[kind] is Kind.DIRECTORY:
        mode = fields.number()
        if mode > 0o777:
            raise fields.damaged("a directory does not fit together")
        return ForeignEntry(path, Kind.DIRECTORY, mode=mode)
    if _KINDS[kind] is Kind.FILE:
        file = read_file(fields, fields.number())
        return ForeignEntry(path, Kind.FILE, file.time, file)
    time, text = int.from_bytes(fields.take(_TIME), "big", signed=True), fields.string()
    if not text or b"\0" in text or leads_out(path, os.fsdecode(text)):
        raise fields.damaged(f"{text!r} is no target of a link")
    return ForeignEntry(path, Kind.LINK, time, text=text)


def _is_path(path: str) -> bool:
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))


def in_order(entries: Iterable[ForeignEntry]) -> Iterator[ForeignEntry]:
    """Yield *entries*.

    Raises IntegrityError if one does not come after the one before it, or lies in one that is no
    directory.
    """
    last, inside = b"", ""
    for each in entries:
        key = order(each.path)
        if key <= last or (inside and each.path.startswith(inside)):
            raise IntegrityError(
                f"the list of other files among the blobs is damaged: {each.path!r} is misplaced",
                hint=DAMAGE_HINT,
            )
        last, inside = key, "" if each.kind is Kind.DIRECTORY else f"{each.path}/"
        yield each
