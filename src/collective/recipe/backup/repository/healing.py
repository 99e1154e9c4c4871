"""Healing: what is damaged is stored again, from wherever its bytes can be had.

Verification names bundles that are damaged or gone.  Each of them is read again first, because
a network may have been at fault.  What can be read of it moves into a new bundle.  What cannot
is taken from elsewhere, if the bytes have the id of the chunk, so that nothing can be put in
its place.  Then a mark says that the old bundle is damaged, and from then on nothing relies on
it.  It goes in a run of collect, once nothing needs it.

What is found nowhere stays lost, and is named.  The next backup of a site that has it stores
it again, because a chunk under such a mark does not count as stored.

Only puts are needed, as for a backup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.controls import DAMAGED, seal_mark
from collective.recipe.backup.repository.moving import Elsewhere, in_bundle, move, read_in_bundle
from collective.recipe.backup.repository.names import bundle_name, id_of
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.repository.sealing import BrokenSealError
from collective.recipe.backup.repository.tickets import StartOver
from collective.recipe.backup.repository.writing import ChunkWriter
from collective.recipe.backup.stores import NoSuchObject


@dataclass(frozen=True)
class HealedBundles:
    """What was done."""

    sound: tuple[bytes, ...]  # IDs of bundles that are not damaged after all
    replaced: tuple[bytes, ...]  # IDs of bundles of which all that was there is stored again
    lost: tuple[ChunkId, ...]  # chunks that are nowhere; what needs them cannot be restored whole


def heal(
    repository: Repository,
    bundles: Iterable[bytes],
    elsewhere: Sequence[Elsewhere] = (),
) -> HealedBundles:
    """Store again what is in the *bundles* with these IDs; return what was done.

    Each of *elsewhere* is asked for the bytes of a chunk that cannot be read.
    """
    sound: list[bytes] = []
    damaged: list[bytes] = []
    for bundle in dict.fromkeys(bundles):
        (sound if _is_sound(repository, bundle) else damaged).append(bundle)
    if not damaged:
        return HealedBundles(tuple(sound), (), ())
    try:
        with ChunkWriter(repository, "heal") as writer:
            replaced, lost = _replace(repository, writer, damaged, elsewhere)
    except StartOver as error:
        raise BackupError(
            "the repository changed while it was healed",
            where=repository.store.location,
            hint="nothing is lost; run the command again",
        ) from error
    return HealedBundles(tuple(sound), tuple(replaced), tuple(lost))


def _replace(
    repository: Repository,
    writer: ChunkWriter,
    damaged: Sequence[bytes],
    elsewhere: Sequence[Elsewhere],
) -> tuple[list[bytes], list[ChunkId]]:
    def found(chunk: ChunkId) -> bytes | None:
        return next((data for data in _asked(elsewhere, chunk) if data is not None), None)

    replaced, lost = [], []
    with repository.progress.phase("Healing", len(damaged), "bundles") as advance:
        for bundle in damaged:
            # what lies elsewhere in the repository as well need not be stored again
            mine = _only_in(repository, bundle, damaged)
            gone = move(repository, writer, in_bundle(repository, bundle, mine), found)
            lost += gone
            if not gone:
                replaced.append(bundle)
            advance(1)
    writer.store_all()
    writer.check()
    mark = seal_mark(repository.keyring, DAMAGED, damaged, repository.store.clock())
    put(repository.store, mark.name, mark.data)
    repository.index.distrust(damaged)
    return replaced, lost


def _only_in(repository: Repository, bundle: bytes, damaged: Sequence[bytes]) -> list[ChunkId]:
    """Return the chunks of *bundle* that lie in no bundle that is sound."""
    bad = {*damaged, *repository.index.distrusted}
    return [
        chunk
        for chunk, places in repository.index.of(repository.index.chunks_in(bundle))
        if all(place.bundle in bad for place in places)
    ]


def _asked(elsewhere: Iterable[Elsewhere], chunk: ChunkId) -> Iterator[bytes | None]:
    for ask in elsewhere:
        yield ask(chunk)


def _is_sound(repository: Repository, bundle: bytes) -> bool:
    """Tell whether a bundle has the bytes that its ID says, and all its chunks can be read."""
    try:
        if id_of(repository.store.get(bundle_name(bundle))) != bundle.hex():
            return False
    except NoSuchObject:
        return False
    wanted = in_bundle(repository, bundle, repository.index.chunks_in(bundle))
    return not any(
        isinstance(data, BrokenSealError) for _each, data in read_in_bundle(repository, wanted)
    )
