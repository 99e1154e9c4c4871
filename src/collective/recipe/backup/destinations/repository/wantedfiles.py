"""The further files of a site to back up: the options ``files`` and ``files_exclude``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from collective.recipe.backup.blobs.layout import is_of_zodb
from collective.recipe.backup.frozen import dataclass

_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)

_MEMBERS = re.compile(r"(.)(?:-(.))?", re.DOTALL)
"""Pattern of one member in brackets: a character, or a range of them."""


@dataclass(frozen=True, kw_only=True)
class WantedFiles:
    """The paths to back up besides the storages."""

    paths: tuple[Path, ...]  # absolute; with all that lies below
    patterns: tuple[str, ...] = ()  # of what is left out, see ``Exclusions``
    kept_out: tuple[Path, ...] = ()  # absolute: what is backed up otherwise, and backups
    blobstorages: tuple[Path, ...] = ()  # absolute: only what lies there besides blobs

    def roots(self) -> Iterator[str]:
        """Yield the paths in order, without those that lie in another one."""
        last = None
        for path in sorted(self.paths, key=lambda path: path.parts):
            if last is None or not path.is_relative_to(last):
                last = path
                yield str(path)


class Exclusions:
    """Tells which paths are left out.

    A pattern without a slash is for names, wherever they are; one with slashes is for whole
    paths.  ``*`` and ``?`` stand for any characters, or for one, but for no slash; ``**`` for
    slashes too; ``[a-z]`` for one of these, ``[!a-z]`` for any other one but a slash.  A slash at
    the end: only directories.
    """

    def __init__(self, wanted: WantedFiles) -> None:
        self._paths = set(_spellings(wanted.kept_out))
        self._blobstorages = set(_spellings(wanted.blobstorages))
        self._names = {os.path.basename(path) for path in self._paths}
        self._patterns = [
            (re.compile(_expression(each.rstrip("/")), re.DOTALL), "/" in each.rstrip("/"), each)
            for each in wanted.patterns
        ]

    def is_kept_out(self, path: str) -> bool:
        """Tell whether *path* is backed up otherwise, or holds backups."""
        return bool({path, os.path.realpath(path)} & self._paths)

    def leave_out(self, path: str, *, is_directory: bool) -> bool:
        """Tell whether *path*, absolute, is left out, together with all below it."""
        name = os.path.basename(path)
        if name in self._names and self.is_kept_out(path):
            return True
        if is_of_zodb(name) and self._is_blobstorage(os.path.dirname(path)):
            return True
        for pattern, is_of_paths, text in self._patterns:
            if text.endswith("/") and not is_directory:
                continue
            if pattern.fullmatch(path if is_of_paths else name):
                return True
        return False

    def _is_blobstorage(self, path: str) -> bool:
        return bool({path, os.path.realpath(path)} & self._blobstorages)


def _spellings(paths: Iterable[Path]) -> Iterator[str]:
    """Yield *paths* as they are written, and without links."""
    for path in paths:
        yield os.fspath(path)
        yield os.path.realpath(path)


def _expression(pattern: str) -> str:
    """Return the regular expression of a *pattern*."""
    return "".join(_translated(_WILD.findall(pattern)))


def _translated(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if part == "**/":
            yield "(?:.*/)?"
        elif part == "**":
            yield ".*"
        elif part == "*":
            yield "[^/]*"
        elif part == "?":
            yield "[^/]"
        elif part.startswith("[") and len(part) > 1:
            yield _one_of(part[1:-1]) or re.escape(part)
        else:
            yield re.escape(part)


def _one_of(inside: str) -> str:
    """Return the expression of ``[inside]``; "" if it is none, and so means itself."""
    is_negated = inside.startswith("!")
    members = _MEMBERS.findall(inside[is_negated:])
    if not members:
        return ""
    found = "".join(
        f"{re.escape(first)}-{re.escape(last)}" if last else re.escape(first)
        for first, last in members
    )
    found = f"(?!/)[{'^' if is_negated else ''}{found}]"
    try:
        re.compile(found)
    except re.error:  # a range that ends before it begins
        return ""
    return found
