"""Runs that died or failed, without those that a later run has made good.

Runs come in the order of the history.  A later run is one that ended later: a backup that began
during a time of following says nothing of how that ended.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta

from collective.recipe.backup import history
from collective.recipe.backup.history import BEAT, FOLLOW, UNDO, RunRecord
from collective.recipe.backup.process import is_running


def died(records: Sequence[RunRecord], now: datetime) -> list[RunRecord]:
    """Return the runs that began, are gone, and that no later one of their kind made good."""
    return [
        record
        for number, record in enumerate(records)
        if record.outcome == history.STARTED
        and not goes_on(record)
        and not is_made_good(record, records[number + 1 :], now)
    ]


def is_made_good(record: RunRecord, later: Sequence[RunRecord], now: datetime) -> bool:
    """Tell whether a run that died or failed was made good by one of those *later* ended."""
    if record.verb == FOLLOW:
        return any(_follows(other, later, now) for other in later)
    good = [history.DONE]
    if record.outcome == history.STARTED:
        good.append(history.INCOMPLETE)
    return any(other.outcome in good and kind_of(other) == kind_of(record) for other in later)


def _follows(record: RunRecord, later: Sequence[RunRecord], now: datetime) -> bool:
    """Tell whether *record* is of a time of following that goes well, or has ended well.

    No other backup takes its place: a site that follows expects to lose no more than seconds.  It
    goes well once it has backed up, or has gone on for a while.
    """
    if record.verb != FOLLOW or record.outcome == history.DONE:
        return record.verb == FOLLOW
    if record.outcome != history.STARTED or not goes_on(record):
        return False
    process = (record.process, record.host)
    has_backed_up = any(
        other.verb == "backup"
        and other.outcome == history.DONE
        and (other.process, other.host) == process
        for other in later
    )
    return has_backed_up or not timedelta(0) <= now - record.started < BEAT


def goes_on(record: RunRecord) -> bool:
    """Tell whether the process of a run is still there; elsewhere only its lock can tell."""
    return record.host == os.uname().nodename and is_running(record.process, record.birth)


def kind_of(record: RunRecord) -> str:
    """Return the verb of a run; a time of following is a backup, an undo is a restore."""
    return {FOLLOW: "backup", UNDO: "restore"}.get(record.verb, record.verb)
