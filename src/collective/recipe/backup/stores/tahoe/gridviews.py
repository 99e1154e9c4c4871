"""The views ``Archives/TITLE`` and ``Latest``, for people who browse the grid with its capability.

Both lie in the directory of the writer. A view is a directory that never changes, and so are the
directories in it, one for each part of the names of objects.  Directories with equal children are
one directory, so views share all that is equal in them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

from collective.recipe.backup.stores import Views
from collective.recipe.backup.stores.tahoe.griddirectories import GridDirectories
from collective.recipe.backup.stores.tahoe.gridnames import ARCHIVES, LATEST, directory_of

_WHAT = "cannot show the restore points"

Tree = dict[str, Any]
"""By the parts of names, trees or capabilities of files."""


class GridViews:
    """The views in the directory of this writer."""

    def __init__(self, directories: GridDirectories) -> None:
        self._directories = directories
        self._files: dict[str, Collection[str]] = {}  # in directories that never change

    def show(self, views: Views, living: Mapping[str, str], *, anew: bool) -> None:
        """Show *views* and no others; *living* has the capabilities of all objects by name."""
        archives = self._directories.own(_WHAT, ARCHIVES)
        shown = self._children(archives)
        for title in shown.keys() - views.keys():
            self._directories.take_out(_WHAT, archives, title)
        files_there = frozenset(living.values())
        newest = ""
        for title, names in views.items():
            newest = shown.get(title, "")
            if not newest or (anew and not self._is_whole(newest, files_there)):
                files = {name: living[name] for name in names() if name in living}
                newest = self._made(_tree(files))
                self._directories.enter(_WHAT, archives, title, newest)
        own = self._directories.own(_WHAT)
        if not newest:
            self._directories.take_out(_WHAT, own, LATEST)
        elif self._children(own).get(LATEST) != newest:
            self._directories.enter(_WHAT, own, LATEST, newest)

    def _children(self, capability: str) -> dict[str, str]:
        """Return the capabilities of the directories that lie in one, by name."""
        found = self._directories.of_capability(_WHAT, capability)
        described = ((name, directory_of(each)) for name, each in found.children.items())
        return {name: each.reading for name, each in described if each is not None}

    def _is_whole(self, capability: str, files_there: Set[str]) -> bool:
        """Tell whether all files of a view are in *files_there*, the capabilities of objects."""
        return all(each in files_there for each in self._files_below(capability))

    def _files_below(self, capability: str) -> Iterator[str]:
        """Yield the capabilities of all files in a directory that never changes."""
        if capability not in self._files:
            found = self._directories.of_capability(_WHAT, capability).children.values()
            below: list[str] = []
            for each in found:
                directory = directory_of(each)
                below += (
                    [each[1]["ro_uri"]]
                    if directory is None
                    else self._files_below(directory.reading)
                )
            self._files[capability] = below
        yield from self._files[capability]

    def _made(self, tree: Tree) -> str:
        """Return the capability of a directory with what is in *tree*."""
        children = {
            name: ("filenode", each) if isinstance(each, str) else ("dirnode", self._made(each))
            for name, each in tree.items()
        }
        return self._directories.unchanging(_WHAT, children)


def _tree(files: Mapping[str, str]) -> Tree:
    """Return the capabilities of files by the parts of their names.

    Names below that of a file are left out: no object of ours has such a name.
    """
    top: Tree = {}
    for name in sorted(files):
        *above, last = name.split("/")
        here: Tree | str = top
        for part in above:
            here = here if isinstance(here, str) else here.setdefault(part, {})
        if not isinstance(here, str):
            here.setdefault(last, files[name])
    return top
