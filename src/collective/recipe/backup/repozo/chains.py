"""The chains of a repozo directory: which data files continue which, and problems with them.

A chain is a full backup and the incremental ones after it, as one ledger names them.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path

from collective.recipe.backup import listings
from collective.recipe.backup.errors import explained
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Problem
from collective.recipe.backup.repozo.ledger import (
    Lines,
    Part,
    is_data_file,
    ledger_path,
    read_ledger,
)
from collective.recipe.backup.times import STAMP, is_stamp

_STAMPED = re.compile(rf"({STAMP})\.(?:(?:delta)?fsz?|dat)(?:\.\w+)?")
_LEDGER = re.compile(rf"(?P<stamp>{STAMP})\.dat(?P<unfinished>\.pruned|\.merging)?")

PRUNED = ".pruned"
"""Added to the name of the ledger of a chain that is being removed."""
ASIDE = ".orphan"
"""Suffix of a file that no reader uses any more."""
MERGING = ".merging"
"""Suffix of a chain's ledger for the list of files that a merge leaves over."""


@dataclass(frozen=True)
class Chain:
    """A full backup and the incremental ones that continue it, oldest first.

    ``parts`` join each other from the begin of the filestorage on.
    """

    directory: Path  # in which it lies
    stamp: str  # of the full backup
    parts: tuple[Part, ...]  # that can be restored, unless their files are missing
    stray: tuple[Part, ...] = ()  # parts that the ledger names after a line that does not join
    broken: str = ""  # why that line does not join; "": all do
    unread: tuple[int, ...] = ()  # numbers of the lines of the ledger that are no entries
    mendable: bool = True  # whether only lines at the end are no entries
    missing: tuple[str, ...] = ()  # names of files that are missing

    @property
    def end(self) -> int:
        """The size of the filestorage that its last part restores to."""
        return self.parts[-1].end if self.parts else 0

    @property
    def last(self) -> Part:
        """The newest part."""
        return self.parts[-1]

    @property
    def ledger(self) -> Path:
        """The path of the ledger."""
        return ledger_path(self.directory, self.stamp)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all data files that the ledger names."""
        return tuple(part.name for part in (*self.parts, *self.stray))

    @cached_property
    def restorable(self) -> tuple[Part, ...]:
        """The parts up to the first whose file is missing."""
        missing = set(self.missing)
        return tuple(takewhile(lambda part: part.name not in missing, self.parts))

    def is_restorable(self, part: Part) -> bool:
        """Tell whether no file is missing of *part*, which is one of it, and those before it."""
        return bool(self.restorable) and part.stamp <= self.restorable[-1].stamp

    def path(self, part: Part) -> Path:
        """Return the path of the data file of *part*."""
        return self.directory / part.name

    def good_until(self, part: Part) -> str:
        """Say how far the chain can be restored if *part* cannot."""
        before = [each.stamp for each in self.parts if each.stamp < part.stamp]
        if not before:
            return f"nothing of the chain {self.stamp} can be restored; another may be whole"
        return f"the chain {self.stamp} can be restored up to {before[-1]}"

    def up_to(self, stamp: str | None) -> tuple[Part, ...]:
        """Return the parts up to that of *stamp*, all for None.  Raises KeyError."""
        if stamp is None:
            return self.parts
        for number, part in enumerate(self.parts, 1):
            if part.stamp == stamp:
                return self.parts[:number]
        raise KeyError(stamp)


@dataclass(frozen=True)
class Listing:
    """The contents of a repozo directory."""

    chains: tuple[Chain, ...] = ()  # oldest first
    orphans: tuple[str, ...] = ()  # names of data files that no ledger names
    unfinished: tuple[str, ...] = ()  # names of journals of a removal or a merge
    problems: tuple[Problem, ...] = ()  # of the ledgers, and of the files that they name
    newest: str = ""  # latest stamp of a data file or a ledger; "": there is none


def read_directory(directory: Path) -> Listing:
    """Return what *directory* holds; a directory that does not exist holds nothing."""
    return listings.once(directory, read_directory, partial(_read_directory, directory))


def _read_directory(directory: Path) -> Listing:
    with explained("cannot read the backups", directory):
        try:
            names = sorted(it.name for it in listings.entries(directory) if _is_file(it))
        except FileNotFoundError:
            return Listing()
        return _listing(directory, names)


def again(chain: Chain) -> Chain | None:
    """Return *chain* as its ledger is now, None if it was removed."""
    chains = _read_directory(chain.directory).chains
    return next((each for each in chains if each.stamp == chain.stamp), None)


def was_replaced(chain: Chain, part: Part) -> bool:
    """Tell whether a merge or a removal took the file of *part*, which was there, meanwhile."""
    if chain.path(part).exists():
        return False
    now = again(chain)
    return now is None or part not in now.parts


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself, as dead as one to nothing
            return False
        raise


def _listing(directory: Path, names: Sequence[str]) -> Listing:
    present = {name for name in names if is_data_file(name)}
    chains: list[Chain] = []
    unfinished: list[str] = []
    problems: list[Problem] = []
    known: set[str] = set()
    for name in names:
        match = _LEDGER.fullmatch(name)
        if not match:
            continue
        lines = read_ledger(directory / name)
        if lines is None:  # removed since then
            continue
        if match["unfinished"]:
            unfinished.append(name)
            known.update(part.name for part in lines.entries)
            continue
        chain = join(directory, match["stamp"], lines, present)
        problems += _problems(directory / name, lines, chain)
        if chain:
            chains.append(chain)
            known.update(chain.names)
    stamps = (match[1] for name in names if (match := _STAMPED.fullmatch(name)))
    return Listing(
        chains=tuple(chains),
        orphans=tuple(sorted(present - known)),
        unfinished=tuple(unfinished),
        problems=tuple(problems),
        newest=max(filter(is_stamp, stamps), default=""),
    )


def join(directory: Path, stamp: str, lines: Lines, present: Iterable[str]) -> Chain | None:
    """Return the chain that the *lines* of a ledger make; None without a full backup."""
    parts: list[Part] = []
    broken = ""
    for part in lines.entries:
        broken = _why_not_joined(stamp, parts, part)
        if broken:
            break
        parts.append(part)
    if not parts:
        return None
    files = set(present)
    return Chain(
        directory=directory,
        stamp=stamp,
        parts=tuple(parts),
        stray=lines.entries[len(parts) :],
        broken=broken,
        unread=lines.unread,
        mendable=lines.at_end and not broken,
        missing=tuple(part.name for part in lines.entries if part.name not in files),
    )


def _why_not_joined(stamp: str, before: Sequence[Part], part: Part) -> str:
    """Return a sentence that says why *part* does not continue those *before* it, or ""."""
    if part.end < part.start:
        return f"{part.name} ends at byte {part.end} before it begins at byte {part.start}"
    if not is_stamp(part.stamp):
        return f"{part.name} is named after a moment that does not exist"
    if not before:
        fits = part.full and part.start == 0 and part.stamp == stamp
        return "" if fits else f"it begins with {part.name}, not with the full backup of {stamp}"
    if part.full:
        return f"{part.name} is a second full backup in it"
    if part.start != before[-1].end:
        return (
            f"{part.name} begins at byte {part.start},"
            f" but {before[-1].name} before it ends at byte {before[-1].end}"
        )
    if part.stamp <= before[-1].stamp:
        return f"{part.name} is not later than {before[-1].name} before it"
    return ""


def _problems(ledger: Path, lines: Lines, chain: Chain | None) -> Iterator[Problem]:
    for number in lines.unread:
        yield problem_of(
            ledger,
            f"line {number} cannot be read",
            "the next backup takes it out, or begins a new chain if others follow it",
        )
    if chain is None:
        yield problem_of(ledger, "it names no full backup", "nothing can be restored by it")
        return
    if chain.broken:
        yield problem_of(ledger, chain.broken, chain.good_until(chain.stray[0]))
    for part in (*chain.parts, *chain.stray):
        if part.name in chain.missing:
            yield problem_of(chain.path(part), "it is missing", chain.good_until(part))


def problem_of(path: Path, what: str, hint: str) -> Problem:
    """Return the problem that *path* has."""
    return Problem(where=os.fspath(path), what=what, hint=hint)
