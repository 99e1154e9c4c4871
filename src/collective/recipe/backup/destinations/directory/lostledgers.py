"""Restore points that are cut off from their data by damage to a ledger.

They cannot be restored unless the ledger is mended.  They are listed, because otherwise an older
restore point would pass for the newest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup import listings
from collective.recipe.backup.destinations import manifest
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.repozo.chains import Listing
from collective.recipe.backup.repozo.ledger import STAMP_SIZE
from collective.recipe.backup.times import is_stamp

_LEDGER = ".dat"
_GONE = "the data of this restore point are gone: no ledger names them"


def cut_off(directory: Path, listing: Listing) -> Iterator[RestorePoint]:
    """Yield those in *directory*; *listing* has the legible parts of the ledgers."""
    ledgers = _Ledgers(listing)
    seen = set()
    parts = {part.stamp for chain in listing.chains for part in chain.parts}
    for stamp in _manifests(directory):
        point = None if stamp in parts else _with_manifest(directory, stamp, ledgers)
        if point is not None:
            seen.add(stamp)
            yield point
    named = (part.name for chain in listing.chains for part in chain.stray)
    for name in sorted({*named, *ledgers.behind_damage(listing.orphans)}):
        stamp = name[:STAMP_SIZE]
        if stamp not in seen and stamp not in parts and is_stamp(stamp):
            seen.add(stamp)
            yield _damaged(stamp, ledgers.chain_of(stamp), ledgers)


class _Ledgers:
    """The ledgers of a directory: the parts that each names, and its damage."""

    def __init__(self, listing: Listing) -> None:
        self._ends = {chain.stamp: chain.last.stamp for chain in listing.chains}
        self._flaws: dict[str, str] = {}
        for problem in listing.problems:
            name = os.path.basename(problem.where)
            if name.endswith(_LEDGER):
                self._flaws.setdefault(name.removesuffix(_LEDGER), f"{name}: {problem.what}")
        self._stamps = sorted({*self._flaws, *self._ends})

    def reach(self, chain: str, stamp: str) -> bool:
        """Tell whether the parts of *chain* go as far as *stamp*."""
        return stamp <= self._ends.get(chain, "")

    def chain_of(self, stamp: str) -> str:
        """Return the chain that *stamp* would be of by its time."""
        return max((each for each in self._stamps if each <= stamp), default=stamp)

    def flaw(self, chain: str) -> str:
        """Return the damage of the ledger of *chain*, "" if there is none, or no ledger."""
        return self._flaws.get(chain, "")

    def behind_damage(self, orphans: tuple[str, ...]) -> Iterator[str]:
        """Yield those data files that a ledger may have named before it was damaged."""
        return (name for name in orphans if self.flaw(self.chain_of(name[:STAMP_SIZE])))


def _manifests(directory: Path) -> Iterator[str]:
    """Yield the stamps of all manifests."""
    try:
        names = sorted(
            each.name for each in listings.entries(directory) if each.name.endswith(manifest.SUFFIX)
        )
    except FileNotFoundError:
        return
    for name in names:
        stamp = name.removesuffix(manifest.SUFFIX)
        if is_stamp(stamp):
            yield stamp


def _with_manifest(directory: Path, stamp: str, ledgers: _Ledgers) -> RestorePoint | None:
    """Return the restore point of the manifest of *stamp*; None if a merge left the manifest over.

    A merge did if the manifest is in the middle of its chain: its part is within the next one now.
    """
    try:
        written = manifest.read(directory, stamp)
    except IntegrityError:
        written = None
    chain = written.chain if written else ledgers.chain_of(stamp)
    if ledgers.reach(chain, stamp):
        return None
    return _damaged(stamp, chain, ledgers, end=written.end if written else 0)


def _damaged(stamp: str, chain: str, ledgers: _Ledgers, *, end: int = 0) -> RestorePoint:
    return RestorePoint(
        stamp=stamp,
        chain=chain,
        end=end,
        problems=(ledgers.flaw(chain) or _GONE,),
        restorable=False,
        damaged=True,
    )
