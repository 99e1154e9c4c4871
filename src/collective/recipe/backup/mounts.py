"""Mount points, by the account of the kernel.

A bind mount of a directory, or of a single file, may have the device number of what is
around it, so device numbers do not tell.  Linux has a line for each mount of a process in
``/proc/self/mountinfo``, see proc_pid_mountinfo(5)::

    36 35 98:0 /mnt1 /mnt/with\\040space rw,noatime master:1 - ext3 /dev/root rw
    |                |
    |                mount point; what would end the field is three octal digits
    number of the mount

A later mount can cover an earlier one, whose line stays.  So a line counts only if its path
leads to that very mount, whose number ``/proc/self/fdinfo`` has.

Where there is no such file, as outside of Linux, the device numbers decide.

The mounts that should be there are known as far as the administrator has written them into
``/etc/fstab``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")
DESCRIPTORS = Path("/proc/self/fdinfo")
EXPECTED = Path("/etc/fstab")

_PATH_ONLY = getattr(os, "O_PATH", 0)
_MOUNT_NUMBER = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)


def mounts_in(path: Path) -> list[Path]:
    """Return the mount points that *path* is or holds, sorted; links in it are followed.

    They are given below the real place of *path*.  Raises OSError where there is no table,
    and a directory in *path* cannot be listed.
    """
    top = os.path.realpath(path)
    numbers = _table()
    if numbers is None:
        return sorted(_by_devices(top))
    inside = f"{top.rstrip('/')}/"
    points = [point for point in numbers if point == top or point.startswith(inside)]
    return sorted(Path(point) for point in points if _is_visible(point, numbers[point]))


def mount_of(path: Path) -> Path:
    """Return the mount point that *path*, links followed, lies on or would lie on.

    A *path* that is a mount point itself lies on that.
    """
    place = os.path.realpath(path)
    numbers = _table()
    while place != os.path.dirname(place):
        if _is_mount(place, numbers):
            break
        place = os.path.dirname(place)
    return Path(place)


def type_of(path: Path) -> str:
    """Return what kind of file system *path* lies or would lie on, "" where that is not known.

    It is a word of the kernel, as "ext4" or "nfs".
    """
    point = os.fspath(mount_of(path))
    found = ""
    for fields in _lines() or ():
        # after a lone dash; the last of several mounts at one place is the one that is seen
        if _mount_point(fields) == point and b"-" in fields[6:-1]:
            found = os.fsdecode(fields[fields.index(b"-", 6) + 1])
    return found


def absent_mount(path: Path) -> Path | None:
    """Return the mount point on which *path* would lie if all of fstab(5) were mounted.

    None: it lies there already, or on no disk that fstab has but the root.
    """
    place = Path(os.path.realpath(path))
    expected = [point for point in _expected() if place.is_relative_to(point)]
    deepest = max(expected, key=lambda point: len(point.parts), default=None)
    if deepest is None or mount_of(place).is_relative_to(deepest):
        return None
    return deepest


def is_read_only(path: Path) -> bool:
    """Tell whether *path* lies on a read-only mount; no if it is not there."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _expected() -> Iterator[Path]:
    """Yield the mount points that the administrator has written into fstab, but the root."""
    try:
        lines = EXPECTED.read_bytes().splitlines()
    except OSError:
        return
    for fields in map(bytes.split, lines):
        # others than paths, as "none" for swap, are no mount points
        if len(fields) > 2 and not fields[0].startswith(b"#") and fields[1].startswith(b"/"):
            point = Path(os.path.realpath(_unescaped(fields[1])))
            if point != Path("/"):
                yield point


def _is_mount(place: str, numbers: dict[str, set[bytes]] | None) -> bool:
    if numbers is None:
        return os.path.ismount(place)
    return place in numbers and _is_visible(place, numbers[place])


def _table() -> dict[str, set[bytes]] | None:
    """Return the numbers of the mounts by their mount points, None where there is no table."""
    lines = _lines()
    if lines is None:
        return None
    numbers: dict[str, set[bytes]] = {}
    for fields in lines:
        numbers.setdefault(_mount_point(fields), set()).add(fields[0])
    return numbers


def _lines() -> list[list[bytes]] | None:
    """Return the fields of each line of the table, None where there is none."""
    try:
        return [line.split(b" ") for line in TABLE.read_bytes().splitlines()]
    except OSError:
        return None


def _mount_point(fields: Sequence[bytes]) -> str:
    return _unescaped(fields[4])


def _unescaped(field: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", _octal, field))


def _octal(escape: re.Match[bytes]) -> bytes:
    return bytes([int(escape[1], 8)])


def _is_visible(point: str, numbers: set[bytes]) -> bool:
    """Tell whether *point* leads to one of the mounts *numbers*; yes if nothing can tell."""
    try:
        descriptor = os.open(point, _PATH_ONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        said = (DESCRIPTORS / str(descriptor)).read_bytes()
    except OSError:
        return True
    finally:
        os.close(descriptor)
    found = _MOUNT_NUMBER.search(said)
    return found is None or found[1] in numbers


def _by_devices(top: str) -> Iterator[Path]:
    """Yield the places at and below *top* whose device is not that of the directory above."""
    with suppress(FileNotFoundError):
        if os.path.ismount(top):
            yield Path(top)
        waiting = [top] if os.path.isdir(top) else []
        while waiting:
            place = waiting.pop()
            device = os.lstat(place).st_dev
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        if entry.stat(follow_symlinks=False).st_dev != device:
                            yield Path(entry.path)
