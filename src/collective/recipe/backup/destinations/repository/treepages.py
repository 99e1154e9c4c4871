"""Trees of files, in pages that restore points share.

The entries of a directory are one list in the order of the names.  The names themselves decide
where it is cut into pages, so a file that is new or gone changes one page.  The entry of a
directory names its pages; an unchanged directory keeps its pages.

docs/design/repository.rst has all of it byte for byte.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.filestorage.segments.fields import Fields, Names, number, string
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile

MAGIC, PAGE_MAGIC, VERSION = b"CRBFILES", b"CRBFPAGE", 1
PIECES_NAMED = 16
"""Pieces that an entry names; if a file has more, there are lists of them."""
PIECES_OF_A_LIST = 4096
_LEAST_OF_A_PAGE, _MOST_OF_A_PAGE, _LARGEST_PAGE = 32, 512, 1 << 20
"""Entries of a page but for the last one, and bytes after which no other entry follows."""
_ENDS_A_PAGE = 128
"""A page ends at one name of this number, on average."""
_SORTS = (FileSort.DIRECTORY, FileSort.FILE, FileSort.LINK)
_TIME, _VERSION, _SMALLEST = 8, 2, 15
_LARGEST_FILE, _NO_OWNER = 1 << 63, (1 << 32) - 1
"""The first sizes, and numbers of users and groups, that POSIX calls cannot be told."""


class FileTimes(NamedTuple):
    """Facts that, besides size and time, show whether a file is unchanged."""

    changed: int  # when the kernel last noted a change, nanoseconds since 1970
    inode: int  # number in its file system
    device: int  # number of the file system among those of the tree, from 0
    has_others: bool  # whether it had several names


class TreeEntry(NamedTuple):
    """An entry of a directory."""

    name: bytes  # in the root of a tree: the whole path
    file: FurtherFile  # the file; its path is empty
    times: FileTimes | None = None  # of a file


@dataclass(frozen=True)
class TreeRoot:
    """The further files of a restore point: the paths that were asked for."""

    entries: tuple[TreeEntry, ...]  # one for each requested path

    def linked(self) -> Linked:
        """Return what this can be read from again."""
        return _written(MAGIC, self.entries)


def ends_page(entries: Sequence[TreeEntry], size: int) -> bool:
    """Tell whether a page with these *entries*, of *size* bytes, is to end here."""
    if len(entries) >= _MOST_OF_A_PAGE or size >= _LARGEST_PAGE:
        return True
    if len(entries) < _LEAST_OF_A_PAGE:
        return False
    return zlib.crc32(entries[-1].name) % _ENDS_A_PAGE == 0


def size_of(entry: TreeEntry) -> int:
    """Return about how many bytes *entry* takes."""
    file = entry.file
    return len(entry.name) + len(file.target) + 32 * len(file.pieces) + 16 * len(file.holes) + 64


def written_tree_page(entries: Sequence[TreeEntry]) -> Linked:
    """Return the chunk of a page with these entries."""
    return _written(PAGE_MAGIC, entries)


def _written(magic: bytes, entries: Sequence[TreeEntry]) -> Linked:
    names = Names()
    head = magic + VERSION.to_bytes(_VERSION, "big") + number(len(entries))
    return names.linked(head + b"".join(_entry_written(each, names) for each in entries))


def _entry_written(entry: TreeEntry, names: Names) -> bytes:
    file = entry.file
    written = [
        string(entry.name),
        bytes([_SORTS.index(file.sort)]),
        number(file.mode),
        number(file.owner),
        number(file.group),
        _time(file.time),
    ]
    if file.sort is FileSort.LINK:
        return b"".join([*written, string(file.target)])
    if entry.times is not None:
        written += [
            _time(entry.times.changed),
            number(entry.times.inode),
            number(entry.times.device),
            bytes([entry.times.has_others]),
            number(file.size),
            _holes_written(file),
            bytes([file.is_large]),
        ]
    return b"".join([*written, number(len(file.pieces)), *map(names.name, file.pieces)])


def _time(time: int) -> bytes:
    return time.to_bytes(_TIME, "big", signed=True)


def _holes_written(file: FurtherFile) -> bytes:
    written, at = [number(len(file.holes))], 0
    for offset, size in file.holes:
        written += [number(offset - at), number(size)]
        at = offset + size
    return b"".join(written)


def read_tree_page(linked: Linked) -> list[TreeEntry]:
    """Return the entries of a page.  Raises IntegrityError if it is damaged."""
    fields = Fields(linked.data, "a page of files", linked.names)
    found = _entries(fields, PAGE_MAGIC)
    for each in found:
        if each.name in {b"", b".", b".."} or b"/" in each.name or b"\0" in each.name:
            raise fields.damaged(f"{each.name!r} is no name of a file")
    return found


def read_tree_root(linked: Linked) -> TreeRoot:
    """Return the paths of a tree.  Raises IntegrityError if it is damaged."""
    fields = Fields(linked.data, "the list of further files", linked.names)
    found = _entries(fields, MAGIC)
    for each in found:
        parts = each.name.split(b"/")
        if parts[0] or {b".", b".."} & set(parts) or b"\0" in each.name:
            raise fields.damaged(f"{each.name!r} is no path")
        if len(parts) < 2 or (b"" in parts[1:] and each.name != b"/"):
            raise fields.damaged(f"{each.name!r} is no path")
    # sorted by their parts, what lies below a path follows it at once
    paths = sorted(each.name.rstrip(b"/").split(b"/") for each in found)
    for path, other in zip(paths, paths[1:], strict=False):
        if other[: len(path)] == path:
            raise fields.damaged(f"{b'/'.join(other)!r} lies below another of its paths")
    return TreeRoot(tuple(found))


def _entries(fields: Fields, magic: bytes) -> list[TreeEntry]:
    if fields.take(len(magic)) != magic:
        raise fields.damaged("it begins as none does")
    version = int.from_bytes(fields.take(_VERSION), "big")
    if version != VERSION:
        raise fields.damaged(f"its version {version} is not known here")
    found = [_entry(fields) for _number in range(fields.count(_SMALLEST))]
    fields.finish()
    if any(one.name >= other.name for one, other in zip(found, found[1:], strict=False)):
        raise fields.damaged("its names are not in order")
    return found


def _entry(fields: Fields) -> TreeEntry:
    name, sort = fields.string(), fields.take(1)[0]
    if sort >= len(_SORTS):
        raise fields.damaged(f"its sort of file {sort} is not known here")
    file = FurtherFile(
        path=b"",
        sort=_SORTS[sort],
        mode=fields.number() & 0o7777,
        owner=_below(fields, _NO_OWNER, "user"),
        group=_below(fields, _NO_OWNER, "group"),
        time=_read_time(fields),
    )
    if file.sort is FileSort.LINK:
        target = fields.string()
        if not target or b"\0" in target:
            raise fields.damaged(f"{target!r} is no target of a link")
        return TreeEntry(name, file._replace(target=target))
    if file.sort is FileSort.DIRECTORY:
        return TreeEntry(name, file._replace(pieces=_names(fields)))
    times = FileTimes(
        changed=_read_time(fields),
        inode=fields.number(),
        device=fields.number(),
        has_others=bool(fields.take(1)[0]),
    )
    size = _below(fields, _LARGEST_FILE, "size")
    holes = _holes(fields, size)
    is_large = bool(fields.take(1)[0])
    file = file._replace(size=size, holes=holes, is_large=is_large, pieces=_names(fields))
    if times.has_others:
        # all that is told of it: an inode alone may have become another file meanwhile
        same = hashlib.sha256(repr((file, times)).encode("ascii")).digest()
        file = file._replace(same=same)
    return TreeEntry(name, file, times)


def _below(fields: Fields, limit: int, what: str) -> int:
    number = fields.number()
    if number >= limit:
        raise fields.damaged(f"its {what} {number} is larger than any")
    return number


def _read_time(fields: Fields) -> int:
    return int.from_bytes(fields.take(_TIME), "big", signed=True)


def _names(fields: Fields) -> tuple[bytes, ...]:
    return tuple(fields.name() for _number in range(fields.count(1)))


def _holes(fields: Fields, size: int) -> tuple[tuple[int, int], ...]:
    found, at = [], 0
    for _number in range(fields.count(2)):
        offset = at + fields.number()
        length = fields.number()
        at = offset + length
        found.append((offset, length))
    if at > size:
        raise fields.damaged("a hole lies behind the end of its file")
    return tuple(found)
