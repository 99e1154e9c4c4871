"""Owners of directories of backups: a mark keeps two sites from each other's backups.

A prune removes what none of its own restore points needs, and blobs that only those of another site
need are no exception.  So the first backup leaves a mark, ``.backup.owner`` among the filestorage
backups and ``.backup.owner.STORAGE`` among the blobs, and only its owner may write there later::

    key          names these backups; that of the blobs is that of their filestorage backups
    host         the machine, and on it
    filestorage  the filestorage that is backed up
    blobstorage  its blobstorage, or null
    directory    where the mark lies; inode is that of the directory
    backups      among blobs: where the filestorage backups lie; null: there are none

A site may move.  The filestorage that the mark names is no longer there then, and the site has
transactions that the backups know: it stays the owner.  A directory that was copied, or put on
another disk, belongs to the site that writes to it next, and so does one that is empty but for its
mark.  A damaged mark refuses sites whose transactions are not in the backups; the mark of a later
release refuses all. Readers look at no mark.  The doctor asks as a backup does, and writes none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from collective.recipe.backup import listings
from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    IntegrityError,
    explained,
    printable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, LaterReleaseError, Table, UnreadableError
from collective.recipe.backup.model import Source
from collective.recipe.backup.smallfile import UnfitError, read_small

NAME = ".backup.owner"

FORM = Form(version=1)
_KEY_SIZE = 16

_OF_NOBODY = {"lost+found"}

Knows = Callable[[], bool]
"""Tells whether the source has anything that the backups have; it may take its time."""


@dataclass(frozen=True, kw_only=True)
class OwnerMark:
    """The fields of a mark; see the module for the meanings."""

    key: str  # random; names these backups
    host: str  # name of the machine
    filestorage: str  # path of the filestorage
    blobstorage: str | None  # path of the blobstorage; None: there is none
    directory: str  # path of the directory of the mark
    inode: int  # of that directory
    backups: str | None = None
    """Among blobs, the directory of the filestorage backups; None: there are none."""


class Claim(NamedTuple):
    """A *mark* that may be put: no mark of another owner is in its way."""

    path: Path  # of the mark
    mark: OwnerMark  # to put there

    def write(self, files: Files) -> None:
        """Write it, if it does not lie there already."""
        data = FORM.encode(asdict(self.mark))
        with explained("cannot mark the backups as those of this site", self.path):
            if _bytes_of(self.path) != data:
                files.write(self.path, data)


def claim(directory: Path, source: Source, knows: Knows) -> Claim:
    """Return what makes the filestorage backups in *directory* those of *source*.

    Raises ConfigurationError if they are those of another site.
    """
    path, mine = directory / NAME, _mark(directory, source)
    mark = _still_there(path, knows)
    if mark is not None:
        same = (mark.host, mark.filestorage) == (mine.host, mine.filestorage)
        if same or (not _is_other(mark, mark.filestorage, source.filestorage) and knows()):
            mine = replace(mine, key=mark.key)
        elif holds_backups(directory):
            raise _refusal(path, f"the backups of {mark.filestorage}", mark)
    return Claim(path, mine)


def claim_blobs(
    directory: Path, storage: str, source: Source, backups: OwnerMark, knows: Knows
) -> Claim:
    """Return what makes the blobs of *storage* in *directory* those of the backups *backups*.

    Raises ConfigurationError if they belong to others.
    """
    path = _path(directory, storage)
    mark = _still_there(path, knows)
    if mark is not None and mark.key != backups.key and _is_claimed(mark, source):
        if mark.backups is None:
            raise _refusal(path, f"the backups of {mark.blobstorage}", mark)
        what = f"the blobs of the filestorage backups in {mark.backups}"
        raise _refusal(path, what, mark, _BLOBS_HINT)
    mine = _mark(directory, source)
    return Claim(path, replace(mine, key=backups.key, backups=backups.directory))


def claim_blobs_alone(directory: Path, storage: str, source: Source, knows: Knows) -> Claim:
    """Return what makes the blobs of *storage* in *directory* those of *source* alone.

    Raises ConfigurationError if they are those of another site.
    """
    path, mine = _path(directory, storage), _mark(directory, source)
    mark = _still_there(path, knows)
    # of filestorage backups that are being made there may be no blobs yet, and we lock only here
    if mark is not None and (mark.backups or holds_backups(directory)):
        same = (mark.host, mark.blobstorage) == (mine.host, mine.blobstorage)
        if not same and (_is_other(mark, mark.blobstorage, source.blobstorage) or not knows()):
            raise _refusal(path, f"the backups of {mark.blobstorage}", mark)
    return Claim(path, mine)


def former_storages(blobs: Path, backups: Path, storage: str) -> Iterator[str]:
    """Yield the names, besides *storage*, that the owner of *backups* has used in *blobs*.

    The blobstorage had these names under earlier configurations.  Marks that cannot be read are
    left out.
    """
    with suppress(OSError, BackupError, UnreadableError):
        mine = _read(backups / NAME)
        for name in sorted(os.listdir(blobs)) if mine else ():
            other = name.removeprefix(f"{NAME}.")
            if other not in (name, storage):
                with suppress(UnreadableError):
                    mark = _read(blobs / name)
                    if mark and mine and mark.key == mine.key:
                        yield other


def holds_backups(directory: Path) -> bool:
    """Tell whether there is anything but what a run leaves that made no backup."""
    try:
        names = (it.name for it in listings.entries(directory))
        return any(not name.startswith(".") and name not in _OF_NOBODY for name in names)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # unknown here; a backup that writes there will say why


def _path(directory: Path, storage: str) -> Path:
    return directory / f"{NAME}.{storage}"


def _mark(directory: Path, source: Source) -> OwnerMark:
    """Return the mark of *source* in *directory*, with a key that no other directory has."""
    with explained("cannot look at the backups", directory):
        # a caller that only asks may do so before the first backup has made it
        inode = directory.stat().st_ino if directory.exists() else 0
    host, place = os.uname().nodename, os.path.realpath(directory)
    filestorage, blobs = os.path.realpath(source.filestorage), source.blobstorage
    told = "\0".join([host, place, str(inode), filestorage]).encode("utf-8", "surrogateescape")
    return OwnerMark(
        key=blake3(told).hexdigest(_KEY_SIZE),
        host=host,
        filestorage=filestorage,
        blobstorage=None if blobs is None else os.path.realpath(blobs),
        directory=place,
        inode=inode,
    )


def _still_there(path: Path, knows: Knows) -> OwnerMark | None:
    """Return the mark at *path*, None if it came here with a copy, or if there is none.

    A damaged mark counts as None if the site *knows* the backups.
    """
    try:
        mark = _read(path)
    except UnreadableError as error:
        if isinstance(error, LaterReleaseError) or not knows():
            raise _illegible(path, error) from error
        return None
    if mark is None or mark.directory == os.path.realpath(path.parent):
        return mark
    # renamed, or mounted elsewhere; the roots of two disks may have the same number
    same = mark.inode == path.parent.stat().st_ino
    return mark if same and not _is_other(mark, mark.directory, path.parent) else None


def _is_claimed(mark: OwnerMark, source: Source) -> bool:
    """Tell whether a site still needs the blobs of *mark*, as far as this host can tell."""
    if mark.backups is None:
        return _is_other(mark, mark.blobstorage, source.blobstorage)
    if mark.host != os.uname().nodename:
        return True
    path = Path(mark.backups) / NAME
    try:
        theirs = _read(path)
    except UnreadableError as error:
        raise _illegible(path, error) from error
    return theirs is not None and theirs.key == mark.key


def _is_other(mark: OwnerMark, named: str | None, ours: Path | None) -> bool:
    """Tell whether what *mark* has *named* is there, and is not *ours*."""
    if named is None or ours is None or mark.host != os.uname().nodename:
        return False
    if not os.path.exists(named):
        return False
    return not (os.path.exists(ours) and os.path.samefile(named, ours))


_HINT = (
    "give each site a directory of its own; if this site has taken the place of that one, remove "
    "{} there, and the next backup goes on with what is there"
)
_BLOBS_HINT = (
    "move those to where the filestorage backups lie now, or give the blobs of this site a "
    "directory of their own; if those are not needed any longer, remove {} there"
)


def _refusal(path: Path, what: str, mark: OwnerMark, hint: str = _HINT) -> BackupError:
    return ConfigurationError(
        f"this directory holds {printable(what)} on {printable(mark.host)}",
        where=path.parent,
        hint=hint.format(printable(path.name)),
    )


def _bytes_of(path: Path) -> bytes | None:
    """Return the bytes of the mark at *path*, None if there is none or none that is a file."""
    try:
        return read_small(path)
    except UnfitError:
        return None


def _read(path: Path) -> OwnerMark | None:
    """Return what the mark at *path* says, None if there is none.

    Raises UnreadableError; see _illegible.
    """
    with explained("cannot read whose backups these are", path):
        table = FORM.load(path)
    return None if table is None else _decode(table)


def _illegible(path: Path, error: UnreadableError) -> IntegrityError:
    if isinstance(error, LaterReleaseError):
        hint = (
            "back up with that release, or a later one; if you went back to this one on purpose, "
            "remove the file, and the next backup writes it anew"
        )
    else:
        hint = "if they are those of this site, remove it, and the next backup writes it anew"
    what = f"this does not say whose backups these are: {error}"
    return IntegrityError(what, where=path, hint=hint)


def _decode(table: Table) -> OwnerMark:
    return OwnerMark(
        key=table.text("key"),
        host=table.text("host"),
        filestorage=str(table.path("filestorage")),
        blobstorage=_text(table.path_or_none("blobstorage")),
        directory=str(table.path("directory")),
        inode=table.number("inode"),
        backups=_text(table.path_or_none("backups")),
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
