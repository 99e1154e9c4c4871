"""What a restore changes: which name or directory, in which way, and where both lie meanwhile."""

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
    """One name that changes: *live* gives way, and to what is *staged* if there is such.

    A *companion* describes the live data and must never stand beside other data, as an
    index does: it goes before and comes after, and need not be there at all.

    With *keep*, live data keeps its first bytes, so many, and what is staged is the rest:
    it is grafted in place (see graft).  With *difference*, what is staged is only what
    makes the new tree of the live one, which changes in place (see transplant).

    *filestorage* is the one that a blobstorage belongs to, which need not change itself: a
    pack of it changes the blobs.
    """

    live: Path
    staged: bool = True
    companion: Path | None = None
    keep: int | None = None
    difference: bool = False
    filestorage: Path | None = None
    inside: tuple[str, ...] | None = None
    """The paths of mounts below *live*, whose contents change; None: its name does."""
    mounts: tuple[str, ...] | None = None
    """What is mounted in and around it; None: not asked yet, as before the first change."""

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
        """What gives way to what, companions included."""
        if self.inside is None:
            names = filter(None, (self.live, self.companion))
            return [Slot(name, staged_path(name), replaced_path(name)) for name in names]
        return [Slot(place.root, place.staged, place.replaced) for place in self.places]

    @property
    def now_mounted(self) -> tuple[str, ...]:
        """What is mounted in and around it."""
        points = [mount_of(self.live.parent), *mounts_in(self.live)]
        return tuple(map(str, points))


class Slot(NamedTuple):
    """What is *live*, where that is *staged* which comes, and where it is when *replaced*."""

    live: Path
    staged: Path
    replaced: Path


def staged_path(live: Path, *, inside: bool = False) -> Path:
    """Return the name under which the replacement of *live* is made whole."""
    return live / STAGED if inside else live.with_name(live.name + STAGED_SUFFIX)


def replaced_path(live: Path) -> Path:
    """Return the name of what was live, afterwards."""
    return live.with_name(live.name + REPLACED_SUFFIX)
