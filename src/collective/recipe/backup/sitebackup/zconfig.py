"""The sections and values of ``zope.conf`` and ``zeo.conf``, without what they mean.

::

    %define INSTANCE /srv/site          a name, in any case; %include PATH reads another file
    <zodb_db main>                      a section: its kind, and a name if it has one
       mount-point /                    a key and the rest of the line
       <filestorage>
         path $INSTANCE/var/Data.fs     $name, ${name}, $(ENVIRONMENT), $$ for a dollar
       </filestorage>
    </zodb_db>

ZConfig itself knows what a value means from schemas of packages that need not be installed
here, and refuses a file for what we do not even look at.  So this reader takes every line
that it can and leaves the others: whether the file is right is the affair of Zope.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError, explained
from collective.recipe.backup.smallfile import read_small

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"\$(?:(\$)|({_NAME})|\{{({_NAME})\}}|\(({_NAME})\))")
_DEPTH = 20
"""Files that may include each other: more is a circle."""
_FILES = 200
"""Files that are read for one: a file may include others twice, and those may do so as well."""
_SIZE = 4 << 20
"""Bytes that all these files may have."""
_NESTED = 50
"""Sections that may lie in each other; Zope has no more than 5."""
_LONGEST = 1 << 16
"""Characters of a value: definitions may be made of others, and double each time."""


class _Unusable(Exception):  # noqa: N818  it is told once somebody wants to use the value
    """A value that cannot be used; the text continues the name of its option."""


@dataclass
class Section:
    """One section of the configuration."""

    kind: str = ""  # in lower case
    name: str = ""  # in lower case; "": it has none
    sections: list[Section] = field(default_factory=list)  # in it
    _values: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By key: values, each with its place."""

    def value(self, key: str) -> str | None:
        """Return the value of *key*, the last if it has several, None if it is not set.

        Raises ConfigurationError if it names something that is not defined.
        """
        return next(iter(self.values(key)[-1:]), None)

    def values(self, key: str) -> list[str]:
        """Return all values of *key*.  Raises as value does, for the last of them."""
        found = self._values.get(key, [])
        for where, problem in found[-1:]:
            if problem:
                raise ConfigurationError(problem, where=where)
        return [text for text, problem in found if not problem]

    def put(self, key: str, text: str, *, problem: str = "") -> None:
        """Add a value; *problem* says why it cannot be used, and *text* is where then."""
        self._values.setdefault(key.lower(), []).append((text, problem))

    def walk(self, *outer: Section) -> Iterator[tuple[Section, ...]]:
        """Yield this section and all inside, each as the way to it: from the outside in.

        No more than _NESTED lie in each other.
        """
        way = (*outer, self)
        yield way
        for section in self.sections:
            yield from section.walk(*way)


def read(path: Path) -> Section:
    """Return what the file at *path* says, as a section without a name.

    Raises BackupError if it, or a file that it includes, cannot be read.
    """
    root = Section()
    _Reader(root).take(path, 0)
    return root


class _Reader:
    def __init__(self, root: Section) -> None:
        self._open = [root]
        self._defined: dict[str, str] = {}
        self._files, self._size = _FILES, _SIZE

    def take(self, path: Path, depth: int) -> None:
        self._files -= 1
        if depth > _DEPTH or self._files < 0:
            raise ConfigurationError("files include each other in a circle", where=path)
        text = self._text(path)
        for number, line in enumerate(text.split("\n"), 1):
            self._line(line.strip(), f"{path}, line {number}", path, depth)

    def _text(self, path: Path) -> str:
        with explained("cannot read the configuration of the site", path):
            data = read_small(path, self._size)
        if data is None:
            raise ConfigurationError(
                "cannot read the configuration of the site: there is no such file",
                where=path,
                hint="is the path right, and is the disk mounted?",
            )
        if b"\0" in data:
            raise ConfigurationError("this is no text: it holds zero bytes", where=path)
        self._size -= len(data)
        # not splitlines: a path may hold what that takes for a line end
        return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")

    def _line(self, line: str, where: str, path: Path, depth: int) -> None:
        if line.startswith("</"):
            self._end(line[2:].rstrip("> \t").lower())
        elif line.startswith("<"):
            self._begin(line, where)
        elif line.startswith("%"):
            self._directive(line[1:], where, path, depth)
        elif line and not line.startswith("#"):
            key, value = _divided(line)
            try:
                self._open[-1].put(key, self._replaced(value))
            except _Unusable as error:
                self._open[-1].put(key, where, problem=f"{key} {error}")

    def _begin(self, line: str, where: str) -> None:
        head, end, _rest = line[1:].partition(">")
        is_empty = head.endswith("/")
        kind, name = _divided(head.removesuffix("/").strip().lower())
        if not end or not kind:
            return
        if len(self._open) > _NESTED:
            raise ConfigurationError("sections lie too deep in each other", where=where)
        section = Section(kind, name)
        self._open[-1].sections.append(section)
        if not is_empty:
            self._open.append(section)

    def _end(self, kind: str) -> None:
        inside = [section.kind for section in self._open[1:]]
        if kind in inside:
            while self._open.pop().kind != kind:
                pass

    def _directive(self, text: str, where: str, path: Path, depth: int) -> None:
        name, rest = _divided(text)
        if name == "define":
            key, value = _divided(rest)
            try:
                self._defined[key.lower()] = self._replaced(value)
            except _Unusable:
                # the room that uses the value reports it
                self._defined.pop(key.lower(), None)
        elif name == "include" and "://" not in rest:
            self.take(path.parent / self._included(rest, where), depth + 1)

    def _included(self, rest: str, where: str) -> str:
        """Return the path of a file to include.  Its content is not known without it."""
        try:
            return self._replaced(rest)
        except _Unusable as error:
            raise ConfigurationError(
                f"%include {error}",
                where=where,
                hint="set the variable where this command is started, as the site's own script "
                "does; or say where the site is, with --datafs and --blob-storage",
            ) from error

    def _replaced(self, text: str) -> str:
        """Return *text* with its references replaced by their values.  Raises _Unusable."""
        parts, size, begin = [], 0, 0
        for found in _REFERENCE.finditer(text):
            parts += [text[begin : found.start()], _meant(found, self._defined, os.environ)]
            begin = found.end()
            size += sum(map(len, parts[-2:]))
            if size > _LONGEST:
                break
        if size + len(text) - begin > _LONGEST:
            raise _Unusable(f"has more than {_LONGEST} characters")
        return "".join((*parts, text[begin:]))


def _divided(text: str) -> tuple[str, str]:
    """Return the first word of *text*, and the rest."""
    first, *rest = text.split(None, 1) or [""]
    return first, rest[0] if rest else ""


def _meant(found: re.Match[str], defined: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return what a reference stands for.  Raises _Unusable."""
    dollar, plain, braced, variable = found.groups()
    if dollar:
        return "$"
    name = plain or braced
    value = environment.get(variable) if variable else defined.get(name.lower())
    if value is None:
        shown = f"$({variable})" if variable else f"${name}"
        raise _Unusable(f"needs {shown}, which is not defined")
    return value
