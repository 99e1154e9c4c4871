"""Findings of verify and rehearse: damaged restore points, noted beside the backups.

``.backup-damage.json`` lies where the lock lies, and is there only as long as something is damaged:
without damage, a list or a backup only finds that there is no such file.  One object::

    format    1
    findings  of each damaged restore point, by its stamp:
        found      when it was found first, ISO 8601
        inherited  whether it was so in the live site already
        what       the first problem, in a sentence
    forgotten stamps of restore points of which something may have been found, but it is lost;
              may be missing
    objects   names of the objects of a store that were found damaged or gone, until a backup
              has seen to it that nothing relies on them; may be missing
    check     the CRC-32 of the same object without it

A look that reads all of a restore point and finds nothing removes its finding.  Damage that the
site itself had is seen only if the records are loaded, so only such a look removes it.

The file is no part of any backup: without it the next verify finds the damage again.  If the file
is there and cannot be read, something was found: then each restore point counts as forgotten.  As
long as one is forgotten, nothing is removed, and nothing is added to its chain.  A look that reads
all of it ends that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from collective.recipe.backup import listings
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, Table, UnreadableError
from collective.recipe.backup.model import RestorePoint

NAME = ".backup-damage.json"
FORM = Form(version=1)
TEXT_LIMIT = 1000
"""Characters that are kept of a problem."""
DAMAGED = "damage was found in the newest chain"
FORGOTTEN = "what verify found of the newest chain cannot be read"


@dataclass(frozen=True, kw_only=True)
class DamageFinding:
    """The damage of one restore point."""

    found: datetime  # when it was found first
    what: str  # the first problem, in a sentence
    inherited: bool = False  # whether the live site had it already

    def __str__(self) -> str:
        words = "does not open" if self.inherited else "damaged"
        return f"{words}, as found on {self.found:%Y-%m-%d %H:%M} UTC: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Look:
    """The result of one look at restore points.

    *loaded* tells whether the records of those were loaded as well.  *objects* are the names of
    the objects of a store that are damaged or gone.
    """

    findings: Mapping[str, DamageFinding]  # by stamp of the restore point
    read: Collection[str] = ()  # stamps of restore points of which all bytes were read
    loaded: bool = False  # whether the records of those were loaded as well
    objects: Collection[str] = ()  # names of objects of a store that are damaged or gone


@dataclass(frozen=True, kw_only=True)
class Memory:
    """All remembered findings of a directory.

    *forgotten* are stamps of which it is lost whether anything was found; None: all of them.
    *objects* are the names of the objects of a store that were found damaged or gone.
    """

    findings: Mapping[str, DamageFinding]  # by stamp of the restore point
    forgotten: Collection[str] | None = ()
    """Stamps whose findings are lost, if there were any; None: all stamps."""
    objects: tuple[str, ...] = ()  # names of objects of a store that were found damaged or gone

    def __bool__(self) -> bool:
        return self.forgotten is None or bool(self.findings or self.forgotten or self.objects)

    def has_forgotten(self, stamp: str) -> bool:
        """Tell whether the findings of the restore point *stamp* are lost."""
        return self.forgotten is None or stamp in self.forgotten


def read(directory: Path) -> Memory:
    """Return the memory in *directory*; if it cannot be read, all stamps are forgotten."""
    return listings.once(directory, read, partial(_read, directory))


def _read(directory: Path) -> Memory:
    try:
        table = FORM.load(directory / NAME)
        return Memory(findings={}) if table is None else _decode(table)
    except (OSError, UnreadableError):
        return Memory(findings={}, forgotten=None)


def marked(points: Sequence[RestorePoint], directory: Path) -> list[RestorePoint]:
    """Return *points* with their findings added."""
    memory = read(directory)
    return [_marked(point, memory) for point in points]


def _marked(point: RestorePoint, memory: Memory) -> RestorePoint:
    finding = memory.findings.get(point.stamp)
    if memory.has_forgotten(point.stamp):
        point = replace(point, forgotten=True)
    if finding is None:
        return point
    return replace(
        point,
        problems=(*point.problems, str(finding)),
        damaged=point.damaged or not finding.inherited,
    )


def remember(directory: Path, look: Look, stamps: Collection[str], files: Files) -> Memory:
    """Take over what *look* has shown, of those of *stamps*; return all that is known then.

    Nothing is written if that is no news.  Raises OSError.
    """
    before = read(directory)
    known = {
        stamp: finding
        for stamp, finding in before.findings.items()
        if stamp in stamps and not _is_disproved(stamp, finding, look)
    }
    for stamp, finding in look.findings.items():
        if stamp in stamps:
            known[stamp] = _joined(before.findings.get(stamp), finding)
    seen = {*known, *look.read}
    forgotten = sorted(it for it in stamps if before.has_forgotten(it) and it not in seen)
    objects = tuple(sorted({*before.objects, *look.objects}))
    now = Memory(findings=known, forgotten=tuple(forgotten), objects=objects)
    _change(directory, before, now, files)
    return now


def remember_objects(directory: Path, names: Collection[str], files: Files) -> None:
    """Note that the objects with these *names* were found damaged or gone.

    The caller need not know which restore points need them.  Raises OSError.
    """
    before = read(directory)
    if before.forgotten is not None:  # else a look at the restore points is needed first
        objects = tuple(sorted({*before.objects, *names}))
        _change(directory, before, replace(before, objects=objects), files)


def settle(directory: Path, files: Files) -> None:
    """Forget the objects of a store: nothing relies on them any more.  Raises OSError."""
    before = read(directory)
    if before.objects:
        _change(directory, before, replace(before, objects=()), files)


def _change(directory: Path, before: Memory, now: Memory, files: Files) -> None:
    path = directory / NAME
    if now and now != before:
        files.write(path, _encode(now))
    elif not now and os.path.lexists(path):
        files.clear(path)


def _is_disproved(stamp: str, finding: DamageFinding, look: Look) -> bool:
    return stamp in look.read and (look.loaded or not finding.inherited)


def _joined(before: DamageFinding | None, now: DamageFinding) -> DamageFinding:
    """Return both findings as one; damage of stored data outweighs damage in the live site."""
    if before is None or (before.inherited and not now.inherited):
        return now
    if now.inherited and not before.inherited:
        return before
    return replace(now, found=min(before.found, now.found))


def write_anew(directory: Path, points: Iterable[RestorePoint], files: Files) -> None:
    """Replace a memory that cannot be read by a new one, in which *points* are forgotten.

    Restore points that are made later are not.  Raises OSError.
    """
    if read(directory).forgotten is None:
        remember(directory, Look(findings={}), {point.stamp for point in points}, files)


def why_new_chain(directory: Path, points: Iterable[RestorePoint]) -> str:
    """Return why nothing may be added to the chain of the newest of *points*, "" if it may.

    Damage that the live site had does not count: a new chain would have it as well.
    """
    memory = read(directory)
    if not memory:
        return ""
    ordered = sorted(points, key=lambda point: point.age)
    newest = {point.stamp for point in ordered if point.chain == ordered[-1].chain}
    if any(it in newest and not each.inherited for it, each in memory.findings.items()):
        return DAMAGED
    return FORGOTTEN if any(map(memory.has_forgotten, newest)) else ""


def doubted(directory: Path, points: Callable[[], Iterable[RestorePoint]]) -> frozenset[str]:
    """Return the names of the holdings of blobs of those *points* that may be damaged."""
    if not read(directory):
        return frozenset()
    doubtful = (point for point in points() if point.damaged or point.forgotten)
    return frozenset(point.blobs for point in doubtful if point.blobs)


# the form


def _encode(memory: Memory) -> bytes:
    return FORM.encode(
        {
            "findings": {
                stamp: {
                    "found": finding.found.isoformat(),
                    "inherited": finding.inherited,
                    "what": finding.what[:TEXT_LIMIT],
                }
                for stamp, finding in memory.findings.items()
            },
            "forgotten": list(memory.forgotten or ()),
            **({"objects": list(memory.objects)} if memory.objects else {}),
        }
    )


def _decode(table: Table) -> Memory:
    findings = table.table("findings")
    return Memory(
        findings={stamp: _finding(findings.table(stamp)) for stamp in findings},
        forgotten=tuple(table.texts("forgotten")) if "forgotten" in table else (),
        objects=tuple(table.texts("objects")) if "objects" in table else (),
    )


def _finding(table: Table) -> DamageFinding:
    return DamageFinding(
        found=table.moment("found"),
        inherited=table.flag("inherited"),
        what=table.text("what"),
    )
