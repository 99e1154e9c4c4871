"""The directories of a repository in a grid: found, made and read, and one child changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from collective.recipe.backup.stores.tahoe.gridnames import (
    WRITER,
    GridDirectory,
    GridObject,
    directory_of,
    is_removal,
    may_hold,
    object_of,
)
from collective.recipe.backup.stores.tahoe.tahoeanswers import (
    NodeAnswer,
    explained_refusal,
    may_only_read,
    no_directory,
    no_node,
)
from collective.recipe.backup.stores.tahoe.tahoenode import NodeRequest, TahoeNode
from collective.recipe.backup.stores.tahoe.tahoeplace import TahoePlace


class GridListing(NamedTuple):
    """The objects and removals in the directories of all writers."""

    objects: Sequence[GridObject]  # of all writers, also those that were removed
    removals: frozenset[str]  # of all writers
    own_removals: frozenset[str]  # of this node

    @property
    def living(self) -> Iterator[GridObject]:
        """The objects that were not removed."""
        return (each for each in self.objects if each.removal not in self.removals)


class GridDirectories:
    """The directories below the one of *place*, over *node*; all methods are for any thread."""

    def __init__(self, place: TahoePlace, node: TahoeNode) -> None:
        self._place = place
        self._node = node
        self._writer = place.writer
        self._writable: dict[str, str] = {}  # capabilities of what is ours, by shelf
        self._making = threading.Lock()

    def prepare(self, what: str) -> None:
        """Make the directory of the place, if it is missing."""
        if self._place.steps:
            request = NodeRequest(
                what=what,
                capability=self._place.capability,
                names=self._place.steps,
                method="POST",
                query=(("t", "mkdir"),),
            )
            answer = self._node.ask(request)
            if answer.status not in {200, 201}:
                raise explained_refusal(answer, what, self._place.location)
        self.root(what)

    def root(self, what: str) -> GridDirectory:
        """Return the directory of the place.  Raises StoreUnreachable if it is not there."""
        found = self._read(what, self._place.capability, self._place.steps)
        if found is None:
            raise no_directory(what, self._place.location)
        return found

    def writer(self, what: str) -> str:
        """Return whose directory this node writes."""
        if not self._writer:
            self._writer = self._node.id(what)
        return self._writer

    def others(self, what: str) -> list[str]:
        """Return the capabilities of the directories of all other writers."""
        ours = self.writer(what)
        return [
            each.reading for writer, each in _writers(self.root(what)).items() if writer != ours
        ]

    def only(self, what: str) -> str | None:
        """Return the capability of the directory of the only writer; None: there are others."""
        found = list(_writers(self.root(what)).values())
        return found[0].best if len(found) == 1 else None

    def own(self, what: str, shelf: str = "") -> str:
        """Return the capability of a directory that only this node writes; make what is missing.

        Raises StoreRefused if the capability of the place may only read.
        """
        with self._making:
            if not self._writable:
                self._writable[""] = self._made_in(
                    self.root(what), WRITER + self.writer(what), what
                )
            if shelf not in self._writable:
                above = self.of_capability(what, self._writable[""])
                self._writable[shelf] = self._made_in(above, shelf, what)
            return self._writable[shelf]

    def listing(self, what: str, prefix: str) -> GridListing:
        """Return objects whose names may begin with *prefix*; others may be among them."""
        root = self.root(what)
        objects: list[GridObject] = []
        removals: set[str] = set()
        own: set[str] = set()
        for writer, described in _writers(root).items():
            there = self.of_capability(what, described.best)
            removed = set(filter(is_removal, there.children))
            removals |= removed
            if writer == self._writer:
                own |= removed
            objects += _objects(there, writer, "")
            for shelf, child in there.children.items():
                below = directory_of(child)
                if below is not None and may_hold(shelf, prefix):
                    objects += _objects(self.of_capability(what, below.best), writer, shelf)
        return GridListing(objects, frozenset(removals), frozenset(own))

    def of_capability(self, what: str, capability: str, names: Sequence[str] = ()) -> GridDirectory:
        """Return the directory that is *names* deep below a *capability*; it must be there."""
        found = self._read(what, capability, names)
        if found is None:
            raise no_directory(what, self._place.location)
        return found

    def enter(self, what: str, directory: str, child: str, capability: str) -> None:
        """Let *child* of a directory of ours be what *capability* leads to."""
        request = NodeRequest(
            what=what,
            capability=directory,
            names=[child],
            method="PUT",
            query=(("t", "uri"), ("replace", "true")),
            body=capability.encode(),
        )
        self._done(request, {200, 201})

    def take_out(self, what: str, directory: str, child: str) -> None:
        """Remove *child* from a directory of ours, if it is there."""
        request = NodeRequest(what=what, capability=directory, names=[child], method="DELETE")
        self._done(request, {200, 204, 404})

    def unchanging(self, what: str, children: Mapping[str, tuple[str, str]]) -> str:
        """Return the capability of a directory that never changes.

        *children* are by name the kind, as the node calls it, and the capability.  Two directories
        with equal children are one.
        """
        described = {name: (kind, {"ro_uri": each}) for name, (kind, each) in children.items()}
        request = NodeRequest(
            what=what,
            capability="",
            method="POST",
            query=(("t", "mkdir-immutable"),),
            body=json.dumps(described, sort_keys=True).encode(),
        )
        return self._done(request, {200, 201}).data.decode("ascii", "replace").strip()

    def _done(self, request: NodeRequest, good: set[int]) -> NodeAnswer:
        answer = self._node.ask(request)
        if answer.status not in good:
            raise explained_refusal(answer, request.what, self._place.location)
        return answer

    def _made_in(self, above: GridDirectory, name: str, what: str) -> str:
        """Return the capability that may change the directory *name*, made if it is missing."""
        if not above.writing:
            raise may_only_read(what, self._place.location)
        found = directory_of(above.children.get(name))
        if found is None:
            query = (("t", "mkdir"), ("name", name), ("replace", "false"))
            # where another process has made it meanwhile, that one counts
            self._node.ask(
                NodeRequest(what=what, capability=above.writing, method="POST", query=query)
            )
            found = self.of_capability(what, above.writing, [name])
        if not found.writing:
            raise may_only_read(what, self._place.location)
        return found.writing

    def _read(self, what: str, capability: str, names: Sequence[str]) -> GridDirectory | None:
        """Return a directory, None if it is not there."""
        request = NodeRequest(what=what, capability=capability, names=names, query=(("t", "json"),))
        answer = self._node.ask(request)
        if answer.status == 404 and names:
            return None
        if answer.status != 200:
            raise explained_refusal(answer, what, self._place.location)
        try:
            described = answer.json()
        except ValueError as error:
            raise no_node(what, self._place.location) from error
        found = directory_of(described)
        if found is None:
            raise no_directory(what, self._place.location)
        return found


def _writers(root: GridDirectory) -> dict[str, GridDirectory]:
    """Return the directories of all writers, by writer."""
    found = {}
    for child, described in sorted(root.children.items()):
        directory = directory_of(described) if child.startswith(WRITER) else None
        if directory is not None:
            found[child.removeprefix(WRITER)] = directory
    return found


def _objects(directory: GridDirectory, writer: str, shelf: str) -> list[GridObject]:
    found = (
        object_of(child, described, writer, shelf)
        for child, described in directory.children.items()
    )
    return [each for each in found if each is not None]
