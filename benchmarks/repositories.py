"""Encrypted repositories side by side: ours, borg and restic, with the same site.

Each work begins with the repository, and with what the host remembers of it, as the work
before left them; so all rounds do the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from benchmarks.keepers import Command, Keeper, copies_of
from benchmarks.measuring import Trash
from benchmarks.states import DAY, PACKED, YESTERDAY, States
from benchmarks.works import Entry, Goal, Work

MEMORY = 200
"""MB that any work may take."""

_NEVER_CHANGED = {"bundles", "data"}
"""Directories of repositories whose files stay what they are once they are written."""

_ELSEWHERE = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")

Prepare = Callable[[], AbstractContextManager[object]]


class Moments:
    """The repository of one keeper, which can be what it was before a work."""

    def __init__(self, keeper: Keeper, states: States, trash: Trash) -> None:
        self.keeper = keeper
        self._states = states
        self._trash = trash
        for copy in copies_of(keeper):
            trash.take(copy)

    def empty(self) -> AbstractContextManager[object]:
        """Prepare for a first backup of the site as it was yesterday."""
        keeper = self.keeper
        # objects are few and large: to remove them at once slows nothing down
        self._trash.empty()
        for each in (keeper.repository, keeper.cache):
            if each.exists():
                self._trash.take(each)
        keeper.cache.mkdir(parents=True)
        self._states.switch(YESTERDAY, index=YESTERDAY)
        subprocess.run(keeper.make, check=True, capture_output=True)
        return nullcontext()

    def at(self, moment: str, live: Prepare, *, elsewhere: bool = False) -> Prepare:
        """Return what brings back what was when *moment* was asked for first, and calls *live*.

        *elsewhere*: nothing is remembered of it.
        """
        keeper = self.keeper
        kept = keeper.directory.with_name(f"{keeper.directory.name} {moment}")

        def prepare() -> AbstractContextManager[object]:
            self._trash.empty()
            there = (keeper.repository, keeper.cache)
            if kept.exists():
                for each in there:
                    self._trash.take(each)
                    _copy(kept / each.name, each)
            else:
                for each in there:
                    _copy(each, kept / each.name)
            if elsewhere:
                self._trash.take(keeper.cache)
                keeper.cache.mkdir()
            return live()

        return prepare


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_copied)


def _copied(source: str, target: str) -> None:
    if _NEVER_CHANGED.intersection(Path(source).parts):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


class RepositoryWorks:
    """All works, in the order in which they stand on each other."""

    def __init__(self, keepers: Sequence[Keeper], states: States, trash: Trash) -> None:
        self._states = states
        self._moments = [Moments(keeper, states, trash) for keeper in keepers]

    def works(self) -> Iterator[Work]:
        """Yield the works."""
        yield Work(
            name="repository-first",
            title="first backup",
            goal=Goal(times=2, share=1, megabytes=MEMORY),
            stood_on=True,
            entries=[
                self._entry(each, each.keeper.backing_up("first"), each.empty)
                for each in self._moments
            ],
        )
        yield Work(
            name="repository-nothing",
            title="nothing changed",
            goal=Goal(seconds=0.3, times=20, operations=6, megabytes=MEMORY),
            entries=self._backups("nothing", "after the first", self._live(YESTERDAY)),
        )
        yield Work(
            name="repository-day",
            title="after a day",
            goal=Goal(seconds=0.8, times=10, operations=39, megabytes=MEMORY),
            stood_on=True,
            entries=self._backups("a-day", "after the first", self._live(DAY)),
        )
        yield Work(
            name="repository-pack",
            title="after a pack",
            goal=Goal(times=3, share=0.01, megabytes=MEMORY),
            entries=self._backups("packed", "after the day", self._live(PACKED)),
        )
        if os.geteuid() == 0:
            yield Work(
                name="repository-elsewhere",
                title="the same without a cache, from another host",
                goal=Goal(seconds=5, share=0.01, megabytes=MEMORY),
                entries=[
                    self._entry(
                        each,
                        (*_ELSEWHERE, *each.keeper.backing_up("elsewhere")),
                        each.at("after the day", self._live(PACKED), elsewhere=True),
                    )
                    for each in self._moments
                ],
            )
        yield from self._reading()

    def _reading(self) -> Iterator[Work]:
        for name, title, times, live in (
            ("restore", "restore into the empty", 2, self._states.lost),
            ("restore-delta", "restore over a copy of yesterday", 10, self._states.over_yesterday),
        ):
            yield Work(
                name=f"repository-{name}",
                title=title,
                goal=Goal(times=times, megabytes=MEMORY),
                entries=[
                    Entry(
                        name=each.keeper.name,
                        command=each.keeper.restore,
                        surroundings=each.at("after the day", live),
                        check=self._states.is_the_day,
                    )
                    for each in self._moments
                ],
            )
        yield Work(
            name="repository-verify",
            title="verify everything",
            goal=Goal(times=2, megabytes=MEMORY),
            entries=[
                Entry(
                    name=each.keeper.name,
                    command=each.keeper.verify,
                    surroundings=each.at("after the day", nullcontext),
                )
                for each in self._moments
            ],
        )

    def _backups(self, archive: str, moment: str, live: Prepare) -> list[Entry]:
        return [
            self._entry(each, each.keeper.backing_up(archive), each.at(moment, live))
            for each in self._moments
        ]

    def _entry(self, each: Moments, command: Command, surroundings: Prepare) -> Entry:
        keeper = each.keeper
        return Entry(
            name=keeper.name,
            command=command,
            surroundings=surroundings,
            watched=keeper.repository,
            counting=keeper.counting,
        )

    def _live(self, state: str) -> Prepare:
        def switch() -> AbstractContextManager[object]:
            self._states.switch(state, index=state)
            return nullcontext()

        return switch
