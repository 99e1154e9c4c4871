"""Real mounts for a test, which nothing outside of it sees and which end with it.

A test that is decorated with ``mounted`` runs in a child process with a mount namespace of
its own (and, where the user is not root, with a user namespace in which it is).  Such a
test says that it ``needs("mounts")``: some containers allow no mounts.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NEW_MOUNTS, NEW_USERS = 0x00020000, 0x10000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
DETACH = 2


def mounted(test: Callable[..., None]) -> Callable[..., None]:
    """Let *test* run where it may mount things."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        failed = _in_a_child(functools.partial(test, *args, **kwargs))
        if failed:
            pytest.fail(failed, pytrace=False)

    return pytest.mark.needs("mounts")(run)


@functools.cache
def can_mount() -> bool:
    """Tell whether this user may have a namespace and mount things in it."""
    return sys.platform == "linux" and not _in_a_child(lambda: tmpfs(Path("/mnt")))


def bind(source: Path, target: Path) -> None:
    """Let a directory or a file appear at *target*, which is of the same kind, as well."""
    _mount(source, target, "none", BIND)


def tmpfs(target: Path, size: int | None = None) -> None:
    """Mount a file system of its own, which is empty, on the directory *target*.

    It has room for *size* bytes (None: for half of the memory).
    """
    _mount("tmpfs", target, "tmpfs", 0, f"size={size}" if size else "")


def overlay(target: Path, lower: Path, scratch: Path) -> None:
    """Mount *lower* on *target*, with what changes in it in *scratch*: as containers do."""
    for name in ("upper", "work"):
        (scratch / name).mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={scratch}/upper,workdir={scratch}/work"
    _mount("overlay", target, "overlay", 0, options)


def make_read_only(target: Path) -> None:
    """Let nothing be changed below the mount point *target* any more."""
    _mount("none", target, "none", REMOUNT | BIND | READ_ONLY)


def unmount(target: Path) -> None:
    """Take away what is mounted on *target*."""
    _check(_libc().umount2(os.fsencode(target), DETACH), target)


def _in_a_child(function: Callable[[], object]) -> str:
    """Run *function* in a child process that may mount things; return how it failed, or ""."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            _enter_namespace()
            function()
            status = 0
        except BaseException:  # noqa: BLE001  the parent raises it
            said = traceback.format_exc().encode("utf-8", "backslashreplace")
            os.write(writer, said[-60_000:])
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    _pid, status = os.waitpid(child, 0)
    return said or (f"the child ended with status {status}" if status else "")


def _enter_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    _check(_libc().unshare(NEW_MOUNTS | (NEW_USERS if user else 0)))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), "none", RECURSIVE | PRIVATE)


def _mount(source: str | Path, target: Path, kind: str, flags: int, options: str = "") -> None:
    _check(
        _libc().mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode("ascii"),
            ctypes.c_ulong(flags),
            os.fsencode(options),
        ),
        target,
    )


def _check(result: int, path: Path | None = None) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *([os.fspath(path)] if path else []))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
