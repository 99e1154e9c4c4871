"""What is measured: each work is prepared, run and checked, by one contestant after the other.

The backups of one work are what the next one stands on, so works that were not asked for
but are stood on are done once, without being shown.
"""

from __future__ import annotations

import fnmatch
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.contestants import Contestant
from benchmarks.measuring import Contents, Inodes, Taken, system_calls, take
from benchmarks.states import DAY, PACKED, YESTERDAY, States
from collective.recipe.backup.errors import BackupError

Surroundings = Callable[[], AbstractContextManager[object]]

NOTHING = 0.12
"""Seconds of processor time in which a whole process says that nothing has changed."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is to be reached; None: anything goes."""

    times: float | None = None  # how many times faster than the peer
    seconds: float | None = None  # by the clock
    cpu: float | None = None  # seconds of processor time
    megabytes: int | None = None  # of memory, at most
    inodes: int | None = None  # that one round may add
    added: int | None = None  # bytes of disk that one round may add
    share: float | None = None  # of the bytes that the best of the others adds
    operations: int | None = None  # of the store, at most


@dataclass(frozen=True, kw_only=True)
class Counting:
    """A *command*; *number* returns how many operations of a store it took, once it is done."""

    command: Sequence[str | Path]
    number: Callable[[], int]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One contestant at one work.

    *surroundings* prepares what the command needs and takes it away again; *watched* is
    where it leaves something.  *counting* does what the command does, and counts.
    """

    name: str
    command: Sequence[str | Path]
    surroundings: Callable[[], AbstractContextManager[object]] = nullcontext
    watched: Path | None = None
    check: Callable[[], bool] = lambda: True
    counting: Counting | None = None  # None: its operations cannot be counted


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something that is measured."""

    name: str
    title: str
    goal: Goal
    entries: Sequence[Entry]
    stood_on: bool = False


@dataclass(kw_only=True)
class Result:
    """What a contestant took in all rounds, and what one round added."""

    taken: list[Taken] = field(default_factory=list)
    inodes: int = 0
    size: int = 0
    calls: int | None = None
    operations: int | None = None  # of a store; None: it has none


