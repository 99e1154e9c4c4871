"""The layout of a blobstorage: from its marker, from its directories, and as ZODB would see it.

ZODB goes by ``.layout`` alone.  Where that is missing, it takes a directory with anything in it but
hidden files for a *lawn*, and a new one for *bushy*; it writes the marker that says so, and looks
for each blob at the place that this layout has for it, and nowhere else.  A marker that it cannot
read or does not know ends its start.

So in a tree without its marker, as ``cp -r blobstorage/*`` leaves it, ZODB finds no blob, though
all are there.  A backup finds them, warns, and keeps them with the right marker.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup.blobs.layout import MARKER, Kind, Layout, layout_at, walk
from collective.recipe.backup.errors import BackupError, ConfigurationError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.smallfile import UnfitError, read_small

WHAT_A_CACHE_IS = "the blob cache of a ZEO client, and no blobstorage"

SIZE_LIMIT = 1000
"""More bytes than any marker has."""
_OF_A_CACHE = b"zeocache"
_CACHE_HINT = (
    "set blob_storage to the directory that the ZEO server writes to (blob-dir in its zeo.conf), "
    "and back up on the machine where that is"
)


def is_cache(root: Path) -> bool:
    """Tell whether the directory *root* is one in which a ZEO client caches blobs.

    The marker of ZEO says so.  The client removes blobs that were not used for long, and never had
    those of the server that it did not use.
    """
    return _text(root) == _OF_A_CACHE


def refuse_cache(root: Path) -> None:
    """Raise ConfigurationError if the directory *root* is the blob cache of a ZEO client."""
    if is_cache(root):
        raise ConfigurationError(f"this is {WHAT_A_CACHE_IS}", where=root, hint=_CACHE_HINT)


def layout_of(root: Path) -> Layout:
    """Return the layout of a stored tree of blobs.

    Without a readable marker the directories decide, and for an empty directory ZODB's default,
    bushy.  Raises IntegrityError when the marker names a layout that no blobstorage has, or is no
    file that could.
    """
    try:
        data = read_small(root / MARKER, SIZE_LIMIT)
    except UnfitError as error:
        what = f"cannot tell the layout of the blobstorage: {error.strerror}"
        raise IntegrityError(what, where=root / MARKER, hint=error.hint) from error
    except OSError:
        data = None
    if data is None:
        return _found_in(root) or Layout.BUSHY
    name = data.strip().decode("utf-8", "replace")
    try:
        return Layout(name)
    except ValueError:
        hint = "blob_storage must be the directory that the ZEO server or the instance writes to"
        # which is not quoted: a link may have led root to what its user must not see
        what = "this file names a layout that no blobstorage has"
        if data.strip() == _OF_A_CACHE:
            what, hint = f"this is {WHAT_A_CACHE_IS}", _CACHE_HINT
        raise IntegrityError(what, where=root / MARKER, hint=hint) from None


def laid_out(root: Path) -> Layout:
    """Return the layout of the blobstorage of a site, also where its marker is no good."""
    return marked(root) or _found_in(root) or Layout.BUSHY


def marked(root: Path) -> Layout | None:
    """Return what the marker says, None if there is none that ZODB knows."""
    return spelled(_text(root) or b"")


def spelled(text: bytes) -> Layout | None:
    """Return the layout that the *text* of a marker names, None if it is none that ZODB knows."""
    with suppress(ValueError):
        return Layout(text.strip().decode("ascii", "replace"))
    return None


def missing_marker(root: Path) -> Layout | None:
    """Return what the marker should say that *root* lacks; None if it has one, or no blob."""
    return None if marked(root) else _found_in(root)


def place_of(root: Path, layout: Layout, blob: BlobId) -> str:
    """Return where *blob* lies below *root*, whose marker says *layout*.

    That may be where the other layout has it, and where ZODB does not find it.
    """
    path = layout.path(blob)
    if os.path.lexists(f"{root}/{path}"):
        return path
    other = (Layout.LAWN if layout is Layout.BUSHY else Layout.BUSHY).path(blob)
    return other if os.path.isfile(f"{root}/{other}") else path


def size_at(root: Path, layout: Layout, blob: BlobId) -> int | None:
    """Return the bytes of the file of *blob*, None if it has none; as ``place_of`` looks for it.

    Raises OSError if nobody can look there.
    """
    for each in dict.fromkeys((layout, *Layout)):
        with suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(f"{root}/{each.path(blob)}")
            if stat.S_ISREG(status.st_mode):
                return status.st_size
    return None


def flaw_of(root: Path) -> BackupError | None:
    """Return what keeps ZODB from finding the blobs below *root*, None if nothing does."""
    there, said = _found_in(root), marked(root)
    word = f"write the word {(there or Layout.BUSHY).value} into this file"
    stopped = f"stop the site, and {word}"
    if said is None and os.path.lexists(root / MARKER):
        what = "ZODB cannot tell the layout from this, and does not open the blobstorage"
        return BackupError(what, where=root / MARKER, hint=stopped)
    zodb = said or _guessed_by_zodb(root)
    if there is None or there is zodb:
        return None
    if said is None:
        what = f"this is missing, so ZODB takes the layout for {zodb.value}"
    else:
        what, stopped = f"this says {zodb.value}", f"if all of them are, {stopped}"
    what += f", and does not find the blobs that are laid out as {there.value}"
    return BackupError(what, where=root / MARKER, hint=stopped)


def settle(root: Path, files: Files) -> None:
    """Make sure that a restored tree, to which nobody else writes, has the marker of its blobs."""
    said, there = marked(root), _found_in(root)
    if there is None or said is there:
        return
    if said is not None and said in _all_in(root):
        return  # it has both
    files.clear(root / MARKER)
    files.write(root / MARKER, there.value.encode("ascii"))


def _text(root: Path) -> bytes | None:
    """Return the text of the marker, None if there is no readable one."""
    try:
        data = read_small(root / MARKER, SIZE_LIMIT)
    except OSError:
        return None
    return data if data is None else data.strip()


def _found_in(root: Path) -> Layout | None:
    """Return the layout of the first blob, None if there is none."""
    return next((layout_at(each.path) for each in walk(root) if each.kind is Kind.BLOB), None)


def _all_in(root: Path) -> set[Layout | None]:
    return {layout_at(each.path) for each in walk(root) if each.kind is Kind.BLOB}


def _guessed_by_zodb(root: Path) -> Layout:
    hidden = all(name.startswith(".") for name in os.listdir(root))
    return Layout.BUSHY if hidden else Layout.LAWN
