"""What verify and rehearse found damaged, remembered beside the restore points.

``.backup-damage.json`` lies where the lock lies, and is there only as long as something is
damaged: who lists restore points, or backs up, pays no more than a look whether there is
such a file.  One object::

    format    1
    findings  of each damaged restore point, by its stamp:
        found      when it was found first, ISO 8601
        inherited  whether it was so in the live site already
        what       the first problem, in a sentence
    check     the CRC-32 of the same object without it

A look that reads all of a restore point and finds nothing takes its finding out.  What the
site itself had is seen only by who loads the records, so only that takes it out.

It is what somebody has seen, and no part of any backup: without the file the next verify
finds the same again, and a file that cannot be read is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from collective.recipe.backup.files import Files
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.smallfile import Form, Table, UnreadableError

NAME = ".backup-damage.json"
FORM = Form(version=1)
TEXT_LIMIT = 1000
"""Characters that are kept of a problem."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one restore point, and when."""

    found: datetime
    what: str
    inherited: bool = False

    def __str__(self) -> str:
        words = "does not open" if self.inherited else "damaged"
        return f"{words}, as found on {self.found:%Y-%m-%d %H:%M} UTC: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look has shown: *findings* by stamp; *read* are stamps of which all was read.

    *loaded* tells whether the records of those were loaded as well.
    """

    findings: Mapping[str, Finding]
    read: Collection[str] = ()
    loaded: bool = False


def read(directory: Path) -> dict[str, Finding]:
    """Return the findings in *directory* by stamp: none if none are legible."""
    try:
        table = FORM.load(directory / NAME)
        return {} if table is None else _decode(table)
    except (OSError, UnreadableError):
        return {}


def marked(points: Sequence[RestorePoint], directory: Path) -> list[RestorePoint]:
    """Return *points* with what was found of them."""
    findings = read(directory)
    return [_marked(point, findings.get(point.stamp)) for point in points]


def _marked(point: RestorePoint, finding: Finding | None) -> RestorePoint:
    if finding is None:
        return point
    return replace(
        point,
        problems=(*point.problems, str(finding)),
        damaged=point.damaged or not finding.inherited,
    )


def remember(
    directory: Path, look: Look, stamps: Collection[str], files: Files
) -> dict[str, Finding]:
    """Take over what *look* has shown, of those of *stamps*; return all that is known then.

    Nothing is written if that is no news.  Raises OSError.
    """
    before = read(directory)
    known = {
        stamp: finding
        for stamp, finding in before.items()
        if stamp in stamps and not _is_disproved(stamp, finding, look)
    }
    for stamp, finding in look.findings.items():
        if stamp in stamps:
            known[stamp] = _joined(before.get(stamp), finding)
    path = directory / NAME
    if known and known != before:
        files.write(path, _encode(known))
    elif not known and path.exists():
        files.clear(path)
    return known


def _is_disproved(stamp: str, finding: Finding, look: Look) -> bool:
    return stamp in look.read and (look.loaded or not finding.inherited)


def _joined(before: Finding | None, now: Finding) -> Finding:
    """Return what is known after *now*; what is stored damaged weighs more."""
    if before is None or (before.inherited and not now.inherited):
        return now
    if now.inherited and not before.inherited:
        return before
    return replace(now, found=min(before.found, now.found))


def in_newest_chain(directory: Path, points: Callable[[], Iterable[RestorePoint]]) -> bool:
    """Tell whether damage was found in the chain of the newest of *points*.

    What the site itself had does not count: a new chain would have the same.
    """
    stored = {stamp for stamp, finding in read(directory).items() if not finding.inherited}
    if not stored:
        return False
    ordered = sorted(points(), key=lambda point: point.age)
    return any(point.stamp in stored for point in ordered if point.chain == ordered[-1].chain)


def doubted(directory: Path, points: Callable[[], Iterable[RestorePoint]]) -> frozenset[str]:
    """Return the names of what holds the blobs of those *points* of which damage was found."""
    if not read(directory):
        return frozenset()
    return frozenset(point.blobs for point in points() if point.damaged and point.blobs)


# the form


def _encode(findings: Mapping[str, Finding]) -> bytes:
    return FORM.encode(
        {
            "findings": {
                stamp: {
                    "found": finding.found.isoformat(),
                    "inherited": finding.inherited,
                    "what": finding.what[:TEXT_LIMIT],
                }
                for stamp, finding in findings.items()
            },
        }
    )


def _decode(table: Table) -> dict[str, Finding]:
    findings = table.table("findings")
    return {stamp: _finding(findings.table(stamp)) for stamp in findings}


def _finding(table: Table) -> Finding:
    return Finding(
        found=table.moment("found"),
        inherited=table.flag("inherited"),
        what=table.text("what"),
    )
