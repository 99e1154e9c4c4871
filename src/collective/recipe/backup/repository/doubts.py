"""Doubts: bundles in which damage was seen are read again, and marked if they are damaged.

Chunks under such a mark do not count as stored, so the run that put the mark, and each later one,
stores those that it needs again.  Without the mark none would: an unchanged chunk keeps its id, and
the catalogs go on to say that it is stored.

A mark removes nothing. A chunk below it that can still be read, and lies nowhere else, is read
there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.controls import DAMAGED, MOST_MARKED, seal_mark
from collective.recipe.backup.repository.moving import in_bundle, read_in_bundle
from collective.recipe.backup.repository.names import bundle_name, bundles_in, id_of
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.orphans import listed_bundles
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.repository.reaching import Reached, reach
from collective.recipe.backup.repository.sealing import BrokenSealError
from collective.recipe.backup.repository.tickets import StartOver
from collective.recipe.backup.stores import NoSuchObject

_READS = 2
"""Times that a bundle is read before it counts as damaged."""


def settle_doubts(repository: Repository, point: Point | None = None) -> bool:
    """Mark the bundles of the doubts of the index, if they are damaged; return whether any was.

    Where there are doubts, all nodes of *point* are read first, so that damage of these is marked
    as well.  There are no doubts afterwards.
    """
    index = repository.index
    if not index.doubted:
        return False
    if point is not None:
        doubt_below(repository, point.roots)
    # a run of collect that is under way may have moved what lay in a bundle that is gone
    index.refresh()
    doubted = (index.doubted & index.bundles()) - _marked(repository)
    # bundles in cold storage cannot be read again
    is_cold = repository.store.promises.cold
    damaged = [
        bundle for bundle in sorted(doubted) if is_cold or not is_bundle_sound(repository, bundle)
    ]
    index.doubted.clear()
    if not damaged:
        return False
    put_damage_marks(repository, damaged)
    repository.tell(
        f"{number_of(len(damaged), 'bundle is', 'bundles are')} damaged: what this site needs of "
        "that is stored again; earlier restore points may lack it until it is healed"
    )
    return True


def doubt_objects(repository: Repository, names: Collection[str]) -> None:
    """Distrust the bundles among the objects with these *names*.

    Those of them that are damaged are marked, so that their chunks are stored again.
    """
    if names:
        repository.index.doubt(bundles_in(names))
        settle_doubts(repository)


def doubt_gone(repository: Repository) -> None:
    """Doubt the bundles that catalogs have, and that are gone."""
    there = {bundle for bundle, _entry in listed_bundles(repository.store)}
    repository.index.doubt(repository.index.bundles() - there)


def start_over_if_damaged(repository: Repository, point: Point | None = None) -> None:
    """Raise StartOver if doubts of this run are justified; see ``settle_doubts``."""
    if settle_doubts(repository, point):
        raise StartOver("what was stored earlier is damaged")


def put_damage_marks(repository: Repository, bundles: Sequence[bytes]) -> None:
    """Say that the bundles with these IDs are damaged, to all who use the repository."""
    store = repository.store
    for begin in range(0, len(bundles), MOST_MARKED):
        some = bundles[begin : begin + MOST_MARKED]
        mark = seal_mark(repository.keyring, DAMAGED, some, store.clock())
        put(store, mark.name, mark.data)
    repository.index.distrust(bundles)


def doubt_below(repository: Repository, roots: Iterable[ChunkId]) -> None:
    """Doubt the bundles that are gone, and those that have a node below *roots* that is damaged.

    All nodes are read for that, as far as those above them can be read.
    """
    doubt_gone(repository)
    reached = Reached()
    try:
        reach(repository, roots, reached, lambda _chunk, _places: None)
    finally:
        reached.close()


def _marked(repository: Repository) -> set[bytes]:
    """Return the bundles that are under a mark that says that they are damaged."""
    found: set[bytes] = set()
    for entry in repository.look().marks:
        try:
            mark = repository.controls.mark(entry)
        except NoSuchObject:  # gone since
            continue
        if mark.reason == DAMAGED:
            found |= mark.bundles
    return found


def is_bundle_sound(repository: Repository, bundle: bytes) -> bool:
    """Tell whether a bundle is as it was stored; one that seems not to be is read once more."""
    return any(_reads_sound(repository, bundle) for _read in range(_READS))


def _reads_sound(repository: Repository, bundle: bytes) -> bool:
    """Tell whether a bundle has the bytes that its ID says, and all its chunks can be read."""
    try:
        if id_of(repository.store.get(bundle_name(bundle))) != bundle.hex():
            return False
    except (NoSuchObject, IntegrityError):
        return False
    wanted = in_bundle(repository, bundle, repository.index.chunks_in(bundle))
    return not any(
        isinstance(data, BrokenSealError) for _each, data in read_in_bundle(repository, wanted)
    )
