"""The owner and the permissions of sources, which a restore gives back.

A machine that was set up anew may have other numbers, so names and numbers are kept: the name
counts if this machine knows it.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import threading
from contextlib import suppress

from collective.recipe.backup.frozen import dataclass

WIDTH = 5
"""Texts that describe the rights of one file."""


@dataclass(frozen=True, kw_only=True)
class Rights:
    """The owner, the group and the permissions of a file or directory."""

    mode: int  # the permission bits alone
    uid: int  # of the owner
    gid: int  # of the group
    user: str = ""  # the name of the owner; "": the machine had none
    group: str = ""  # the name of the group; "" likewise

    def as_status(self) -> os.stat_result:
        """Return them as those of a file of this machine."""
        uid, gid = self.uid, self.gid
        with suppress(KeyError):
            uid = pwd.getpwnam(self.user).pw_uid
        with suppress(KeyError):
            gid = grp.getgrnam(self.group).gr_gid
        return os.stat_result((self.mode, 0, 0, 0, uid, gid, 0, 0, 0, 0))


def rights_of(path: str | os.PathLike[str]) -> Rights:
    """Return those of the file or directory at *path*; a link is followed.  Raises OSError."""
    status = os.stat(path)
    user = group = ""
    with suppress(KeyError):
        user = pwd.getpwuid(status.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(status.st_gid).gr_name
    mode = stat.S_IMODE(status.st_mode)
    return Rights(mode=mode, uid=status.st_uid, gid=status.st_gid, user=user, group=group)


_asking = threading.Lock()
"""Held while the mask is another one: who asked then would take that for it."""


def umask() -> int:
    """Return which permission bits this process does not give; there is no call that only asks."""
    with _asking:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def written(rights: Rights) -> list[str]:
    """Return *rights* as WIDTH texts: the mode in octal, ids and names of owner and group."""
    return [f"{rights.mode:04o}", str(rights.uid), rights.user, str(rights.gid), rights.group]


def understood(texts: list[str]) -> Rights:
    """Return what ``written`` has put into words.  Raises ValueError."""
    mode, uid, user, gid, group = texts
    found = Rights(mode=int(mode, 8), uid=int(uid), gid=int(gid), user=user, group=group)
    if not (0 <= found.mode <= 0o7777 and 0 <= found.uid < 1 << 32 and 0 <= found.gid < 1 << 32):
        raise ValueError(f"no rights of a file: {texts}")
    return found
