"""Checks of the directories and the Python of a part, which no option can mend.

Buildout notes what it has installed in a file of lines, and later removes what it reads
there: a line break in a path makes it remove something else.  A script names its Python in
its first line, which the kernel splits at white space and cuts at some length.
"""

from __future__ import annotations

import locale
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from collective.recipe.backup.config import SNAPSHOT, STANDARD, Config
from collective.recipe.backup.errors import printable
from collective.recipe.backup.options.optionkinds import expanded

SCRIPT_HEAD_SIZE = 255
"""Bytes of a script's first line that Linux reads; ``#!`` are two of them."""


def unusable(part: str, directories: Sequence[Path], python: str) -> Iterator[str]:
    """Yield problems with a part's name, buildout's *directories* or the *python*."""
    if "/" in part or part in {".", ".."}:
        yield f"{printable(part)} is no name for a part, since its scripts are named after it"
    troubles = filter(None, map(_trouble, map(str, directories)))
    # the directories lie in each other: the first says it for all
    yield from islice(troubles, 1)
    if re.search(r"[ \t\r\n]", python) or len(os.fsencode(python)) > SCRIPT_HEAD_SIZE - 2:
        yield (
            "the path of this Python is too long or holds white space, so that no script can "
            f"start with it: {printable(python)}; make the virtual environment elsewhere"
        )


def _trouble(directory: str) -> str:
    """Return what buildout cannot do with *directory*, "" if nothing."""
    shown = printable(directory)
    if re.search(r"[\r\n]", directory):
        return f"buildout cannot cope with the line break in its directory {shown}"
    if not _is_text(directory):
        return (
            f"buildout cannot note its directory {shown}, since that is no text in the "
            f"encoding of this locale ({locale.getpreferredencoding(False)})"
        )
    if str(expanded(directory)) != directory:
        return f"the $ in the directory {shown} would be taken for a variable: rename it"
    return ""


def _is_text(path: str) -> bool:
    """Tell whether buildout can write *path* to a file and scripts can have it in them."""
    encoding = locale.getpreferredencoding(False)
    try:
        # scripts are read as UTF-8 and written in the encoding of the locale
        return path.encode(encoding) == path.encode("utf-8")
    except UnicodeError:
        return False


def unwritable(config: Config) -> Iterator[str]:
    """Yield a warning for each directory that could not be made or written to now.

    Nothing is tried, since the disk for the backups may not be mounted yet.
    """
    for purpose in (STANDARD, SNAPSHOT):
        for place in config.destinations.get(purpose, ()):
            for directory in place.directories:
                there = _nearest_existing(directory)
                if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
                    yield (
                        f"backups could not be written to {directory} now: "
                        f"{there} is not a directory that we may write to"
                    )


def _nearest_existing(path: Path) -> Path:
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path