@dataclass(frozen=True, kw_only=True)
class Row:
    """A work that was done."""

    work: Work
    results: Mapping[str, Result]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is done: which works, so many *rounds*, with or without counting *calls*."""

    only: Sequence[str]
    rounds: int
    calls: bool
    logs: Path
    tell: Callable[[str], None]

    def wants(self, work: Work) -> bool:
        """Tell whether a work was asked for."""
        return self.names(work.name)

    def names(self, work: str) -> bool:
        """Tell whether the work of that name was asked for."""
        return not self.only or any(fnmatch.fnmatch(work, each) for each in self.only)

    def carry_out(self, works: Iterable[Work]) -> Iterator[Row]:
        """Do the works; yield a row for each that was asked for."""
        works = list(works)
        while works and not self.wants(works[-1]):
            works.pop()
        for work in works:
            if self.wants(work):
                self.tell(f"{work.name}: {work.title}")
                yield Row(work=work, results=self._all_rounds(work))
            elif work.stood_on:
                self.tell(f"{work.name}: once, for what comes next")
                for entry in work.entries:
                    self._one(work, entry, Result())

    def _all_rounds(self, work: Work) -> dict[str, Result]:
        results = {entry.name: Result() for entry in work.entries}
        for number in range(self.rounds):
            # whoever is the second may profit from what the first one did
            for entry in work.entries if number % 2 == 0 else reversed(work.entries):
                self._one(work, entry, results[entry.name])
        for entry in work.entries:
            if entry.counting is not None:
                with entry.surroundings():
                    take(entry.counting.command, self.logs / f"{work.name}-{entry.name}.log")
                    number = entry.counting.number()
                results[entry.name].operations = number
                self.tell(f"    {entry.name}: {number} operations of the store")
        if self.calls:
            for entry in work.entries:
                with entry.surroundings():
                    results[entry.name].calls = system_calls(
                        entry.command, self.logs / f"{work.name}-{entry.name}.log"
                    )
        return results

    def _one(self, work: Work, entry: Entry, result: Result) -> None:
        with entry.surroundings():
            before = None
            if entry.watched is not None and not result.taken:
                before = Inodes(entry.watched)
            log = self.logs / f"{work.name}-{entry.name}.log"
            taken = take(entry.command, log)
            if not entry.check():
                raise BackupError(f"{entry.name} did not do its work: {work.title}", where=log)
            if before is not None:
                result.inodes, result.size = before.added()
            result.taken.append(taken)
            self.tell(f"    {entry.name}: {taken.seconds:.2f} s, {taken.memory / 1e6:.0f} MB")


class Backups:
    """The backups of one contestant, which can be what they were before a work."""

    def __init__(self, contestant: Contestant, part: str, states: States) -> None:
        self.contestant = contestant
        self.directory = contestant.backups(part)
        self._states = states
        self._kept: dict[str, Contents] = {}

    def empty(self) -> AbstractContextManager[object]:
        """Prepare for a first backup of the site as it was yesterday."""
        if self.directory.exists():
            self._states.trash.take(self.directory)
        (self.directory / "backups").mkdir(parents=True)
        self._states.switch(YESTERDAY, index=YESTERDAY)
        return nullcontext()

    def at(
        self, moment: str, state: str, index: str | None
    ) -> Callable[[], AbstractContextManager[object]]:
        """Return what prepares for a backup of *state*, with the backups as they were.

        *moment* names what the backups were when this was asked for first.
        """

        def prepare() -> AbstractContextManager[object]:
            if moment in self._kept:
                self._kept[moment].come_back(self._states.trash)
            else:
                self._kept[moment] = Contents(self.directory)
            self._states.switch(state, index=index)
            return nullcontext()

        return prepare


class Works:
    """All works, in the order in which they stand on each other."""

    def __init__(self, scratch: Path, states: States) -> None:
        self._states = states
        self._target = scratch / "restored"

    # the filestorage: against repozo

    def filestorage(self, ours: Contestant, repozo: Contestant) -> Iterator[Work]:
        """Yield the works on a filestorage alone."""
        mine = Backups(ours, "filestorage", self._states)
        theirs = Backups(repozo, "filestorage", self._states)
        program, place = repozo.script("repozo"), theirs.directory / "backups"
        back_up = (program, "-B", "-Q", "-z", "-r", place, "-f", self._states.filestorage)
        script = (ours.script("filestorage"), "--quiet")

        def entries(command: Sequence[str | Path], moment: str, index: str | None) -> list[Entry]:
            return [
                Entry(
                    name=backups.contestant.name,
                    command=each,
                    surroundings=backups.at(moment, DAY if "day" in moment else YESTERDAY, index),
                    watched=backups.directory,
                )
                for backups, each in ((mine, script), (theirs, command))
            ]

        yield Work(
            name="filestorage-full",
            title="full backup with gzip",
            goal=Goal(times=20, megabytes=80),
            stood_on=True,
            entries=[
                Entry(
                    name=ours.name, command=script, surroundings=mine.empty, watched=mine.directory
                ),
                Entry(
                    name=repozo.name,
                    command=(program, "-B", "-F", *back_up[3:]),
                    surroundings=theirs.empty,
                    watched=theirs.directory,
                ),
            ],
        )
        yield Work(
            name="filestorage-nothing",
            title="nothing changed since a full backup",
            goal=Goal(seconds=0.2, cpu=NOTHING, megabytes=80),
            entries=entries(back_up, "after the full one", YESTERDAY),
        )
        yield Work(
            name="filestorage-day",
            title="after a day, without an index",
            goal=Goal(times=20, megabytes=80),
            stood_on=True,
            entries=entries(back_up, "before the day", None),
        )
        yield Work(
            name="filestorage-nothing-day",
            title="nothing changed since an incremental backup",
            goal=Goal(seconds=0.2, cpu=NOTHING, megabytes=80),
            entries=entries(back_up, "after the day", DAY),
        )
        yield from self._reading(ours, repozo, place)

    def _reading(self, ours: Contestant, repozo: Contestant, place: Path) -> Iterator[Work]:
        program, target = repozo.script("repozo"), self._target / "Data.fs"
        restore = (ours.script("filestorage-restore"), "--quiet", "--no-prompt", "--to")
        recover = (program, "-R", "-r", place, "-o", target)

        def whole() -> bool:
            return target.stat().st_size == self._states.size(DAY)

        def empty() -> AbstractContextManager[object]:
            shutil.rmtree(self._target, ignore_errors=True)
            self._target.mkdir()
            return nullcontext()

        def old() -> AbstractContextManager[object]:
            empty()
            self._states.copy_of(YESTERDAY, target, None)
            return nullcontext()

        yield Work(
            name="filestorage-restore",
            title="restore with verification",
            goal=Goal(times=3, megabytes=80),
            entries=[
                Entry(
                    name=ours.name,
                    command=(*restore, self._target),
                    surroundings=empty,
                    check=whole,
                ),
                Entry(
                    name=repozo.name,
                    command=(*recover, "-w"),
                    surroundings=empty,
                    check=whole,
                ),
            ],
        )
        yield Work(
            name="filestorage-restore-delta",
            title="restore over a copy of yesterday",
            goal=Goal(times=10, megabytes=80),
            entries=[
                Entry(
                    name=ours.name, command=(*restore, self._target), surroundings=old, check=whole
                ),
                Entry(name=repozo.name, command=recover, surroundings=old, check=whole),
            ],
        )
        yield Work(
            name="filestorage-verify",
            title="verify",
            goal=Goal(times=3, megabytes=80),
            entries=[
                Entry(name=ours.name, command=(ours.script("filestorage-verify"),)),
                Entry(name=repozo.name, command=(program, "-V", "-r", place)),
            ],
        )
        yield Work(
            name="filestorage-log",
            title="the log of all transactions",
            goal=Goal(seconds=2, megabytes=80),
            entries=[
                Entry(name=ours.name, command=(ours.script("filestorage-log"), "--live")),
                Entry(name="of the backups", command=(ours.script("filestorage-log"),)),
            ],
        )
        yield Work(
            name="filestorage-objects",
            title="what the root holds, all objects measured",
            goal=Goal(megabytes=200),
            entries=[
                Entry(name=ours.name, command=(ours.script("filestorage-objects"), "--live")),
                Entry(name="of the backups", command=(ours.script("filestorage-objects"),)),
            ],
        )

    # both parts: against the older release

    def _looking_back(self, ours: Backups) -> Iterator[Work]:
        """Yield the works of the time machine, on the two moments that there are by now."""
        stamps = sorted(path.name[:19] for path in ours.directory.rglob("*.*fsz"))
        moment = stamps[0] if stamps else ""
        extracted = ours.directory.with_name("extracted.zexp")
        for name, title, seconds, command in (
            ("moment-log", "all transactions", 2, ("site-log",)),
            ("moment-log-live", "all transactions, live", 2, ("site-log", "--live")),
            ("moment-log-stat", "transactions, added up", 20, ("site-log", "--stat")),
            ("moment-objects", "the objects of the root", 20, ("site-objects", moment)),
            ("moment-deleted", "what is gone", 20, ("site-objects", moment, "--deleted")),
            ("moment-diff", "what has changed", 20, ("site-diff", moment)),
            ("moment-folder", "a folder of 1,000 items", 1, ("site-objects", moment, "/folder")),
            (
                "moment-extract",
                "extract of 100 items and 100 blobs",
                2,
                ("site-extract", moment, "/album", "--file", str(extracted)),
            ),
        ):
            script, *arguments = command
            entry = Entry(
                name=ours.contestant.name,
                command=(ours.contestant.script(script), "--quiet", *arguments),
                surroundings=_without(extracted, ours.at("after the day", DAY, YESTERDAY)),
            )
            goal = Goal(seconds=seconds, megabytes=200)
            yield Work(name=name, title=title, goal=goal, entries=[entry])

    def site(self, ours: Contestant, peer: Contestant) -> Iterator[Work]:
        """Yield the works on both parts."""
        both = [Backups(each, "site", self._states) for each in (ours, peer)]

        def entries(moment: str, state: str, index: str) -> list[Entry]:
            return [
                Entry(
                    name=backups.contestant.name,
                    command=(backups.contestant.script("site"), "--quiet"),
                    surroundings=backups.at(moment, state, index),
                    watched=backups.directory,
                )
                for backups in both
            ]

        yield Work(
            name="site-first",
            title="first backup",
            goal=Goal(times=5, megabytes=100),
            stood_on=True,
            entries=[
                Entry(
                    name=backups.contestant.name,
                    command=(backups.contestant.script("site"), "--quiet"),
                    surroundings=backups.empty,
                    watched=backups.directory,
                )
                for backups in both
            ],
        )
        yield Work(
            name="site-nothing",
            title="nothing changed since the first",
            goal=Goal(times=3, seconds=0.2, cpu=NOTHING, megabytes=100),
            entries=entries("after the first", YESTERDAY, YESTERDAY),
        )
        mine, theirs = entries("after the first", YESTERDAY, YESTERDAY)
        yield Work(
            name="sitebackup-nothing",
            title="nothing changed, by sitebackup",
            goal=Goal(times=3, seconds=0.2, cpu=NOTHING, megabytes=100),
            entries=[replace(mine, command=self._by_sitebackup(both[0])), theirs],
        )
        yield Work(
            name="site-day",
            title="after a day",
            goal=Goal(times=25, inodes=1000, megabytes=100, added=self._a_day_of_bytes()),
            stood_on=True,
            entries=entries("before the day", DAY, YESTERDAY),
        )
        yield Work(
            name="site-nothing-day",
            title="nothing changed since that",
            goal=Goal(times=3, seconds=0.2, cpu=NOTHING, megabytes=100),
            entries=entries("after the day", DAY, YESTERDAY),
        )
        yield from self._looking_back(both[0])
        for name, title, times, old in (
            ("site-restore", "restore into the empty", 2, False),
            ("site-restore-delta", "restore over a copy of yesterday", 10, True),
        ):
            yield Work(
                name=name,
                title=title,
                goal=Goal(times=times, megabytes=100),
                entries=[
                    Entry(
                        name=each.name,
                        command=(each.script("site-restore"), "--quiet", "--no-prompt"),
                        surroundings=self._states.over_yesterday if old else self._states.lost,
                        check=self._states.is_the_day,
                    )
                    for each in (ours, peer)
                ],
            )
        yield Work(
            name="site-pack",
            title="after a pack",
            goal=Goal(times=5, megabytes=100),
            entries=entries("before the pack", PACKED, PACKED),
        )

    def _by_sitebackup(self, backups: Backups) -> Sequence[str | Path]:
        """Return the command that backs up to where the script of the part does."""
        return (
            Path(sys.executable).with_name("sitebackup"),
            *("backup", "--quiet", "--datafs", self._states.filestorage),
            *("--blob-storage", self._states.blobstorage),
            *("--location", backups.directory / "backups"),
            *("--set", f"blobbackuplocation={backups.directory / 'blobstoragebackups'}"),
        )

    def _a_day_of_bytes(self) -> int:
        """Return what a day adds to the site, and 5 %."""
        states = self._states
        grown = states.size(DAY) - states.size(YESTERDAY)
        blobs = states.blob_bytes(DAY) - states.blob_bytes(YESTERDAY)
        return (grown + blobs) * 105 // 100


def _without(file: Path, surroundings: Surroundings) -> Surroundings:
    """Return *surroundings* in which *file* is not there, and goes afterwards."""

    @contextmanager
    def prepare() -> Iterator[None]:
        file.unlink(missing_ok=True)
        with surroundings():
            yield
        file.unlink(missing_ok=True)

    return prepare
