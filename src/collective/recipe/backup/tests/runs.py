"""Runs of the verbs over a sample site, without buildout and without a process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from collective.recipe.backup.cli import guarded
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import parse
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.config import SNAPSHOT, STANDARD, Config, dump
from collective.recipe.backup.destinations import Destination, Outcome
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import MAIN, Place, RestorePoint, Source
from collective.recipe.backup.operations.backup import back_up
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.options import Options
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import When

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Operated:
    """A site that is backed up: its configuration, and a clock that goes on an hour a run."""

    def __init__(self, site: Site, *, blobs: bool = True, **options: Any) -> None:
        self.site = site
        self.now = NOON
        var = site.directory / "var"
        source = Source(
            name=MAIN,
            filestorage=site.filestorage,
            blobstorage=site.blobstorage if blobs else None,
        )
        self.config = Config(
            part="backup",
            sources=(source,),
            destinations={
                kind: (
                    Place(
                        name=MAIN,
                        filestorage=var / f"{prefix}backups",
                        blobstorage=var / f"blobstorage{suffix}" if blobs else None,
                    ),
                )
                for kind, prefix, suffix in (
                    (STANDARD, "", "backups"),
                    (SNAPSHOT, "snapshot", "snapshots"),
                )
            },
            options=Options(**options),
        )
        self.config_path = site.directory / "parts" / "backup" / "config.json"
        self.config_path.parent.mkdir(parents=True, exist_ok=True)
        self.config_path.write_bytes(dump(self.config))

    def run(
        self,
        verb: str,
        *,
        files: Files | None = None,
        ask: Callable[[str], bool] | None = None,
        destination: str = STANDARD,
    ) -> Run:
        return Run(
            config=self.config,
            config_path=self.config_path,
            verb=verb,
            destination=destination,
            now=self.now,
            files=files or Files(),
            progress=Silent(),
            ask=ask,
        )

    def backup(
        self,
        *,
        files: Files | None = None,
        full: bool = False,
        accept: bool = False,
        destination: str = STANDARD,
    ) -> Outcome:
        """Back up, an hour after the last time."""
        self.now += timedelta(hours=1)
        why_full = "a full backup was asked for" if full or accept else ""
        run = self.run("backup", files=files, destination=destination)
        [outcome] = back_up(run, why_full=why_full, accept_changed=accept)
        return outcome

    def restore(self, when: When | None = None, *, files: Files | None = None, **more: Any) -> None:
        """Restore without a question."""
        assert restore(self.run("restore", files=files), RestoreOrder(when=when, **more))

    def destination(self) -> Destination:
        [destination] = self.run("list").destinations()
        return destination

    def points(self) -> list[RestorePoint]:
        return list(self.destination().restore_points())

    def place(self) -> Place:
        return self.config.destinations[STANDARD][0]


def typed(operated: Operated, verb: str, *arguments: str) -> int:
    """Let the command line of *verb* act on *operated*, whatever its destination is."""

    def act(asked: Sequence[str], answers: Answers) -> int:
        namespace = parse(VERBS[verb], asked)
        namespace.destination, namespace.restore_command = STANDARD, "bin/restore"
        return VERBS[verb].act(operated.run(verb), namespace, answers)

    return guarded(act, arguments, verb=verb)


def copied(operated: Operated, directory: Path) -> Operated:
    """Return the same site with its backups, copied to *directory*."""
    shutil.copytree(operated.site.directory, directory, symlinks=True)
    options = {
        name: getattr(operated.config.options, name)
        for name in operated.config.options.__dataclass_fields__
    }
    blobs = operated.config.sources[0].blobstorage is not None
    copy = Operated(Site(directory), blobs=blobs, **options)
    copy.now = operated.now
    return copy
