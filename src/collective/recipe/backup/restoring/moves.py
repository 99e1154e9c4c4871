"""The moves of a restore: the name or directory that changes, the way, and the paths meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.contents import STAGED, ExchangedDirectory, places_of
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.mounts import mount_of, mounts_in

STAGED_SUFFIX = ".restoring"
REPLACED_SUFFIX = ".replaced"


@dataclass(frozen=True, kw_only=True)
class Move:
    """One name that changes: its live data give way to the staged ones, if there are any.

    With *keep*, the file is changed in place (see graft); with *difference*, the tree is (see
    transplant).
    """

    live: Path  # the name
    staged: bool = True  # whether there are new data for it
    companion: Path | None = None
    """A file like an index, which must never stand beside other data: it goes before and comes
    after; it may be missing."""
    keep: int | None = None
    """Leading bytes of the live file that stay, the staged file follows them; None: the staged file
    is all."""
    difference: bool = False  # whether the staged directory has only the files that differ
    filestorage: Path | None = None
    """Filestorage of a blobstorage, which need not change itself: a pack of it changes the blobs.
    """
    inside: tuple[str, ...] | None = None
    """The paths of mounts below *live*, whose contents change; None: its name does."""
    mounts: tuple[str, ...] | None = None
    """Mount points in and above it; None: not read yet, as before the first change."""

    @property
    def in_place(self) -> bool:
        """Tell whether live data is changed, not exchanged."""
        return self.difference or self.keep is not None

    @property
    def places(self) -> list[ExchangedDirectory]:
        """The directories that have rooms of their own in them."""
        return [] if self.inside is None else places_of(self.live, self.inside)

    @property
    def exchanged_places(self) -> list[ExchangedDirectory]:
        """The directories whose contents are exchanged, all of them."""
        return [] if self.difference else self.places

    @property
    def slots(self) -> list[Slot]:
        """The files and directories that are exchanged, companions included."""
        if self.inside is None:
            names = filter(None, (self.live, self.companion))
            return [Slot(name, staged_path(name), replaced_path(name)) for name in names]
        return [Slot(place.root, place.staged, place.replaced) for place in self.places]

    @property
    def now_mounted(self) -> tuple[str, ...]:
        """The mount points in and above it at present."""
        points = [mount_of(self.live.parent), *mounts_in(self.live)]
        return tuple(map(str, points))


class Slot(NamedTuple):
    """The three paths of one exchange."""

    live: Path  # final path
    staged: Path  # path of the new data before
    replaced: Path  # path of the former data afterwards


def staged_path(live: Path, *, inside: bool = False) -> Path:
    """Return the name under which the replacement of *live* is made whole."""
    return live / STAGED if inside else live.with_name(live.name + STAGED_SUFFIX)


def replaced_path(live: Path) -> Path:
    """Return the path of the former data after a restore."""
    return live.with_name(live.name + REPLACED_SUFFIX)
