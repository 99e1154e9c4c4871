"""Owners in archives: by number and by name, of which the name counts where there is one."""

from __future__ import annotations

import grp
import pwd
from functools import lru_cache


@lru_cache(maxsize=64)
def user_name(uid: int) -> bytes:
    """Return the name of a user, empty if there is none."""
    try:
        return pwd.getpwuid(uid).pw_name.encode("utf-8", "surrogateescape")
    except KeyError:
        return b""


@lru_cache(maxsize=64)
def group_name(gid: int) -> bytes:
    """Return the name of a group, empty if there is none."""
    try:
        return grp.getgrgid(gid).gr_name.encode("utf-8", "surrogateescape")
    except KeyError:
        return b""


@lru_cache(maxsize=64)
def user_id(name: bytes, uid: int) -> int:
    """Return the id that a user of this name has here, otherwise *uid*."""
    try:
        return pwd.getpwnam(name.decode("utf-8", "surrogateescape")).pw_uid if name else uid
    except KeyError:
        return uid


@lru_cache(maxsize=64)
def group_id(name: bytes, gid: int) -> int:
    """Return the id that a group of this name has here, otherwise *gid*."""
    try:
        return grp.getgrnam(name.decode("utf-8", "surrogateescape")).gr_gid if name else gid
    except KeyError:
        return gid
