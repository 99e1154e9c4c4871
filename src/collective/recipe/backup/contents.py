"""Exchange of the contents of a directory that must stay, such as a mount point.

A mount point cannot be renamed, and neither can a directory above which this user may change
nothing, or one in a layer of a container.  So its entries are exchanged, by way of directories in
it, on the same disk::

    PLACE/.backup.restoring/   what comes
    PLACE/.backup.leaving/     what leaves, as long as not all of it has left
    PLACE/.backup.replaced/    what has left

    1. each entry of PLACE is renamed into ``leaving``; a sync; that becomes ``replaced``
    2. each entry of ``restoring`` is renamed into PLACE; a sync; ``restoring`` goes

A run that finds broken-off work looks at the names: without ``replaced`` it goes on at step 1,
with it at step 2, and without ``restoring`` the work is done.

A tree with mounts in it has several places: its top, and each mount point.  Those, and the
directories on the way to them, stay where they are, and each entry of them is exchanged on
its own disk.  A directory that cannot be renamed because it lies in a lower layer of an
overlay is emptied and filled.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.partials import PROBE, is_partial
from collective.recipe.backup.frozen import dataclass

logger = logging.getLogger("backup")

STAGED, LEAVING, REPLACED = ".backup.restoring", ".backup.leaving", ".backup.replaced"

_OF_THE_DISK = {"lost+found"}
"""Names at the top of a disk that belong to its file system."""
_STAYS = {errno.EBUSY, errno.EACCES, errno.EPERM}


@dataclass(frozen=True)
class ExchangedDirectory:
    """A directory whose contents are exchanged on one disk."""

    root: Path  # its path
    mounts: frozenset[Path] = frozenset()
    """Mount points below it, each of which is a place of its own."""
    fixed: frozenset[Path] = frozenset()
    """Directories below it that stay: mount points, and the directories above those."""

    @property
    def staged(self) -> Path:
        """The directory of the new contents."""
        return self.root / STAGED

    @property
    def leaving(self) -> Path:
        """The directory of contents that have begun to leave."""
        return self.root / LEAVING

    @property
    def replaced(self) -> Path:
        """The directory of contents that have left."""
        return self.root / REPLACED


def places_of(live: Path, below: Sequence[str]) -> list[ExchangedDirectory]:
    """Return the places of the tree *live* with mount points at the paths *below* it."""
    mounts = frozenset(live / path for path in below)
    fixed = {
        directory
        for mount in mounts
        for directory in (mount, *mount.parents)
        if directory.is_relative_to(live)
    }
    return [ExchangedDirectory(root, mounts, frozenset(fixed)) for root in (live, *sorted(mounts))]


def lay_out(places: Sequence[ExchangedDirectory], files: Files) -> None:
    """Make a room for what comes in each place; in the first one links lead to the others."""
    top, *others = places
    for place in places:
        files.make_directory_like(place.staged, place.root.stat())
    for place in others:
        path = top.staged / place.root.relative_to(top.root)
        for directory in reversed(path.parents):
            if directory.is_relative_to(top.staged) and directory != top.staged:
                original = top.root / directory.relative_to(top.staged)
                files.make_directory_like(directory, original.stat())
        files.symlink(os.fspath(place.staged), path)


def laid_out_in(target: Path) -> frozenset[str] | None:
    """Return the paths of the links to other rooms below *target*; None if there is more.

    A *target* that is not there has none.  One that has more than directories and such links
    is no place to restore to.
    """
    if target.is_symlink():
        return None
    links = set()
    waiting = [target] if target.exists() else []
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry))
                elif entry.is_symlink() and os.path.basename(os.readlink(entry)) == STAGED:
                    links.add(os.fspath(Path(entry).relative_to(target)))
                else:
                    return None
    return frozenset(links)


def check(place: ExchangedDirectory, coming: Path, files: Files) -> None:
    """Raise OSError if an entry has to leave *place* for those of *coming*, and cannot.

    Nothing is changed.
    """
    with files.trying_renames(place.root) as refusal:
        for path, comes in _pairs(place.root, coming, place):
            error = refusal(path)
            # a directory of a lower layer is emptied, and anything else that cannot be
            # moved stays, unless something comes to its place
            if error is not None and error.errno != errno.EXDEV and os.path.lexists(comes):
                raise error


def exchange(place: ExchangedDirectory, files: Files) -> None:
    """Exchange the contents of *place* for the staged ones.

    The exchange may have been begun before.  Raises IntegrityError if files were made there since.
    """
    if not os.path.lexists(place.staged):
        return
    if not os.path.lexists(place.replaced):
        files.make_directory_like(place.leaving, place.root.stat())
        _leave(place.root, place.leaving, place, files)
        files.sync_tree(place.root)
        files.rename(place.leaving, place.replaced)
    _come(place.staged, place.root, place, files)
    files.sync_tree(place.root)
    gone = files.partial_name(place.staged)
    files.rename(place.staged, gone)
    files.clear(gone)


def stage_again(place: ExchangedDirectory, files: Files) -> None:
    """Stage the contents again that have left *place*; there may be none."""
    if os.path.lexists(place.staged):
        return
    if os.path.lexists(place.replaced):
        files.rename(place.replaced, place.staged)
    else:
        files.make_directory_like(place.staged, place.root.stat())
        files.sync_directory(place.root)


def has_replaced(place: ExchangedDirectory) -> bool:
    """Tell whether something has left *place* and is still there."""
    return _is_directory(place.replaced) and not _is_empty(place.replaced)


def clear(place: ExchangedDirectory, files: Files) -> None:
    """Remove the directories of an exchange, but for the staged one."""
    for path in (place.leaving, place.replaced):
        files.clear(path)


def _leave(source: Path, target: Path, place: ExchangedDirectory, files: Files) -> None:
    """Move the entries of *source* to *target*."""
    for path, left in _pairs(source, target, place):
        if path in place.fixed:
            _leave(path, left, place, files)
            continue
        _make_room(target, source, files)
        if os.path.lexists(left) and not (_is_directory(left) and _is_directory(path)):
            raise _made_since(path)
        _move_away(path, left, place, files)


def _move_away(path: Path, left: Path, place: ExchangedDirectory, files: Files) -> None:
    try:
        files.move(path, left)
        return
    except OSError as error:
        coming = place.staged / path.relative_to(place.root)
        if error.errno in _STAYS and not os.path.lexists(coming):
            logger.warning("this cannot be moved and stays where it is: %s", path)
            return
        # a lower layer of an overlay; or the directory has begun to leave
        if error.errno not in (errno.EXDEV, errno.ENOTEMPTY) or not _is_directory(path):
            raise
    _make_room(left, path, files)
    _leave(path, left, place, files)
    files.remove_empty(path)


def _come(source: Path, target: Path, place: ExchangedDirectory, files: Files) -> None:
    """Move the entries of *source* to *target*."""
    for coming, path in _pairs(source, target, place):
        if path in place.mounts:
            continue  # it comes on a disk of its own
        if not os.path.lexists(path):
            files.move(coming, path)
        elif _may_be_filled(path, place) and _is_directory(coming):
            _come(coming, path, place, files)
        else:
            raise _made_since(path)


def _may_be_filled(path: Path, place: ExchangedDirectory) -> bool:
    """Tell whether *path* is a directory that could not leave, or has nothing in it."""
    return _is_directory(path) and (path in place.fixed or _is_empty(path))


def _pairs(source: Path, target: Path, place: ExchangedDirectory) -> Iterator[tuple[Path, Path]]:
    """Yield each entry of *source*, and what it is called in *target*; no room of ours.

    A mount point is left out: it is a place of its own.
    """
    ours = {STAGED, LEAVING, REPLACED, *_OF_THE_DISK}
    for name in sorted(os.listdir(source)):
        path = source / name
        is_ours = name in ours or (name.startswith(f"{PROBE}.") and is_partial(name))
        if not (is_ours and source == place.root) and path not in place.mounts:
            yield path, target / name


def _make_room(path: Path, original: Path, files: Files) -> None:
    """Make *path* like *original*, with those above it, as far as they are not there."""
    if not os.path.lexists(path):
        _make_room(path.parent, original.parent, files)
        files.make_directory_like(path, original.lstat())


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def _made_since(path: Path) -> IntegrityError:
    return IntegrityError(
        "something was made here after a restore had been broken off",
        where=path,
        hint="move it away, then run the restore again",
    )
