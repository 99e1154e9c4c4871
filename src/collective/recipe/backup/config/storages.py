"""The options that list storages: additional ones, and where else each can be restored from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from collective.recipe.backup.model import MAIN, Place, Source
from collective.recipe.backup.options.optionkinds import expanded

MAIN_WORDS = {MAIN, "Data"}
"""Names of the main storage in an alternative source."""

Absolute = Callable[[Path], Path]


def words(line: str) -> list[str]:
    """Return the words of a line; white space in quotes does not separate.

    Raises ValueError if quotes stay open.  A backslash is a character like any other.
    """
    splitter = shlex.shlex(line, posix=True, punctuation_chars=False)
    splitter.whitespace_split = True
    splitter.commenters = ""
    splitter.escape = ""
    return list(splitter)


def additional(
    lines: Sequence[str], main: Source, absolute: Absolute, problems: list[str]
) -> tuple[list[Source], list[str]]:
    """Return the storages that ``additional_filestorages`` lists, and warnings.

    *absolute* makes a path of a line absolute; mistakes are added to *problems*.
    """
    found: dict[str, Source] = {}
    warnings = []
    for line in lines:
        try:
            source = _additional(line, main, absolute)
        except ValueError as error:
            problems.append(f"additional_filestorages: {error}: {line!r}")
            continue
        if found.get(source.name, source) != source:
            problems.append(
                f"additional_filestorages: {source.name} is there twice, with different paths"
            )
        elif source.name in found:
            warnings.append(f"additional_filestorages: {source.name} is there twice")
        found[source.name] = source
    return list(found.values()), warnings


def _additional(line: str, main: Source, absolute: Absolute) -> Source:
    name, *paths = words(line)
    if name in MAIN_WORDS:
        raise ValueError(f"{name} is the name of the main storage")
    if not re.fullmatch(r"[^/\0]+", name):
        raise ValueError(f"{name!r} cannot be part of a file name")
    if len(paths) > 2 or "" in paths:
        raise ValueError("a line is NAME [DATAFS [BLOBDIR]], a path with white space in quotes")
    return Source(
        name=name,
        filestorage=absolute(expanded(paths[0]))
        if paths
        else main.filestorage.with_name(f"{name}.fs"),
        blobstorage=absolute(expanded(paths[1])) if len(paths) == 2 else None,
    )


def alternatives(
    lines: Sequence[str], sources: Sequence[Source], absolute: Absolute, problems: list[str]
) -> tuple[Place, ...]:
    """Return the place to restore each of *sources* from, in their order.

    There is exactly one for each, with blobs exactly if the source has blobs; mistakes are added to
    *problems*.
    """
    expected = {source.name: source for source in sources}
    found: dict[str, Place] = {}
    for line in lines:
        try:
            place = _alternative(line, expected, absolute)
            if place.name in found:
                raise ValueError("this storage has a line already")
        except ValueError as error:
            problems.append(f"alternative_restore_source: {error}: {line!r}")
        else:
            found[place.name] = place
    missing = [name for name in expected if name not in found]
    if missing and len(found) == len(lines):
        shown = ", ".join("Data" if name == MAIN else name for name in missing)
        problems.append(f"alternative_restore_source: there is no line for {shown}")
    return tuple(found[name] for name in expected if name in found)


def _alternative(line: str, sources: Mapping[str, Source], absolute: Absolute) -> Place:
    key, *paths = words(line)
    source = sources.get(MAIN if key in MAIN_WORDS else key)
    if source is None:
        raise ValueError(f"{key} is no storage of this site (the main one is called Data)")
    if not paths or "" in paths:
        raise ValueError("the directory of the filestorage backups is missing")
    if len(paths) > 2:
        raise ValueError("a line is NAME FSDIR [BLOBDIR], a path with white space in quotes")
    if source.blobstorage is None and len(paths) == 2:
        raise ValueError("a directory of blob backups is given, but the storage has no blobs")
    if source.blobstorage is not None and len(paths) == 1:
        raise ValueError("the directory of the blob backups is missing")
    return Place(
        name=source.name,
        filestorage=absolute(expanded(paths[0])),
        blobstorage=absolute(expanded(paths[1])) if len(paths) == 2 else None,
    )
