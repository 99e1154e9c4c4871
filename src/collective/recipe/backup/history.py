"""The history: the runs and how each ended, one line of JSON for each event.

``.backup-history.jsonl`` lies beside the restore points.  A run appends a line when it
starts and one when it has ended; of several lines of one run the last counts, so a run
whose last line says ``started`` is under way or died.  A line is ASCII, an object with the
keys of ``RunRecord`` and ``check``, the CRC-32 of the same object without it.

Only reports are made from it: losing it loses no backup.  So a line that is torn or damaged is
skipped, and a file that has grown too long is written anew with the newest runs of each verb, in
one step.  A line that another run appends at that very moment is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime, timedelta
from pathlib import Path

from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, Table, UnreadableError
from collective.recipe.backup.smallfile import open_regular

NAME = ".backup-history.jsonl"
FORM = Form(is_sorted=False)
"""Of a line."""
LIMIT = 1_000_000
"""Bytes of a history that is not yet too long."""
TEXT_LIMIT = 4_000
"""Characters that are kept of an error or of the output of a hook."""

FOLLOW = "follow"
"""The verb of a whole time of following, also in the environment of hooks."""
UNDO = "undo"
"""The verb of a restore that puts back what another one replaced; no hooks run around it."""
BEAT = timedelta(minutes=5)
"""Interval at which a time of following reports that all is well."""

ELSEWHERE = "elsewhere"
"""A number of a restore: 1 if the live site was left alone."""

STARTED, DONE, INCOMPLETE, FAILED = "started", "done", "incomplete", "failed"
OUTCOMES = (STARTED, DONE, INCOMPLETE, FAILED)
"""INCOMPLETE: the restore point is there, but the site lacked what its records name."""


@dataclass(frozen=True, kw_only=True)
class HookRun:
    """One run of a hook."""

    name: str  # of the option
    exit_code: int  # 0: it went well
    seconds: float  # that it took
    output: str = ""  # end of its output


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of a run, as a whole or at one of several places."""

    outcome: str = STARTED  # one of OUTCOMES
    exit_code: int | None = None  # None: it has not ended
    seconds: float | None = None  # None: it has not ended
    error: str = ""  # its message; "": there was none
    phases: Mapping[str, float] = field(default_factory=dict)  # seconds of each phase, in order
    points: Mapping[str, str] = field(default_factory=dict)
    """The stamp of the restore point that was made, restored or looked at, by the storage."""
    numbers: Mapping[str, int] = field(default_factory=dict)  # other counts, as bytes


@dataclass(frozen=True, kw_only=True)
class RunRecord(RunResult):
    """The facts about one run."""

    verb: str  # name of the command
    destination: str  # name of its only place; of several: their purpose
    started: datetime  # by the clock
    process: int  # process id
    host: str  # name of the machine
    hooks: Sequence[HookRun] = ()  # in their order
    birth: str = ""  # tells the process from a later one of its number; "": unknown
    places: Mapping[str, RunResult] = field(default_factory=dict)  # by name; {}: it has only one

    @property
    def key(self) -> tuple[object, ...]:
        """The key by which runs are told apart."""
        return (self.started, self.verb, self.destination, self.process, self.host)

    @property
    def proves(self) -> bool:
        """Tell whether all that was asked for was done."""
        return self.outcome == DONE

    @property
    def restored_site(self) -> bool:
        """Tell whether it was a restore that replaced the live site."""
        return self.verb == "restore" and self.proves and not self.numbers.get(ELSEWHERE)

    def at(self, place: str) -> RunRecord | None:
        """Return the run as it went at *place*, None if it was not to go there.

        A run that ended before it came there, or failed after it had been everywhere, has
        failed there as well.
        """
        if not self.places:
            return self if self.destination == place else None
        if place not in self.places:
            return None
        here = replace(self, destination=place, places={})
        found = self.places[place]
        was_everywhere = all(it.outcome in (DONE, INCOMPLETE) for it in self.places.values())
        if found.outcome == STARTED or (self.outcome == FAILED and was_everywhere):
            return here
        return replace(here, **vars(found))


def append(directory: Path, record: RunRecord, files: Files) -> None:
    """Add a line about *record* to the history in *directory*.  Raises OSError."""
    path = directory / NAME
    line = _encode(record)
    length, torn = _end(path)
    if length + len(line) > LIMIT:
        kept = _shortened(_runs([*read(directory), record]))
        files.write(path, b"".join(map(_encode, kept)))
    else:
        files.append(path, b"\n" + line if torn else line)


