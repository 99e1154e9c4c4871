"""The objects of a moment: the object at a path, and a summary of each child.

Changes nothing, and runs no code of the stored objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import ConfigurationError, UsageError
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import MAIN, Oid
from collective.recipe.backup.objects.current import Held, Objects
from collective.recipe.backup.objects.paths import Child, Location, children
from collective.recipe.backup.objects.subtree import Subtrees
from collective.recipe.backup.operations.blobsizes import (
    BLOB,
    BlobAmount,
    BlobSizes,
    BlobTally,
    live_sizes,
    sizes_in,
    sum_of,
)
from collective.recipe.backup.operations.choosing import choice_of
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.states import State
from collective.recipe.backup.times import Tid, When


class OpenedObjects(NamedTuple):
    """The objects of one storage at a moment."""

    objects: Objects  # of the storage
    state: State | None  # None: it is the live site
    sizes: BlobSizes  # tells those of its blobs


class Item(NamedTuple):
    """A child of an object, with the sums of all that it holds."""

    name: str  # the last step of its path
    held: Held  # without its data
    own_size: int  # bytes of its data alone, without a blob
    is_entry: bool  # of a container, and no attribute
    changed: Tid  # of the last change of it or of what it holds
    user: bytes  # user of that transaction
    objects: int  # held, itself included; 0: what it holds was not looked at, see ``listing``
    size: int  # bytes of their data
    blobs: BlobAmount  # of these objects

    @property
    def own_blob(self) -> BlobAmount:
        """The blob that it is itself; a blob holds nothing else."""
        return self.blobs if self.held.kind == BLOB else BlobAmount()


@contextmanager
def opened_objects(
    run: Run,
    when: When | None,
    storage: str = MAIN,
    *,
    live: bool = False,
    earlier: Objects | None = None,
) -> Iterator[OpenedObjects]:
    """Yield the objects of *storage* at *when* (None: the newest), or of the *live* site.

    Records that the *earlier* objects have in common with them are not read again.

    Raises UsageError if there is no such storage, NoRestorePoint if no backup has that moment, and
    IntegrityError for damage.
    """
    number = storage_number(run, storage)
    with ExitStack() as stack:
        if live:
            source = run.config.sources[number]
            log = stack.enter_context(TransactionLog(source.filestorage))
            yield OpenedObjects(Objects(log, earlier), None, live_sizes(source))
            return
        destination = stack.enter_context(run.opened())[number]
        state = stack.enter_context(_state(run, destination, when))
        yield OpenedObjects(Objects(log_of(state), earlier), state, sizes_in(state))


def storage_number(run: Run, storage: str) -> int:
    """Return which of the sources is called *storage*.  Raises UsageError."""
    names = [source.name for source in run.config.sources]
    if storage not in names:
        raise UsageError(f"there is no storage {storage!r}", hint=f"there are {', '.join(names)}")
    return names.index(storage)


def _state(run: Run, destination: Destination, when: When | None) -> State:
    points = destination.restore_points()
    return destination.open(choice_of(run, destination, when, points))


def log_of(state: State) -> Log:
    """Return the log of *state*.  Raises ConfigurationError if only blobs are backed up."""
    if state.log is None:
        raise ConfigurationError("only blobs are backed up here, and they tell of no objects")
    return state.log


class OwnedThings(NamedTuple):
    """An object and the things in it; a folder may have a million, of which few are looked at."""

    itself: Item  # the object
    things: list[Child]  # the entries, and then the attributes
    item: Callable[[Child], Item | None]  # looks at one of them; None: it is not there


def items(opened: OpenedObjects, place: Location) -> list[Item]:
    """Return the object at *place*, and all that it has; see ``listing``."""
    found = listing(opened, place)
    return [found.itself, *filter(None, map(found.item, found.things))]


def listing(opened: OpenedObjects, place: Location, most: int | None = None) -> OwnedThings:
    """Return the object at *place*, and what it has.

    An object counts for the first item that it is reached from.  With more than *most* objects
    below *place* none is counted, and the last change of an item is that of its own record.
    """
    objects = opened.objects
    found = list(children(objects, place.held))
    numbers: dict[Oid, int] = {}
    things: list[Child] = []
    inner = {oid for child in found for oid in child.through}
    for child in found:
        if child.oid not in inner and child.oid not in numbers:
            numbers[child.oid] = len(things)
            things.append(child)
    above = [*place.above, place.held.oid, *inner]
    own = Child("", place.held.oid, (), is_entry=True)
    whole = len(things)
    sums = [_Sum() for _each in range(whole + 1)]
    tally = BlobTally(opened.sizes, whole + 1)
    for number, reached in enumerate(Subtrees(objects, above).counted(list(numbers)), 1):
        if most is not None and number > most:
            return OwnedThings(
                _bare(objects, own, place.held), things, partial(_looked_at, objects)
            )
        sums[reached.owner].add(reached.held)
        tally.add(reached.owner, reached.held)
    for held in filter(None, map(objects.load, {place.held.oid, *inner})):
        sums[whole].add(held)
        tally.add(whole, held)
    amounts = tally.amounts()
    for each in sums[:whole]:
        sums[whole].add_all(each)
    amounts[whole] = sum_of(amounts)

    def item(child: Child) -> Item | None:
        held, number = objects.load(child.oid), numbers[child.oid]
        return None if held is None else _item(objects, child, held, sums[number], amounts[number])

    return OwnedThings(_item(objects, own, place.held, sums[whole], amounts[whole]), things, item)


def _looked_at(objects: Objects, child: Child) -> Item | None:
    held = objects.load(child.oid)
    return None if held is None else _bare(objects, child, held)


def _bare(objects: Objects, child: Child, held: Held) -> Item:
    """Return what is known of an object without all that it holds."""
    bare = _Sum()
    bare.add(held)
    return _item(objects, child, held, bare, BlobAmount())._replace(objects=0, size=0)


class _Sum:
    """Adds up what something holds."""

    def __init__(self) -> None:
        self.objects = self.size = 0
        self.newest: Held | None = None

    def add(self, held: Held) -> None:
        self.objects += 1
        self.size += held.size
        self._see(held)

    def add_all(self, other: _Sum) -> None:
        self.objects += other.objects
        self.size += other.size
        if other.newest is not None:
            self._see(other.newest)

    def _see(self, held: Held) -> None:
        if self.newest is None or held.tid > self.newest.tid:
            self.newest = held._replace(data=b"")


def _item(objects: Objects, child: Child, held: Held, found: _Sum, blobs: BlobAmount) -> Item:
    newest = found.newest or held
    return Item(
        name=child.name,
        held=held._replace(data=b""),
        own_size=held.size,
        is_entry=child.is_entry,
        changed=newest.tid,
        user=objects.user(newest),
        objects=found.objects,
        size=found.size,
        blobs=blobs,
    )


def held_oids(objects: Objects, place: Location) -> frozenset[Oid]:
    """Return the oids of all that the object at *place* holds, itself included."""
    walk = Subtrees(objects, place.above).counted([place.held.oid])
    return frozenset(reached.held.oid for reached in walk)
