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

_HEAD = re.compile(r"<\s*(?P<kind>[^\s/>]+)(?:\s+(?P<name>[^>]*?))?\s*(?P<empty>/)?>")
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"\$(?:(\$)|({_NAME})|\{{({_NAME})\}}|\(({_NAME})\))")
_DEPTH = 20
"""Files that may include each other: more is a circle."""


@dataclass
class Section:
    """One section: its *kind* and *name*, in lower case, and what is in it."""

    kind: str = ""
    name: str = ""
    sections: list[Section] = field(default_factory=list)
    _values: dict[str, tuple[str, str]] = field(default_factory=dict)

    def value(self, key: str) -> str | None:
        """Return the value of *key*, None if it is not set.

        Raises ConfigurationError if it names something that is not defined.
        """
        text, problem = self._values.get(key, (None, ""))
        if problem:
            raise ConfigurationError(problem, where=text or "")
        return text

    def put(self, key: str, text: str, *, problem: str = "") -> None:
        """Set a value; *problem* says why it cannot be used, and *text* is where then."""
        self._values[key.lower()] = text, problem

    def walk(self, *outer: Section) -> Iterator[tuple[Section, ...]]:
        """Yield this section and all inside, each as the way to it: from the outside in."""
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

    def take(self, path: Path, depth: int) -> None:
        if depth > _DEPTH:
            raise ConfigurationError("files include each other in a circle", where=path)
        with explained("cannot read the configuration of the site", path):
            data = read_small(path)
        if data is None:
            raise ConfigurationError(
                "cannot read the configuration of the site: there is no such file",
                where=path,
                hint="is the path right, and is the disk mounted?",
            )
        text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
        # not splitlines: a path may hold what that takes for a line end
        for number, line in enumerate(text.split("\n"), 1):
            self._line(line.strip(), f"{path}, line {number}", path, depth)

    def _line(self, line: str, where: str, path: Path, depth: int) -> None:
        if line.startswith("</"):
            self._end(line[2:].rstrip("> \t").lower())
        elif line.startswith("<"):
            self._begin(line)
        elif line.startswith("%"):
            self._directive(line[1:], path, depth)
        elif line and not line.startswith("#"):
            key, value = _divided(line)
            try:
                self._open[-1].put(key, self._replaced(value))
            except KeyError as error:
                problem = f"{key} needs {error.args[0]}, which is not defined"
                self._open[-1].put(key, where, problem=problem)

    def _begin(self, line: str) -> None:
        # without an end the pattern would look for one in every way there is
        found = _HEAD.match(line) if ">" in line else None
        if found is None:
            return
        section = Section(found["kind"].lower(), (found["name"] or "").lower())
        self._open[-1].sections.append(section)
        if not found["empty"]:
            self._open.append(section)

    def _end(self, kind: str) -> None:
        inside = [section.kind for section in self._open[1:]]
        if kind in inside:
            while self._open.pop().kind != kind:
                pass

    def _directive(self, text: str, path: Path, depth: int) -> None:
        name, rest = _divided(text)
        if name == "define":
            key, value = _divided(rest)
            try:
                self._defined[key.lower()] = self._replaced(value)
            except KeyError:
                # who uses it is told
                self._defined.pop(key.lower(), None)
        elif name == "include" and "://" not in rest:
            self.take(path.parent / self._replaced(rest), depth + 1)

    def _replaced(self, text: str) -> str:
        return _REFERENCE.sub(lambda found: _meant(found, self._defined, os.environ), text)


def _divided(text: str) -> tuple[str, str]:
    """Return the first word of *text*, and the rest."""
    first, *rest = text.split(None, 1) or [""]
    return first, rest[0] if rest else ""


def _meant(found: re.Match[str], defined: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return what a reference stands for.  Raises KeyError."""
    dollar, plain, braced, variable = found.groups()
    if dollar:
        return "$"
    if variable:
        if variable not in environment:
            raise KeyError(f"$({variable})")
        return environment[variable]
    name = plain or braced
    if name.lower() not in defined:
        raise KeyError(f"${name}")
    return defined[name.lower()]
