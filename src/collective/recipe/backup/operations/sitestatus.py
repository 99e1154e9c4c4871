"""The words of the status: restore points counted, the room left, findings, and all together."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from pathlib import Path

from collective.recipe.backup import history
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.history import RunRecord
from collective.recipe.backup.model import RestorePoint, Source


class StatusSeverity(enum.IntEnum):
    """How bad a finding is, as Nagios counts."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, kw_only=True)
class StatusFinding:
    """Something to complain of."""

    severity: StatusSeverity
    what: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The restore points of one source, counted.

    One that was found damaged is not *whole* until somebody finds it whole.  *newest* is the
    newest whole one, *as_of* up to when it is known to be the site's state.  *stamps* are
    those of all.  Of *forgotten* ones it is lost whether they were found damaged.
    """

    source: Source
    count: int
    whole: int
    stored: int
    newest: RestorePoint | None
    as_of: datetime | None
    stamps: Collection[str] = ()
    forgotten: int = 0

    def age(self, now: datetime) -> timedelta | None:
        """Return the age of the newest whole restore point, None if there is none."""
        return None if self.as_of is None else max(now - self.as_of, timedelta(0))


@dataclass(frozen=True, kw_only=True)
class DiskRoom:
    """The room of a file system that holds backups, in bytes."""

    path: Path
    free: int
    size: int


@dataclass(frozen=True, kw_only=True)
class SiteStatus:
    """What is known at *now*.

    *records* are all runs, as the history has them.  *under_way* says which run is at work,
    "" if none is; *died* are runs that began and neither ended nor go on.  *replaced* is what a
    restore replaced and is still there.  *withheld* says why restore points stay that would go
    otherwise, "" if none do.  *findings* come with the worst first.
    """

    part: str
    destination: str
    name: str  # of the place, as its user calls it
    title: str  # what stands above what is said of it
    now: datetime
    storages: Sequence[Storage]
    rooms: Sequence[DiskRoom]
    records: Sequence[RunRecord] = ()
    under_way: str = ""
    died: Sequence[RunRecord] = ()
    replaced: Sequence[Path] = ()
    withheld: str = ""
    findings: Sequence[StatusFinding] = field(default=())

    @property
    def ended(self) -> Sequence[RunRecord]:
        """The runs that have ended, in that order."""
        return [record for record in self.records if record.outcome != history.STARTED]

    @property
    def newest(self) -> Mapping[str, RunRecord]:
        """The run of each verb that ended last."""
        return {record.verb: record for record in self.ended}

    @property
    def newest_good(self) -> Mapping[str, RunRecord]:
        """The run of each verb that ended last of those that went well."""
        return {record.verb: record for record in self.ended if record.outcome == history.DONE}

    @property
    def severity(self) -> StatusSeverity:
        """The worst of the findings."""
        return max((finding.severity for finding in self.findings), default=StatusSeverity.OK)

    def after(self, record: RunRecord) -> SiteStatus:
        """Return the same with one more run, which has ended, if it was here."""
        here = record.at(self.destination)
        if here is None:
            return replace(self, under_way="")
        others = (other for other in self.records if other.key != here.key)
        return replace(self, records=(*others, here), under_way="")
