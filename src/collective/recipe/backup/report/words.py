"""Words for what the history and the configuration call by a key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from collective.recipe.backup.history import DONE, FAILED, INCOMPLETE, STARTED, RunRecord

_TITLES = {
    "standard": "Backups",
    "snapshot": "Snapshots",
    "zip": "Zip backups",
    "alternative": "Alternative backups",
}
_OUTCOMES = {
    STARTED: "not ended",
    DONE: "done",
    INCOMPLETE: "done, but not all was there",
    FAILED: "failed",
}
_VERBS = {"backup": "backup", "restore": "restore", "verify": "verify", "rehearse": "rehearsal"}
_NUMBERS = {
    "restore_points": ("restore point", "restore points"),
    "rehearsals": ("rehearsal", "rehearsals"),
    "objects": ("object", "objects"),
    "blobs": ("blob", "blobs"),
    "problems": ("problem", "problems"),
}


def title(destination: str) -> str:
    """Return the heading for a *destination*."""
    return _TITLES.get(destination, destination)


def verb(name: str) -> str:
    """Return what a run of the verb *name* is called."""
    return _VERBS.get(name, _spelled(name))


def outcome(record: RunRecord) -> str:
    """Return how a run ended."""
    words = _OUTCOMES.get(record.outcome, _spelled(record.outcome))
    return f"{words}, exit code {record.exit_code}" if record.exit_code else words


def moment(when: datetime) -> str:
    """Return *when* something happened, in UTC as all of the page."""
    return f"{when:%Y-%m-%d %H:%M}"


def restored(record: RunRecord) -> str:
    """Return when was restored, and from where."""
    points = ", ".join(dict.fromkeys(record.points.values()))
    return f"restored {moment(record.started)}{f' from {points}' if points else ''}"


def numbers(counted: Mapping[str, int]) -> str:
    """Return what a run counted."""
    return ", ".join(_number(name, count) for name, count in counted.items())


def phase(name: str) -> str:
    """Return what a part of a run is called at the begin of a line."""
    words = _spelled(name)
    return words[:1].upper() + words[1:]


def _number(name: str, count: int) -> str:
    one, many = _NUMBERS.get(name, (_spelled(name),) * 2)
    if count == 0:
        return f"no {many}"
    return f"{count:,} {one if count == 1 else many}"


def _spelled(key: str) -> str:
    # names of a later release that are not known here
    return key.replace("_", " ")
