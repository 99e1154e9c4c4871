"""A store in a grid of Tahoe-LAFS: an object is an immutable file, linked in a directory.

``gridnames`` has the layout.  After a put, the store looks for an object of that name that another
node has put at the same moment; if each finds the other, both puts have failed.

Store time is the time of the link, by the clock of the node that made it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from collective.recipe.backup.errors import IntegrityError, StoreUnreachable
from collective.recipe.backup.stores import (
    Buffer,
    NoSuchObject,
    ObjectExists,
    Promises,
    StoredObject,
    Views,
    Weakness,
    checked,
)
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.tahoe import tahoenode
from collective.recipe.backup.stores.tahoe.gridcare import REPAIR, WALK, is_repaired, weak_file
from collective.recipe.backup.stores.tahoe.griddirectories import GridDirectories
from collective.recipe.backup.stores.tahoe.gridnames import (
    GridObject,
    child_of,
    object_of,
    shelf_of,
)
from collective.recipe.backup.stores.tahoe.gridviews import GridViews
from collective.recipe.backup.stores.tahoe.tahoeanswers import GONE, explained_refusal, no_node
from collective.recipe.backup.stores.tahoe.tahoenode import NodeRequest, TahoeNode
from collective.recipe.backup.stores.tahoe.tahoeplace import TahoePlace

_WRITE = "cannot write to the repository"
_READ = "cannot read the repository"
_LIST = "cannot list the repository"
_REMOVE = "cannot remove from the repository"
_JSON = (("t", "json"),)
_NOTHING = "URI:LIT:"
"""The capability of an empty file, which lies in itself."""


class TahoeStore:
    """The store in a directory of a grid."""

    promises = Promises(parallel=2, gap=1 << 18, shows=True)

    def __init__(self, place: TahoePlace, allowance: Allowance | None = None) -> None:
        self.location = place.location
        self._allowance = allowance or Allowance()
        self._node = TahoeNode(place, tahoenode.PATIENCE, self._allowance)
        self._directories = GridDirectories(place, self._node)
        # objects never change: one that was removed since the last listing can still be read
        self._known: dict[str, GridObject] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the directory of the path that follows an alias or a capability."""
        self._directories.prepare("cannot make the directory of the repository")

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:  # noqa: ARG002  protocol
        """Upload a file, and link it."""
        directory = self._directories.own(_WRITE, shelf_of(checked(name)))
        if not self._link(directory, name, data):
            if any(each.name == name for each in self._living(name)):
                raise ObjectExists(name)
            # another node has removed ours, and we have not cleaned up yet
            self._directories.take_out(_REMOVE, directory, child_of(name))
            if not self._link(directory, name, data):
                raise ObjectExists(name)
        if self._is_elsewhere(name):
            self._directories.take_out(_REMOVE, directory, child_of(name))
            raise ObjectExists(name)
        return self._linked(directory, name).stored

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Download a file, or a range of it."""
        found = self._known.get(checked(name))
        if found is None and not start and size is None:
            writer = self._directories.only(_READ)
            if writer is not None:
                return self._whole(writer, name)
        found = found or self._sought(name)
        wanted = found.size - start if size is None else size
        if wanted < 0 or start + wanted > found.size:
            raise NoSuchObject(f"{name} has {found.size} bytes")
        if not wanted:
            return b""
        request = NodeRequest(what=_READ, capability=found.capability, extent=(start, wanted))
        answer = self._node.ask(request)
        if answer.status == GONE:
            raise self._too_few_shares(name)
        if answer.status != 206:
            raise explained_refusal(answer, _READ, self.location)
        if len(answer.data) != wanted:
            raise StoreUnreachable(
                "the answer of the node is not as long as what was asked for",
                where=f"{self.location}/{name}",
            )
        return answer.data

    def _whole(self, writer: str, name: str) -> bytes:
        """Return an object that was not seen yet, of the only *writer*: nobody else removes it."""
        names = [*filter(None, [shelf_of(name)]), child_of(name)]
        answer = self._node.ask(
            NodeRequest(what=_READ, capability=writer, names=names, extent=(0, None))
        )
        if answer.status == 404:
            raise NoSuchObject(name)
        if answer.status == GONE:
            raise self._too_few_shares(name)
        if answer.status not in {200, 206, 416}:
            raise explained_refusal(answer, _READ, self.location)
        data = b"" if answer.status == 416 else answer.data  # an empty one may have no range
        self._allowance.move(len(data))
        return data

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Read the directories of all writers."""
        found: dict[str, StoredObject] = {}
        for each in self._living(prefix):
            entry = StoredObject(each.name, each.size, each.stored)
            found[each.name] = min(found.get(each.name, entry), entry, key=_since)
        yield from sorted(found.values())

    def delete(self, name: str) -> None:
        """Unlink an object of ours; say of one of another writer that it was removed."""
        checked(name)
        own = self._directories.own(_REMOVE)
        writer = self._directories.writer(_REMOVE)
        for each in self._living(name):
            if each.name != name:
                continue
            if each.writer == writer:
                self._take_out(each)
            else:
                self._directories.enter(_REMOVE, own, each.removal, _NOTHING)
        with self._lock:
            self._known.pop(name, None)

    def sweep(self) -> None:
        """Unlink what others have removed, and removals of what is unlinked."""
        what = "cannot clean up the repository"
        writer = self._directories.writer(what)
        listing = self._directories.listing(what, "")
        for each in listing.objects:
            if each.writer == writer and each.removal in listing.removals:
                self._take_out(each)
        over = listing.own_removals - {each.removal for each in listing.objects}
        for removal in sorted(over):
            self._directories.take_out(_REMOVE, self._directories.own(what), removal)

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:
        """Let the node walk through all directories, and renew leases on the way."""
        what = "cannot check the repository"
        objects = {each.capability: each.name for each in self._living("")}
        root = self._directories.root(what).best
        walk = NodeRequest(what=what, capability=root, method="POST", query=WALK)
        try:
            lines = (weak_file(line, objects) for line in self._node.lines(walk))
            for each in [each for each in lines if each is not None]:
                is_mended = mend and not each.weakness.is_lost and self._repaired(each.capability)
                yield each.weakness._replace(is_mended=is_mended)
        except ValueError as error:
            raise no_node(what, self.location) from error

    def show(self, views: Views, *, anew: bool = False) -> None:
        """Link what belongs to a view in a directory that never changes."""
        living = {each.name: each.capability for each in self._living("")}
        shown = GridViews(self._directories)
        shown.show(views, living, anew=anew)

    def clock(self) -> datetime:
        """Ask the node; its answer has a date."""
        what = "cannot ask the repository for the time"
        answer = self._node.ask(NodeRequest(what=what, capability=None, query=_JSON))
        try:
            moment = parsedate_to_datetime(answer.date)
        except ValueError as error:
            raise no_node(what, self.location) from error
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)

    def close(self) -> None:
        """Do nothing: no connection is held open."""

    def _take_out(self, ours: GridObject) -> None:
        directory = self._directories.own(_REMOVE, ours.shelf)
        self._directories.take_out(_REMOVE, directory, child_of(ours.name))

    def _repaired(self, capability: str) -> bool:
        what = "cannot repair the repository"
        request = NodeRequest(what=what, capability=capability, method="POST", query=REPAIR)
        answer = self._node.ask(request)
        if answer.status != 200:
            raise explained_refusal(answer, what, self.location)
        return is_repaired(answer.json())

    def _link(self, directory: str, name: str, data: Buffer) -> bool:
        """Upload *data* and link it; tell whether there was no such child."""
        request = NodeRequest(
            what=_WRITE,
            capability=directory,
            names=[child_of(name)],
            method="PUT",
            query=(("format", "CHK"), ("replace", "false")),
            body=data,
            again=False,
        )
        answer = self._node.ask(request)
        if answer.status in {200, 201}:
            return True
        if answer.status == 409:
            return False
        raise explained_refusal(answer, _WRITE, self.location)

    def _linked(self, directory: str, name: str) -> GridObject:
        """Return what the node says of an object that was linked just now."""
        answer = self._node.ask(_about(directory, child_of(name)))
        try:
            described = answer.json() if answer.status == 200 else None
        except ValueError as error:
            raise no_node(_WRITE, self.location) from error
        writer = self._directories.writer(_WRITE)
        found = object_of(child_of(name), described, writer, shelf_of(name))
        if found is None:
            raise explained_refusal(answer, _WRITE, self.location)
        with self._lock:
            self._known[name] = found
        return found

    def _is_elsewhere(self, name: str) -> bool:
        """Tell whether another writer has an object of that name."""
        steps = [step for step in (shelf_of(name), child_of(name)) if step]
        for directory in self._directories.others(_WRITE):
            if self._node.ask(_about(directory, *steps)).status == 200:
                writer = self._directories.writer(_WRITE)
                return any(
                    each.name == name and each.writer != writer for each in self._living(name)
                )
        return False

    def _living(self, prefix: str) -> Sequence[GridObject]:
        """Return the objects whose names begin with *prefix*, of all writers."""
        listing = self._directories.listing(_LIST, prefix)
        found = [each for each in listing.living if each.name.startswith(prefix)]
        with self._lock:
            self._known.update((each.name, each) for each in found)
        return found

    def _sought(self, name: str) -> GridObject:
        """Return an object that was not seen yet.  Raises NoSuchObject."""
        for each in self._living(name):
            if each.name == name:
                return each
        raise NoSuchObject(name)

    def _too_few_shares(self, name: str) -> StoreUnreachable | IntegrityError:
        away = self._node.servers_away(_READ)
        where = f"{self.location}/{name}"
        if away:
            return StoreUnreachable(
                f"{_READ}: too few shares of an object; {away} storage servers are not there",
                where=where,
                hint="run the command again when they are back",
            )
        return IntegrityError(
            "an object of the repository cannot be read: the servers of the grid have too few "
            "shares of it",
            where=where,
            hint="do servers lack that the node does not know now?  If they are lost, heal stores "
            "again what the site or its other backups have",
        )


def _about(directory: str, *names: str) -> NodeRequest:
    return NodeRequest(what=_WRITE, capability=directory, names=names, query=_JSON)


def _since(entry: StoredObject) -> datetime:
    return entry.stored
