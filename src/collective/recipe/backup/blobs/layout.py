"""The layout of a blobstorage: the path of each blob, and a walk over all files.

::

    .layout                              the name of the layout, "bushy" or "lawn"
    0x00/0x00/.../0x2a/0x03f1....blob    bushy: a directory for each byte of the oid
    0x2a/0x03f1....blob                  lawn: one directory for each oid, no leading zeros
    tmp/                                 uncommitted data

The file of a blob is called after the tid of the transaction that wrote it, in hex without leading
zero bytes.  Anything else is *foreign*: ZODB does not know it, we keep it.  Temporary files of one
process (``tmp``, locks, the list of a pack under way, the directories of a restore) are neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.times import Tid
from collective.recipe.backup.unreadable import CannotReadError, unreadable

MARKER = ".layout"

_BYTE = "[0-9a-f]{2}"
_NUMBER = f"(?:00|(?!00){_BYTE}(?:{_BYTE}){{0,7}})"  # ZODB finds it under no other spelling
_BUSHY = re.compile(rf"((?:0x{_BYTE}/){{8}})0x({_NUMBER})\.blob")
_LAWN = re.compile(rf"0x({_NUMBER})/0x({_NUMBER})\.blob")
_DIRECTORY = re.compile(rf"0x{_BYTE}(?:/0x{_BYTE}){{0,7}}|0x{_NUMBER}")
# the file that a ZEO client is about to hand over lies beside its future blob
_OF_A_RESTORE = r"\.backup\.(?:[0-9a-f]{8}\.partial|(?:restoring|leaving|replaced)(?:\.[^/]*)?)"
_OF_A_MOMENT = re.compile(
    rf"(?:.*/)?(?:\.lock|\.nfs[0-9a-f]+|{_OF_A_RESTORE})|(?:{_DIRECTORY.pattern})/[^/]*\.tmp.?",
    re.DOTALL,
)
_OF_A_MOMENT_AT_THE_ROOT = {"tmp", ".removed", "check_size.lock", "lost+found"}


class Kind(Enum):
    """The kinds of entries of a blobstorage."""

    BLOB = "blob"
    MARKER = "layout marker"
    FILE = "foreign file"
    LINK = "foreign symbolic link"
    DIRECTORY = "foreign directory"
    IMPOSTOR = "symbolic link in the place of a blob or of a directory of blobs"
    SPECIAL = "neither file, directory nor symbolic link"
    UNREADABLE = "directory that cannot be looked into"


class Entry(NamedTuple):
    """One entry of a blobstorage."""

    path: str  # below the root
    kind: Kind  # its kind

    @property
    def blob(self) -> BlobId | None:
        """The id of the blob, None if it is no blob."""
        return blob_of(self.path) if self.kind is Kind.BLOB else None

    def is_later(self, until: Tid) -> bool:
        """Tell whether it is a blob of a transaction after *until*."""
        if self.kind is not Kind.BLOB:
            return False
        # asked for each of thousands: by its digits, which may be fewer than 16
        digits = self.path[-len("0000000000000000.blob") : -len(".blob")].rpartition("x")[2]
        return digits.rjust(16, "0") > until.hex()

    @property
    def foreign(self) -> bool:
        """Tell whether ZODB knows nothing of it."""
        if self.kind is Kind.UNREADABLE:
            return not _DIRECTORY.fullmatch(self.path)
        return self.kind not in (Kind.BLOB, Kind.MARKER)


class Layout(Enum):
    """The way in which a blobstorage names the directories of its blobs."""

    BUSHY = "bushy"
    LAWN = "lawn"

    def path(self, blob: BlobId) -> str:
        """Return where the file of *blob* lies below the root."""
        if self is Layout.BUSHY:
            digits = blob.oid.hex()
            place = "/".join(f"0x{digits[at : at + 2]}" for at in range(0, 16, 2))
        else:
            place = f"0x{_shown(blob.oid)}"
        return f"{place}/0x{_shown(blob.tid)}.blob"


def blob_of(path: str) -> BlobId | None:
    """Return which blob lies at *path* below a root, None if that is no place for one."""
    found = _match(path)
    if not found:
        return None
    oid = bytes.fromhex(found[1].replace("0x", "").replace("/", ""))
    tid = bytes.fromhex(found[2])
    return BlobId(Oid(oid.rjust(8, b"\0")), Tid(tid.rjust(8, b"\0")))


def layout_at(path: str) -> Layout | None:
    """Return the layout that has a blob at *path* below a root, None if none has."""
    if not path.endswith(".blob"):
        return None
    if _BUSHY.fullmatch(path):
        return Layout.BUSHY
    return Layout.LAWN if _LAWN.fullmatch(path) else None


def _match(path: str) -> re.Match[str] | None:
    if not path.endswith(".blob"):
        return None
    return _BUSHY.fullmatch(path) or _LAWN.fullmatch(path)


def named(path: str) -> Entry | None:
    """Return what ZODB knows by the name *path* below a root, None if it knows nothing of it."""
    if _match(path):
        return Entry(path, Kind.BLOB)
    return Entry(path, Kind.MARKER) if path == MARKER else None


def is_foreign(path: str) -> bool:
    """Tell whether ZODB knows nothing of a file at *path* below a root."""
    return path != MARKER and not _match(path)


def may_be_foreign(path: str, kind: Kind) -> bool:
    """Tell whether ``walk`` may yield *path* as a FILE, LINK or DIRECTORY that is foreign."""
    if kind is Kind.DIRECTORY:
        return not _DIRECTORY.fullmatch(path) and not _is_of_a_moment(path)
    return _entry(path, _LETTERS[kind]) == Entry(path, kind)


def is_of_zodb(name: str) -> bool:
    """Tell whether *name*, right below a root, is one that ZODB gives, or a thing of a moment."""
    return name == MARKER or bool(_DIRECTORY.fullmatch(name)) or _is_of_a_moment(name)


def walk(root: Path) -> Iterator[Entry]:
    """Yield the entries below *root*, in the order of ``order``.

    A foreign directory comes before its entries; ZODB's own directories are left out.  Symbolic
    links are not followed.  Entries that vanish during the walk are left out.  A directory that
    cannot be read, whoever owns it, comes as such, without its entries.  Memory grows with the
    largest directory, not with the tree.  Raises OSError for *root* itself.
    """
    top = os.fspath(root)
    yield from _entries(_found(_listed(top, ""), partial(_below, top)))


def walk_unwritten(names: Callable[[str], Iterable[tuple[str, Kind]]]) -> Iterator[Entry]:
    """Yield the entries that ``walk`` would yield for a tree that is not on a disk.

    *names* returns the entries of the directory at a path: names, and whether each is a FILE, a
    LINK or a DIRECTORY.
    """

    def below(path: str) -> list[str]:
        place = f"{path}/" if path else ""
        return _in_reverse([f"{place}{name}\0{_LETTERS[kind]}" for name, kind in names(path)])

    yield from _entries(_found(below(""), below))


def _entries(found: Iterable[tuple[str, str]]) -> Iterator[Entry]:
    for path, letter in found:
        kind = _DIRECTORIES.get(letter)
        entry = Entry(path, kind) if kind else _entry(path, letter)
        if entry:
            yield entry


def blobs_in(root: Path) -> Iterator[BlobId]:
    """Yield the blobs that have a file below *root*; raises as ``walk`` does."""
    return (blob for entry in walk(root) if (blob := entry.blob))


_Below = Callable[[str], "list[str] | None"]
"""Returns the items of the directory at a path, the last first; None if it cannot be read."""


def _found(waiting: list[str], below: _Below) -> Iterator[tuple[str, str]]:
    """Yield path and letter of all but ZODB's own directories; first is *waiting*, last first."""
    while waiting:
        item = waiting.pop()
        path, letter = item[:-2], item[-1]
        if letter != _A_DIRECTORY:
            yield path, letter
            continue
        is_foreign = not _DIRECTORY.fullmatch(path)
        if is_foreign and _is_of_a_moment(path):
            continue
        inside = below(path)
        if inside is None:
            yield path, _UNREADABLE
        elif is_foreign:
            yield path, letter
        waiting += inside or ()


