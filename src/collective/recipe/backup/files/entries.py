"""Names in directories: links, renames, temporary names, and what died runs left under those.

Names are those of a directory that is held (see held), so root changes nothing outside of the
directories that it was told of, whatever their owner does meanwhile.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collective.recipe.backup import held, listings
from collective.recipe.backup.files.changes import REFUSED
from collective.recipe.backup.files.directories import Directories
from collective.recipe.backup.files.partials import PROBE, is_partial, trying_lock
from collective.recipe.backup.links import StrPath

_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_RENAME = {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR}


class Entries(Directories):
    """Changes of names, final and temporary ones."""

    def __init__(self, token: Callable[[], str] = lambda: os.urandom(4).hex()) -> None:
        """Take *token*, which returns 8 hex digits that were not used before."""
        super().__init__()
        self._token = token

    def link(self, source: StrPath, target: StrPath) -> bool:
        """Hard link *target* to *source*; False where the file system cannot."""
        try:
            self._change("link", target, held.link, source, target)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise
        return True

    def symlink(self, text: str, final: Path) -> None:
        """Make *final* a symbolic link to *text*, in one step even if it is one already."""
        partial = self.partial_name(final)
        self._change("symlink", partial, held.symlink, text, partial)
        try:
            self.rename(partial, final)
        except BaseException:
            self.discard(partial)
            raise

    def make_link(self, text: str, target: StrPath, like: os.stat_result) -> None:
        """Make *target* a symbolic link to *text*, for root with the owner of one it is *like*.

        It must lie in a staged tree, which the caller syncs.
        """
        self._change("symlink", target, held.symlink, text, target)
        if os.geteuid() == 0:
            self._try("chown", target, held.chown_link, target, (like.st_uid, like.st_gid))

    def point(self, link: Path, text: str) -> bool:
        """Make *link* a symbolic link to *text* for convenience; False where there are none."""
        try:
            self.symlink(text, link)
        except OSError as error:
            if error.errno in REFUSED:
                return False
            raise
        return True

    def rename(self, source: Path, target: Path) -> None:
        """Rename within a file system and make both directories durable."""
        self._change("rename", target, held.rename, source, target)
        self.sync_directory(target.parent)
        if source.parent != target.parent:
            self.sync_directory(source.parent)

    def move(self, source: Path, target: Path) -> None:
        """Rename within a file system; not durable before the trees of both are synced."""
        self._change("rename", target, held.rename, source, target)

    @contextmanager
    def trying_renames(self, room: Path) -> Iterator[Callable[[Path], OSError | None]]:
        """Yield what tells why a path cannot be renamed into *room*, None if it can.

        Nothing moves: the new name is that of a directory that is not empty, which no
        rename may replace, and the other reasons against a rename come before that one.
        For a file one reason remains untold: something that is mounted on it.  Raises
        OSError if nothing can be made in *room*, or nothing removed.
        """
        probe = self.partial_name(room / PROBE)
        try:
            self.make_directory(probe)
            self.make_directory(probe / PROBE)
        except OSError as error:
            self.discard(probe)
            # the name of the probe says nothing
            raise OSError(error.errno, error.strerror, os.fspath(room)) from error
        try:
            yield functools.partial(self._refusal, probe=probe)
        except BaseException:
            self.discard(probe)
            raise
        self.clear(probe)

    def _refusal(self, path: Path, probe: Path) -> OSError | None:
        try:
            self._change("try", path, held.rename, path, probe)
        except OSError as error:
            if error.errno in _NO_RENAME:
                return OSError(error.errno, error.strerror, os.fspath(path))
            if error.errno in _IN_THE_WAY:
                return None
            raise
        self.rename(probe, path)  # a file system that keeps to no rule
        return None

    def touch(self, path: Path, times: tuple[int, int]) -> bool:
        """Set access and modification time of *path*, in nanoseconds since 1970.

        False where the file system refuses.
        """
        return self._try("utime", path, held.utime, path, times)

    def chmod(self, path: StrPath, mode: int) -> bool:
        """Set the permission bits of *path*; False where the file system refuses."""
        return self._try("chmod", path, held.chmod, path, mode)

    def partial_name(self, final: Path) -> Path:
        """Return a temporary name beside *final* that no other run uses."""
        return final.with_name(f"{final.name}.{self._token()}.partial")

    def sweep(self, directory: Path, *, of: str = "", alone: bool = True) -> list[Path]:
        """Remove remains of dead runs in *directory*, but no file of a living writer.

        *of* is the final name of what is removed, "": every name of ours.  *alone*: the caller
        holds a lock against other runs; otherwise only files that can be locked, and so have no
        living writer, are removed.  Returns the removed paths.  A directory that does not exist is
        empty.
        """
        try:
            found = [it for it in listings.entries(directory) if is_partial(it.name, of=of)]
        except FileNotFoundError:
            return []
        return [Path(entry) for entry in found if self._swept(entry, alone=alone)]

    def _swept(self, entry: os.DirEntry[str], *, alone: bool) -> bool:
        """Remove *entry*, a temporary name; False if a writer lives, or may live."""
        path = Path(entry)
        if entry.is_dir(follow_symlinks=False):
            if alone:
                self.remove_tree(path)
            return alone
        with trying_lock(path) as is_dead:
            may_go = alone if is_dead is None else is_dead
            if may_go:
                # its writer may have given it its name meanwhile
                with suppress(FileNotFoundError):
                    self.remove(path)
        return may_go

    def discard(self, partial: Path) -> None:
        """Remove *partial* on the way out; an error under way is worth more than ours."""
        with suppress(OSError):
            self.clear(partial)
