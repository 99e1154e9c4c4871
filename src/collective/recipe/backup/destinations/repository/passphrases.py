"""Sources of the passphrase of a repository; a command line or a script is never one.

The first of these that is there: ``SITEBACKUP_PASSPHRASE_NAME`` and ``SITEBACKUP_PASSPHRASE``
in the environment, the file that ``repository_passphrase_file`` names, the first line that
``repository_passphrase_command`` prints.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError, explained
from collective.recipe.backup.options import Options
from collective.recipe.backup.smallfile import read_small

VARIABLE = "SITEBACKUP_PASSPHRASE"
EXPOSED = "other users may read the passphrase of the repositories"
"""Message about a file with a passphrase that other users may read."""

_one_at_a_time = threading.Lock()
"""Held while a program is asked, which may show a window to the user."""

_LARGEST = 4096
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def variable_of(name: str) -> str:
    """Return the variable with the passphrase of the repository *name* alone."""
    return f"{VARIABLE}_{name.upper().replace('-', '_')}"


def asking(
    options: Options, name: str, environment: Mapping[str, str] = os.environ
) -> Callable[[], str] | None:
    """Return what returns the passphrase of the repository *name*; None: there is none."""
    for variable in (variable_of(name), VARIABLE):
        if environment.get(variable):
            return partial(str, environment[variable])
    if options.repository_passphrase_file is not None:
        return partial(in_file, options.repository_passphrase_file)
    if options.repository_passphrase_command:
        return partial(_by_command, options.repository_passphrase_command)
    return None


def exposed_file(options: Options) -> Path | None:
    """Return the file with the passphrase if other users may read it."""
    path = options.repository_passphrase_file
    if path is None or not path.exists():
        return None
    return path if path.stat().st_mode & _OF_OTHERS else None


def in_file(path: Path) -> str:
    """Return the passphrase in the first line of a file.  Raises ConfigurationError."""
    with explained("cannot read the passphrase of the repository", path):
        data = read_small(path, _LARGEST)
    if data is None:
        raise ConfigurationError(
            "the file with the passphrase of the repository is not there",
            where=path,
            hint="write it there, for its owner alone (chmod 600), and keep a copy elsewhere",
        )
    return _first_line(data, str(path))


def _by_command(command: str) -> str:
    from collective.recipe.backup.process import answer_of

    with _one_at_a_time:
        printed = answer_of("repository_passphrase_command", command)
    return _first_line(printed, "")


def _first_line(data: bytes, where: str) -> str:
    line = os.fsdecode(data).partition("\n")[0].rstrip("\r")
    if not line:
        raise ConfigurationError(
            "the passphrase of the repository is empty",
            where=where,
            hint="its first line must be the passphrase",
        )
    return line
