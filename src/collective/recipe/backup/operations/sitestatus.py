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
    """The severity of a finding, with the exit codes of Nagios."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, kw_only=True)
class StatusFinding:
    """A complaint."""

    severity: StatusSeverity  # how bad it is
    what: str  # in words


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The restore points of one source, counted.

    A restore point that was found damaged is not *whole* until verify or rehearse finds it whole.
    """

    source: Source  # the storage
    count: int  # all restore points
    whole: int  # whole ones
    stored: int  # bytes
    newest: RestorePoint | None  # whole one; None: there is none
    as_of: datetime | None  # moment up to which it is known to be the site's state; None: unknown
    stamps: Collection[str] = ()  # of all restore points
    forgotten: int = 0  # restore points whose findings of damage are lost

    def age(self, now: datetime) -> timedelta | None:
        """Return the age of the newest whole restore point, None if there is none."""
        return None if self.as_of is None else max(now - self.as_of, timedelta(0))


@dataclass(frozen=True, kw_only=True)
class DiskRoom:
    """The room of a file system that holds backups."""

    path: Path  # of a directory of backups
    free: int  # bytes that are free
    size: int  # bytes in all


@dataclass(frozen=True, kw_only=True)
class SiteStatus:
    """The status of the backups at *now*."""

    part: str  # name of the part
    destination: str  # purpose or name, as in the history
    name: str  # of the place, as its user calls it
    title: str  # heading above its status
    now: datetime  # by the clock
    storages: Sequence[Storage]  # one for each source
    rooms: Sequence[DiskRoom]  # one for each file system
    records: Sequence[RunRecord] = ()  # all runs, as the history has them
    under_way: str = ""  # the run that is at work, in words; "": none is
    died: Sequence[RunRecord] = ()  # runs that began, have not ended and are not at work
    replaced: Sequence[Path] = ()  # paths that a restore replaced and that are still there
    withheld: str = ""  # why restore points stay that would go otherwise; "": none do
    findings: Sequence[StatusFinding] = field(default=())  # complaints, the worst first

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
        """Return the status with one more run, which has ended, if it was at this place."""
        here = record.at(self.destination)
        if here is None:
            return replace(self, under_way="")
        others = (other for other in self.records if other.key != here.key)
        return replace(self, records=(*others, here), under_way="")