def read(directory: Path) -> list[RunRecord]:
    """Return the runs that the history in *directory* knows, in the order of its lines.

    So they come as they ended, and those that have not ended as they began, whatever the
    clock said.  A history that is missing or may not be read is empty.
    """
    try:
        return _runs(_decoded(_lines(directory)))
    except OSError:
        return []


def flaw(directory: Path) -> str:
    """Say why the history in *directory* does not tell how the last run ended, "" if it does.

    One that is missing or empty knows of no run.
    """
    try:
        lines = [line for line in _lines(directory) if line]
        if lines:
            _decode(FORM.decode(lines[-1]))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    except UnreadableError as error:
        return f"its last line: {error}"
    return ""


def _lines(directory: Path) -> list[bytes]:
    """Return the last lines of the history, the first of them maybe not whole.  Raises OSError."""
    with open_regular(directory / NAME) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * LIMIT))
        return file.read(2 * LIMIT).splitlines()


def _runs(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the last of *records* of each run, in their order."""
    runs: dict[tuple[object, ...], RunRecord] = {}
    for record in records:
        runs.pop(record.key, None)
        runs[record.key] = record
    return list(runs.values())


def _end(path: Path) -> tuple[int, bool]:
    """Return how long a history is, and whether its last line was not written to its end."""
    try:
        with open_regular(path) as file:
            length = os.fstat(file.fileno()).st_size
            file.seek(max(0, length - 1))
            return length, file.read(1) not in (b"", b"\n")
    except FileNotFoundError:
        return 0, False


def _shortened(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the last runs of each verb, in half of the room, shared by the verbs.

    So a verb that runs every minute does not make us forget one that runs every month.
    """
    verbs = {record.verb for record in records}
    left = dict.fromkeys(verbs, LIMIT // 2 // len(verbs))
    first = dict.fromkeys(verbs, True)
    kept: list[RunRecord] = []
    for record in reversed(records):
        left[record.verb] -= len(_encode(record))
        if left[record.verb] >= 0 or first[record.verb]:
            kept.append(record)
        first[record.verb] = False
    return kept[::-1]


# the form of a line


def _encode(record: RunRecord) -> bytes:
    return FORM.encode(
        {
            "verb": record.verb,
            "destination": record.destination,
            "started": record.started.isoformat(),
            "process": record.process,
            "host": record.host,
            "birth": record.birth,
            **_stored(record),
            "places": {name: _stored(place) for name, place in record.places.items()},
            "hooks": [
                {
                    "name": hook.name,
                    "exit_code": hook.exit_code,
                    "seconds": _rounded(hook.seconds),
                    "output": hook.output[-TEXT_LIMIT:],
                }
                for hook in record.hooks
            ],
        }
    )


def _stored(record: RunResult) -> dict[str, object]:
    return {
        "outcome": record.outcome,
        "exit_code": record.exit_code,
        "seconds": _rounded(record.seconds),
        "error": record.error[:TEXT_LIMIT],
        "phases": {name: _rounded(seconds) for name, seconds in record.phases.items()},
        "points": dict(record.points),
        "numbers": dict(record.numbers),
    }


def _decoded(lines: Iterable[bytes]) -> Iterator[RunRecord]:
    for line in lines:
        with suppress(UnreadableError):
            yield _decode(FORM.decode(line))


def _decode(table: Table) -> RunRecord:
    places = table.table("places") if "places" in table else None
    return RunRecord(
        **vars(_place(table)),
        verb=table.text("verb"),
        destination=table.text("destination"),
        started=table.moment("started"),
        process=table.number("process"),
        host=table.text("host"),
        birth=table.text_or_none("birth") or "",
        hooks=tuple(map(_hook, table.tables("hooks"))),
        places={} if places is None else {name: _place(places.table(name)) for name in places},
    )


def _place(table: Table) -> RunResult:
    outcome = table.text("outcome")
    if outcome not in OUTCOMES:
        raise UnreadableError("not the record of a run")
    phases, points, numbers = (table.table(key) for key in ("phases", "points", "numbers"))
    return RunResult(
        outcome=outcome,
        exit_code=table.number_or_none("exit_code"),
        seconds=table.amount_or_none("seconds"),
        error=table.text("error"),
        phases={name: phases.amount(name) for name in phases},
        points={name: points.text(name) for name in points},
        numbers={name: numbers.number(name) for name in numbers},
    )


def _hook(table: Table) -> HookRun:
    return HookRun(
        name=table.text("name"),
        exit_code=table.number("exit_code"),
        seconds=table.amount("seconds"),
        output=table.text("output"),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
