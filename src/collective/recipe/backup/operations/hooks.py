"""The hooks around a run, and the messages to history, metrics and pings.

    ping start -> history: started, if there is one -> pre_command -> history: started
        -> the work -> history: how it ended
        -> post_command, or failure_command if the work or pre_command failed
        -> history again, with what they said -> metrics -> ping success or failure

A pre_command may mount the disk of the backups and the others may unmount it.  So only a run whose
pre_command succeeded may begin a history, and the values of metrics are gathered before the disk
may be gone.  If the history is there before, a pre_command that never ends has left a line in it.

A run that is not let in, since another one is at work, has no hooks: they might unmount the disk
under the other.  But it pings, as after any failure.

These messages never decide how a run ends: if history, metrics or a ping fails, there is only a
warning.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from collective.recipe.backup import history, process
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.destinations import Outcome
from collective.recipe.backup.errors import (
    DONE,
    BackupError,
    Interrupted,
    InUse,
    from_os_error,
    printable,
)
from collective.recipe.backup.history import FOLLOW, HookRun, RunRecord, RunResult
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.operations.passing import in_passing
from collective.recipe.backup.operations.run import Run, history_directory, one_run
from collective.recipe.backup.times import monotonic

if TYPE_CHECKING:
    from collective.recipe.backup.operations.sitestatus import SiteStatus

logger = logging.getLogger("backup")

HOOKED = ("backup", "restore", FOLLOW)
"""Verbs that pre_command and its kin run around."""
PINGED = ("backup", FOLLOW)
"""Verbs that the watcher behind ping_url waits for, with the standard destination."""

ERROR_LIMIT = 2000
"""Characters of an error that a hook gets: there is no room for any text in an environment."""


@dataclass
class Account:
    """The results of a run, filled in while it goes on; see RunRecord for the meanings."""

    phases: dict[str, float] = field(default_factory=dict)  # seconds, by name of the phase
    points: dict[str, str] = field(default_factory=dict)
    """Stamp of the newest restore point, by name of the storage."""
    numbers: dict[str, int] = field(default_factory=dict)  # counts, by name
    outcome: str = history.DONE  # one of the outcomes of history
    error: BackupError | None = None  # that ended the run; None: none has
    places: dict[str, RunResult] = field(default_factory=dict)
    """Result of each place, if there are several."""

    def backed_up(self, sources: Sequence[Source], outcomes: Sequence[Outcome]) -> None:
        """Take over what a backup of *sources* came to."""
        for outcome in outcomes:
            for phase, spent in outcome.phases.items():
                self.phases[phase] = self.phases.get(phase, 0.0) + spent
        for source, outcome in zip(sources, outcomes, strict=True):
            self.points[source.name] = outcome.point.stamp
        stored = (outcome.point.stored for outcome in outcomes if outcome.changed)
        self.numbers = {"bytes": sum(stored), "changed": sum(it.changed for it in outcomes)}

    def found_wrong(self, error: BackupError, *, outcome: str = history.FAILED) -> None:
        """Say that the run goes on to its end and then fails with *error*."""
        self.error, self.outcome = error, outcome

    def result(self, seconds: float) -> RunResult:
        """Return the result of the run, which took this number of *seconds*."""
        return RunResult(
            outcome=self.outcome,
            exit_code=self.error.exit_code if self.error else DONE,
            seconds=seconds,
            error=printable(str(self.error)) if self.error else "",
            phases=self.phases,
            points=self.points,
            numbers=self.numbers,
        )


@contextmanager
def hooks_around(run: Run) -> Iterator[Account]:
    """Run the hooks around the body and send the messages; the body fills in the Account.

    If the body raises, that error counts, whatever failure_command does.
    """
    telling = _Telling(run)
    try:
        telling.ping_start()
        telling.announced()
        telling.hook("pre_command")
        telling.started()
        yield telling.account
    except BaseException as error:
        telling.account.found_wrong(_in_words(error))
        telling.ended()
        telling.hook_of_failure()
        telling.over()
        raise
    telling.ended()
    try:
        telling.hook("post_command")
    except BaseException as error:
        telling.account.found_wrong(_in_words(error))
        raise
    finally:
        telling.over()


@contextmanager
def let_in(run: Run) -> Iterator[None]:
    """Keep every other run of the same part out; see one_run.

    Raises InUse if another one is in; that is reported as a failure, without hooks.
    """
    with ExitStack() as lock:
        try:
            lock.enter_context(one_run(run))
        except InUse as error:
            refused = _Telling(run)
            refused.account.found_wrong(error)
            refused.ended()
            refused.over()
            raise
        yield


def put_down(run: Run, outcomes: Sequence[Outcome], seconds: float) -> None:
    """Put one backup of a time of following into the history."""
    telling = _Telling(run)
    telling.account.backed_up(run.config.sources, outcomes)
    telling.may_begin = True
    telling.write(telling.record(seconds))


def put_down_failure(run: Run, error: BackupError) -> None:
    """Put down, and ping, that one backup of a time of following failed with *error*."""
    telling = _Telling(run)
    telling.account.found_wrong(error)
    telling.may_begin = True
    telling.write(telling.record())
    telling.ping_end()


def goes_on(run: Run) -> None:
    """Put down that the time of following *run* has begun, if the history does not say so.

    It could not as long as there was no directory of backups to put it into.
    """
    telling = _Telling(run)
    began = telling.record().key
    if all(record.key != began for record in history.read(history_directory(run))):
        telling.started()


def beat(run: Run) -> None:
    """Ping that a time of following goes well."""
    _Telling(run).ping_end()


def _in_words(error: BaseException) -> BackupError:
    if isinstance(error, BackupError):
        return error
    if isinstance(error, OSError):
        return from_os_error(error)
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    return BackupError(f"a bug: {type(error).__name__}")


class _Telling:
    """One run, with its history, metrics and pings."""

    def __init__(self, run: Run) -> None:
        self.account = Account()
        self.may_begin = False
        self._run = run
        self._began = monotonic()
        self._hooks: list[HookRun] = []
        self._written = -1
        self._unwritable = False
        self._unpinged = False
        self._statuses: list[SiteStatus] = []

    def record(self, seconds: float | None = None) -> RunRecord:
        """Return what the history is to say of a run that has ended."""
        ended = self.account.result(monotonic() - self._began if seconds is None else seconds)
        return replace(
            self._first,
            **vars(ended),
            hooks=tuple(self._hooks),
            places=dict.fromkeys(self._run.places, RunResult()) | self.account.places,
        )

    @property
    def _first(self) -> RunRecord:
        run = self._run
        return RunRecord(
            verb=run.verb,
            destination=run.label,
            started=run.now,
            process=os.getpid(),
            host=os.uname().nodename,
            birth=process.birth_of(os.getpid()),
            hooks=tuple(self._hooks),
            places=dict.fromkeys(run.places, RunResult()),
        )

    # when

    def announced(self) -> None:
        """Tell that pre_command is about to run, where a history is there already."""
        if self._run.verb in HOOKED and self._run.config.options.pre_command:
            directory = history_directory(self._run)
            if (directory / history.NAME).exists():
                # that of the disk is what counts, which it may mount there
                with suppress(OSError):
                    history.append(directory, self._first, self._run.files)

    def started(self) -> None:
        self.may_begin = True
        self.write(self._first)

    def ended(self) -> None:
        """Tell what needs the disk of the backups, while it is there."""
        self.write(self.record())
        if self._run.config.options.metrics_file is not None:
            # few sites have one, and the others do not wait for the import
            from collective.recipe.backup.operations.status import statuses

            with in_passing("cannot gather what the metrics say"):
                self._statuses = statuses(replace(self._run, everywhere=True))

    def over(self) -> None:
        """Tell the rest; the disk of the backups may be gone."""
        if len(self._hooks) > self._written:
            self.may_begin = False
            self.write(self.record())
        if self._statuses:
            from collective.recipe.backup.operations.measures import write

            write(self._run, [each.after(self.record()) for each in self._statuses])
        self.ping_end()

    # whom

    def write(self, record: RunRecord) -> None:
        directory = history_directory(self._run)
        path = directory / history.NAME
        if self._unwritable or not (path.exists() or (self.may_begin and directory.is_dir())):
            return
        self._written = len(self._hooks)
        try:
            history.append(directory, record, self._run.files)
        except OSError as error:
            self._unwritable = True
            logger.warning("%s", from_os_error(error, "cannot add to the history", path))

    def ping_start(self) -> None:
        self._ping("START")

    def ping_end(self) -> None:
        error = self.account.error
        if error is None:
            self._ping("SUCCESS")
        else:
            self._ping("FAILURE", f"{self._run.config.part}: {error}\n{error.hint}\n")

    def _ping(self, event: str, message: str = "") -> None:
        run = self._run
        url = run.config.options.ping_url
        if not url or run.verb not in PINGED or run.destination != STANDARD:
            return
        # imported only by runs that ping
        from collective.recipe.backup import pinging

        problem = pinging.ping(url, pinging.Event[event], message)
        if problem and not self._unpinged:
            self._unpinged = True
            logger.warning("no ping (%s): %s", event.lower(), problem)

    # hooks

    def hook(self, name: str) -> None:
        """Run the hook *name*, if there is one.  Raises CommandFailed."""
        command = getattr(self._run.config.options, name)
        if not command or self._run.verb not in HOOKED:
            return
        logger.info("running %s", name)
        began = monotonic()
        ended = process.run_hook(name, command, self._environment(name))
        self._hooks.append(
            HookRun(
                name=name,
                exit_code=ended.status,
                seconds=monotonic() - began,
                output=ended.output[-history.TEXT_LIMIT :],
            )
        )
        ended.check()

    def hook_of_failure(self) -> None:
        """Run failure_command; if that fails as well, it is only said."""
        try:
            self.hook("failure_command")
        except (BackupError, OSError) as error:
            logger.error("%s", error)

    def _environment(self, name: str) -> Mapping[str, str]:
        """Return the variables that tell a hook about the run."""
        run, account = self._run, self.account
        told = {
            "BACKUP_PART": run.config.part,
            "BACKUP_VERB": run.verb,
            "BACKUP_DESTINATION": run.label,
        }
        if name == "pre_command":
            return told
        error = printable(str(account.error)) if account.error else ""
        return {
            **told,
            "BACKUP_OUTCOME": account.outcome,
            "BACKUP_EXIT_CODE": str(account.error.exit_code if account.error else DONE),
            "BACKUP_ERROR": error[:ERROR_LIMIT],
            "BACKUP_FAILED_PLACES": " ".join(
                name for name, it in account.places.items() if it.outcome == history.FAILED
            ),
            "BACKUP_RESTORE_POINT": account.points.get(MAIN, ""),
            "BACKUP_SECONDS": f"{monotonic() - self._began:.0f}",
        }
