"""One run of one verb: its surroundings and its lock."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path

from collective.recipe.backup import locking
from collective.recipe.backup.config import Config
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.configured import (
    DIRECTORY,
    DestinationConfig,
    as_it_was,
    configured,
    history_of,
    named,
)
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.destinations.making import made
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.retention import Policy
from collective.recipe.backup.stores.allowance import Allowance

logger = logging.getLogger("backup")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The environment of a verb.  A run acts on one destination.

    One that goes *everywhere* consists of such runs, one for each destination of its purpose.
    """

    config: Config  # of the part
    config_path: Path  # file that has it
    verb: str  # name of the command
    destination: str  # purpose of the script: backups of every night, snapshots, zip, alternative
    now: datetime  # when it began, by the clock
    files: Files  # the only way to change a disk
    progress: Progress  # progress of long work
    name: str = DIRECTORY  # of the destination
    everywhere: bool = False  # whether it is a run for all destinations
    ask: Callable[[str], bool] | None = None
    """Shows a question, returns the answer; None: there is no user, and the answer is yes."""
    restore_command: str = "bin/restore"  # command that a user types to restore
    following: bool = False  # whether small backups are made, to be merged later
    allowance: Allowance = field(default_factory=Allowance)
    """Limits on the stores of all repositories together."""
    abreast: int = 1  # runs at the same time, itself included, that share the memory of one
    as_of: datetime | None = None  # moment whose state of the store is read; None: the present
    seen: tuple[datetime, ...] = ()  # earlier readings of the clock in this process
    told: set[str] = field(default_factory=set)
    """Messages that were given once, and are not repeated."""

    @property
    def holder(self) -> str:
        """Return the name of this run in the locks that it holds."""
        command = f"{self.config.part}: {self.verb} to {self.label}"
        return f"{command}, process {os.getpid()} since {self.now:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def label(self) -> str:
        """The name of the destination in the history: the purpose of directories, or its own name.

        A run to several has the name of their purpose.  A run on an earlier state of a store has a
        name that no place has, because its results say nothing of the present state.
        """
        if self.as_of is not None:
            return f"{self.name}-as-of"
        return self.destination if self.name == DIRECTORY or self.places else self.name

    @property
    def title(self) -> str:
        """The name of the destination in headings."""
        kind = self.configured.kind.capitalize()
        name = "" if self.name == DIRECTORY else f"{self.name} at "
        return f"{kind} {name}{self.homes[-1].label}"

    @property
    def places(self) -> tuple[str, ...]:
        """The names of the destinations in the history, if this run has several."""
        labels = tuple(each.label for each in self.beside) if self.everywhere else ()
        return labels if len(labels) > 1 else ()

    @property
    def configured(self) -> DestinationConfig:
        """The configuration of the one destination that this run acts on."""
        found = named(self.config, self.destination, self.name)
        return found if self.as_of is None else as_it_was(found, self.as_of)

    @property
    def beside(self) -> tuple[Run, ...]:
        """Return a run for each destination of the purpose of this one, in their order."""
        found = configured(self.config, self.destination)
        return tuple(replace(self, name=each.name, everywhere=False) for each in found)

    @property
    def policy(self) -> Policy:
        """Return the rules of retention for the destination of this run."""
        return self.configured.policy

    @property
    def homes(self) -> list[Home]:
        """The places of the backups of each source, in order; nothing is read."""
        return self.configured.homes

    @contextmanager
    def opened(self) -> Iterator[list[Destination]]:
        """Yield the restore points of each source, in order, open until the body ends."""
        destinations = self.destinations()
        with ExitStack() as opened:
            for destination in destinations:
                opened.enter_context(destination.opened())
            yield destinations

    def destinations(self) -> list[Destination]:
        """Return the restore points of each source in the destination of this run, in order."""
        return made(
            self.configured,
            following=self.following,
            files=self.files,
            progress=self.progress,
            allowance=self.allowance,
            abreast=self.abreast,
        )


def history_directory(run: Run) -> Path:
    """Return the directory that holds the history of all destinations of a part."""
    return history_of(run.config)


@contextmanager
def one_run(run: Run) -> Iterator[None]:
    """Keep every other run of the same part out, hooks included.

    A pre_command may mount the disk that the backups are on, so this lock lies beside the
    configuration; where we may not write there, the locks of the destinations must do.
    """
    directory = run.config_path.parent
    if not os.access(directory, os.W_OK):
        yield
        return
    with locking.one_writer(directory, run.holder):
        yield
