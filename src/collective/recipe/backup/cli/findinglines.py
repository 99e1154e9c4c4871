"""Findings of the doctor and the like, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collective.recipe.backup.errors import printable

if TYPE_CHECKING:
    from collective.recipe.backup.findings import DoctorFinding


def as_text(finding: DoctorFinding) -> Iterator[str]:
    """Yield the lines of *finding*."""
    where = f": {printable(finding.where)}" if finding.where else ""
    yield f"{finding.severity.value:<8} {finding.subject:<12} {printable(finding.what)}{where}"
    if finding.hint:
        yield f"{'':<21} {printable(finding.hint)}"


def as_json(finding: DoctorFinding) -> dict[str, object]:
    """Return *finding* as it is in an answer in JSON."""
    return {
        "subject": finding.subject,
        "severity": finding.severity.value,
        "what": finding.what,
        "where": printable(finding.where),
        "hint": finding.hint,
    }
