"""One change to a disk, with the owner and permissions of its result.

Each single change goes through ``Changes._change``; the fault tests put their hand there.
Root gives owners and modes to what is open, never to a name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from collective.recipe.backup.audience import audience_of
from collective.recipe.backup.errors import names_a_path
from collective.recipe.backup.files.partials import PROBE, final_path
from collective.recipe.backup.links import StrPath

P = ParamSpec("P")
T = TypeVar("T")

REFUSED = {
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EOVERFLOW,  # an owner that this user namespace does not know
}
"""Numbers of the errors of a file system that cannot do an operation, or not for this user."""
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OF_DATA = 0o777
_NAMES_ANOTHER = {"link", "symlink"}
"""Operations whose errors name the target of the link first."""


class ExchangedError(OSError):
    """The file at a path is not the one that was made there: another user owns the directory."""

    hint = "find out which program changes this directory, and stop it; then run the command again"

    @classmethod
    def at(cls, path: StrPath) -> ExchangedError:
        """Return the error for *path*."""
        return cls(errno.ESTALE, "something else was put in its place", os.fspath(path))


class Changes:
    """The primitive by which each change to a disk is made."""

    def __init__(self) -> None:
        """Limit nothing yet."""
        self._sources: dict[str, set[str]] = {}

    def limit(self, directory: StrPath, source: StrPath) -> None:
        """Open new files at *directory* and below to no more users than *source*.

        That goes for all files and directories of ours there; copies of single files keep the
        permissions of the original.  As long as there is no *source*, they are open to their owner
        alone.
        """
        self._sources.setdefault(os.fspath(directory), set()).add(os.fspath(source))

    def _limited(self, path: StrPath, mode: int) -> int:
        """Return the bits of *mode* that a new file or directory at *path* may have."""
        text = os.fspath(path)
        for directory, sources in self._sources.items():
            if text == directory or text.startswith(f"{directory}/"):
                group = _group_in(os.path.dirname(text))
                for source in sources:
                    mode &= audience_of(source, beside=text).mask(group)
        return mode

    def denied_in(self, directory: Path) -> int:
        """Return the permission bits that nothing new in *directory* may have; see limit."""
        return OF_OTHERS & ~self._limited(directory / PROBE, 0o777)

    def _change(
        self,
        operation: str,
        path: StrPath,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what *function* returns, which changes *path*; its errors name that.

        They name the final file in the place of a temporary one, which is gone when they are read.
        """
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if operation in _NAMES_ANOTHER or not names_a_path(error):
                error.filename = os.fspath(path)
                del error.filename2
            error.filename = final_path(os.fsdecode(error.filename))
            raise

    def _try(
        self,
        operation: str,
        path: StrPath,
        function: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> bool:
        """Make a change that no restore depends on; False where the file system refuses it.

        A disk that is broken or full does not refuse: that raises.
        """
        try:
            self._change(operation, path, function, *args, **kwargs)
        except OSError as error:
            if error.errno in REFUSED:
                return False
            raise
        return True

    def _keep_rights(
        self, target: StrPath, descriptor: int, like: os.stat_result, made: os.stat_result
    ) -> None:
        """Give what was *made* so the mode, the group and, for root, the owner of another one.

        No file gets a set-user-ID or set-group-ID bit: no data needs it, and others may have
        written the file that root restores.  A directory stays open to its owner.
        """
        mode = self._adopted(target, descriptor, like, made)
        mode = mode | stat.S_IRWXU if stat.S_ISDIR(made.st_mode) else mode & _OF_DATA
        if stat.S_IMODE(made.st_mode) != mode:
            self._try("chmod", target, os.fchmod, descriptor, mode)

    def _adopted(
        self, path: StrPath, descriptor: int, like: os.stat_result, made: os.stat_result
    ) -> int:
        """Give what was *made* the group and, for root, the owner of another one.

        Returns the mode that it may have.  Where it cannot have the group, members of its own
        get no more than others have.
        """
        mode, uid = stat.S_IMODE(like.st_mode), like.st_uid if os.geteuid() == 0 else -1
        same = made.st_gid == like.st_gid
        if (not same or uid not in {-1, made.st_uid}) and not self._try(
            "chown", path, os.fchown, descriptor, uid, like.st_gid
        ):
            return mode if same else mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
        return mode

    def _hand_over(self, path: StrPath, descriptor: int, directory: os.stat_result) -> None:
        """Give a file that root has just made to the owner of its *directory*, who will work on it.

        A run by root must not stop later runs of the site's own user.
        """
        if os.geteuid() == 0 and directory.st_uid:
            self._try("chown", path, os.fchown, descriptor, directory.st_uid, directory.st_gid)


def _group_in(directory: str) -> int:
    """Return the id of the group that gets what we make in *directory*."""
    status = os.stat(directory)
    handed_over = os.geteuid() == 0 and status.st_uid
    return status.st_gid if handed_over or status.st_mode & stat.S_ISGID else os.getegid()