def _below(top: str, path: str) -> list[str] | None:
    """Return the items of a directory as ``_listed`` does, None if it cannot be read."""
    try:
        return _listed(top, path)
    except FileNotFoundError:  # ZODB removes the directories that a pack has emptied
        return []
    except OSError as error:
        if isinstance(unreadable(error, path), CannotReadError):
            return None
        raise


def order(path: str) -> bytes:
    """Return what paths are sorted by: each directory's names by their bytes, depth first."""
    return os.fsencode(path).replace(b"/", b"\0")


_A_FILE, _A_LINK, _A_DIRECTORY, _A_SPECIAL, _UNREADABLE = "f", "l", "d", "s", "u"
_DIRECTORIES = {_A_DIRECTORY: Kind.DIRECTORY, _UNREADABLE: Kind.UNREADABLE}
_FOREIGN = {_A_FILE: Kind.FILE, _A_LINK: Kind.LINK, _A_SPECIAL: Kind.SPECIAL}
_LETTERS = {Kind.FILE: _A_FILE, Kind.LINK: _A_LINK, Kind.DIRECTORY: _A_DIRECTORY}


def _listed(top: str, path: str) -> list[str]:
    """Return the items of a directory, the last first: paths, each with a NUL and a letter.

    A lawn has one directory for each of maybe 400,000 blobs: strings cost a third of the memory of
    os.DirEntry objects.
    """
    place, directory = (f"{path}/", f"{top}/{path}") if path else ("", top)
    with os.scandir(directory) as found:
        return _in_reverse([f"{place}{entry.name}\0{_letter(entry)}" for entry in found])


def _in_reverse(items: list[str]) -> list[str]:
    """Sort *items*, the last first, and return them."""
    if len(items) > 1:
        # the order of bytes is that of characters, but for names that are no text
        key = None if all(map(str.isascii, items)) else os.fsencode
        items.sort(key=key, reverse=True)
    return items


def _letter(entry: os.DirEntry[str]) -> str:
    if entry.is_dir(follow_symlinks=False):
        return _A_DIRECTORY
    if entry.is_file(follow_symlinks=False):
        return _A_FILE
    return _A_LINK if entry.is_symlink() else _A_SPECIAL


def _is_of_a_moment(path: str) -> bool:
    return path in _OF_A_MOMENT_AT_THE_ROOT or bool(_OF_A_MOMENT.fullmatch(path))


def _entry(path: str, letter: str) -> Entry | None:
    """Return the entry at *path*, which is no directory; None for one that is left out."""
    is_blob = _match(path)
    if is_blob and letter == _A_FILE:
        return Entry(path, Kind.BLOB)
    if letter == _A_LINK and (is_blob or path == MARKER or _DIRECTORY.fullmatch(path)):
        return Entry(path, Kind.IMPOSTOR)
    if letter == _A_FILE and path == MARKER:
        return Entry(path, Kind.MARKER)
    return None if _is_of_a_moment(path) else Entry(path, _FOREIGN[letter])


def _shown(number: bytes) -> str:
    return number.lstrip(b"\0").hex() or "00"
