"""The commands of ``sitebackup``: the verbs, each with options that a script has built in.

A script that buildout makes has its configuration and its destination; here options of the command
line replace those that were found.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from collective.recipe.backup.cli.arguments import Verb
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.config import ALTERNATIVE, SNAPSHOT, ZIP

FILE, DIRECTORY = "FILE", "DIR"
"""Metavars that a shell can complete."""

DESTINATIONS = {
    "backup": {
        "--snapshot": (SNAPSHOT, "make a full backup in the directories for snapshots"),
        "--zip": (ZIP, "make one full backup in two files, in the place of the last one"),
    },
    "restore": {
        "--snapshot": (SNAPSHOT, "bring back what backup --snapshot made"),
        "--zip": (ZIP, "bring back what backup --zip made"),
        "--alternative": (ALTERNATIVE, "bring back from alternative_restore_source"),
    },
}
"""Flags that choose a destination, by command; the others have --of."""

FREQUENT = {
    "--zope-conf": ("zope_conf", FILE, "the zope.conf of the site"),
    "--zeo-conf": ("zeo_conf", FILE, "the zeo.conf of the site"),
    "--datafs": ("datafs", FILE, "the filestorage"),
    "--blob-storage": ("blob_storage", DIRECTORY, "the directory of the blobs"),
    "--locationprefix": ("locationprefix", DIRECTORY, "where all directories of backups lie"),
    "--location": (
        "location",
        DIRECTORY,
        "the directory of the filestorage backups alone; a relative path starts where all "
        "directories of backups lie, by default in var",
    ),
    "--keep": ("keep", "N", "how many full backups are kept"),
}
"""Options that have a flag of their own."""


def commands() -> dict[str, Verb]:
    """Return the commands by name, in the order of the verbs."""
    return {name: command(name) for name in VERBS}


def command(name: str) -> Verb:
    """Return the command *name*, which must be that of a verb."""
    verb = VERBS[name]
    return replace(verb, declare=partial(_declare, name, verb), takes_anything=False)


def _declare(name: str, verb: Verb, parser: argparse.ArgumentParser) -> None:
    verb.declare(parser)
    if name in DESTINATIONS:
        which = parser.add_mutually_exclusive_group()
        for flag, (destination, words) in DESTINATIONS[name].items():
            which.add_argument(
                flag, dest="destination", action="store_const", const=destination, help=words
            )
    site = parser.add_argument_group(
        "the site and its options",
        "These win over SITEBACKUP_* variables, and those over sitebackup.toml and\n"
        "[tool.sitebackup] in pyproject.toml.",
    )
    site.add_argument(
        "--config",
        type=Path,
        metavar=FILE,
        help="the configuration (default: sitebackup.toml and pyproject.toml in the working "
        "directory); relative paths of options start at its directory, those of the directories "
        "of single backups, such as location, where all of them lie",
    )
    for flag, (option, metavar, words) in FREQUENT.items():
        site.add_argument(
            flag, dest="settings", action=_Setting, option=option, metavar=metavar, help=words
        )
    site.add_argument(
        "--set",
        dest="settings",
        action=_Setting,
        metavar="NAME=VALUE",
        help="set any option, as often as you like",
    )
    parser.set_defaults(settings=[])


class _Setting(argparse.Action):
    """Adds a setting to those that came before; the last one of a name counts."""

    def __init__(self, *, option: str | None = None, **more: Any) -> None:
        super().__init__(**more)
        self._option = option

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        text = str(values)
        name, equals, value = (self._option, "=", text) if self._option else text.partition("=")
        if not equals or not name:
            parser.error(f"{option_string} needs NAME=VALUE, not {text!r}")
        setting = name.strip().replace("-", "_"), value
        namespace.settings = [*namespace.settings, setting]
