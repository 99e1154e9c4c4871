"""Imports of a process that stays: at its begin, every room that it may need later.

A script imports some rooms late, because few runs need them.  A process that runs for weeks would
import them from the release that is installed by then, which may be another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules

import collective.recipe.backup

_ROOT = collective.recipe.backup.__name__
_ZODB = "served"
"""The rooms that import ZODB, for one verb that does not stay."""
_DOORS = {"cli", "copyblobs", "recipe", "sitebackup", "tests"}


def import_all_rooms() -> None:
    """Import every room that a verb may need, but for the doors, of which one is in use."""
    for name in _rooms(_ROOT, collective.recipe.backup.__path__):
        import_module(name)


def _rooms(package: str, path: Iterable[str]) -> Iterator[str]:
    """Yield the names of all rooms below *package*, which lies in *path*."""
    for found in iter_modules(path):
        name = f"{package}.{found.name}"
        if package == _ROOT and found.name in {*_DOORS, _ZODB}:
            continue
        yield name
        if found.ispkg:
            yield from _rooms(name, import_module(name).__path__)
