"""The users who may read a file: by its permissions, and by those of the directories above it.

A copy must not be readable for more users than the original.  The owner does not count: the
administrator chose it by running the command, or with the directory of the backups.  Groups and
others count.  Of an access control list only the group bits are seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from collective.recipe.backup.frozen import dataclass

_READ, _PASS = 4, 1  # of the three bits for each of owner, group and others


@dataclass(frozen=True)
class Audience:
    """The users other than owners and root who may read a file."""

    others: bool  # everybody who is in none of the groups that it names
    groups: frozenset[int]  # ids of those groups of which it names the members may read

    @property
    def nobody(self) -> bool:
        """Tell whether there are none."""
        return not self.others and not self.groups

    def has_group(self, group: int) -> bool:
        """Tell whether all members of *group*, an id, may read it."""
        return group in self.groups or self.others

    def mask(self, group: int) -> int:
        """Return the permission bits that a copy of the *group* may have."""
        bits = stat.S_IRWXU
        if self.has_group(group):
            bits |= stat.S_IRWXG
        return bits | stat.S_IRWXO if self.others else bits

    def exceeds(self, other: Audience) -> bool:
        """Tell whether some users are among these and not in *other*."""
        if self.others and not other.others:
            return True
        return not all(other.has_group(group) for group in self.groups)


NOBODY = Audience(others=False, groups=frozenset())


def audience_of(path: str | os.PathLike[str], beside: str | os.PathLike[str]) -> Audience:
    """Return who may read the file or directory at *path*; no user if that is unknown.

    Directories above both *path* and *beside* do not count: a user who may not pass them can read
    neither.  Symbolic links are followed.
    """
    try:
        needs = list(_needs(os.path.realpath(path), os.path.realpath(beside)))
    except OSError:  # it is gone, or on a disk that is
        return NOBODY
    named = {status.st_gid for status, _bits in needs}
    return Audience(
        others=all(_allows(status, None, bits) for status, bits in needs),
        groups=frozenset(
            group for group in named if all(_allows(status, group, bits) for status, bits in needs)
        ),
    )


def _needs(real: str, beside: str) -> Iterator[tuple[os.stat_result, int]]:
    """Yield the directories to pass and the file to read, with the permission bits for each."""
    status = os.stat(real)
    yield status, _READ | _PASS if stat.S_ISDIR(status.st_mode) else _READ
    while not _holds(real := os.path.dirname(real), beside):
        yield os.stat(real), _PASS


def _holds(directory: str, path: str) -> bool:
    return directory in {"/", path} or path.startswith(f"{directory}/")


def _allows(status: os.stat_result, group: int | None, bits: int) -> bool:
    """Tell whether members of *group* (None: of none that is named) have these *bits*."""
    shift = 3 if group == status.st_gid else 0
    return status.st_mode >> shift & bits == bits
