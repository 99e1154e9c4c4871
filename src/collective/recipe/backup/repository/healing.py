"""Healing: damaged chunks are stored again, from any source that still has their bytes.

Bundles that were found damaged or gone are read again first, because a network may have been at
fault.  Chunks that can be read move into new bundles.  For the others, and for chunks that restore
points need and no bundle has, each ``ChunkHolder`` is asked.  Bytes are taken only if they have the
id of a chunk that is lost, so nothing can be put in its place, whoever offers it.  Then a mark says
that the old bundles are damaged, and from then on nothing relies on them.  They go in a run of
collect, once nothing needs them.

A chunk that was found may be a node, which names further chunks.  So all holders are asked again
until nothing more is found.

A chunk that no holder has stays lost, and is named.  The next backup of a site that has its bytes
stores it again, because a chunk under such a mark does not count as stored.

Only puts are needed, as for a backup.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.doubts import is_bundle_sound, put_damage_marks
from collective.recipe.backup.repository.moving import in_bundle, move
from collective.recipe.backup.repository.needs import needed_bundles
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.reaching import Reached
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.repository.tickets import StartOver
from collective.recipe.backup.repository.writing import ChunkWriter


class ChunkHolder(Protocol):
    """A source that may have the bytes of lost chunks: a site, or another repository."""

    def offers(self, lost: Collection[ChunkId]) -> Iterator[tuple[int, bytes]]:
        """Yield kind and bytes of candidates for the chunks of *lost*, which shrinks meanwhile.

        The caller compares each with the ids, so a wrong candidate does no harm.  Bytes that cannot
        be read are passed over.
        """


@dataclass(frozen=True)
class HealedBundles:
    """The result of healing."""

    sound: tuple[bytes, ...]  # IDs of bundles that are not damaged after all
    replaced: tuple[bytes, ...]  # IDs of bundles of which all that was there is stored again
    found: int  # chunks that others had
    lost: tuple[ChunkId, ...]  # chunks that are nowhere; what needs them cannot be restored whole


def heal(
    repository: Repository, bundles: Iterable[bytes], holders: Sequence[ChunkHolder] = ()
) -> HealedBundles:
    """Store the chunks of the *bundles* with these IDs again, and those that no bundle has.

    *holders* are asked, in their order, for chunks that cannot be read.
    """
    sound: list[bytes] = []
    damaged: list[bytes] = []
    for bundle in dict.fromkeys(bundles):
        (sound if is_bundle_sound(repository, bundle) else damaged).append(bundle)
    missing = _missing(repository)
    if not damaged and not missing:
        return HealedBundles(tuple(sound), (), 0, ())
    try:
        with ChunkWriter(repository, "heal") as writer:
            healing = _Healing(repository, writer, damaged)
            healing.move()
            healing.take(missing, holders)
            healing.mark()
    except StartOver as error:
        raise BackupError(
            "the repository changed while it was healed",
            where=repository.store.location,
            hint="nothing is lost; run the command again",
        ) from error
    return healing.done(sound)


class _Healing:
    """One run of ``heal``, step by step."""

    def __init__(
        self, repository: Repository, writer: ChunkWriter, damaged: Sequence[bytes]
    ) -> None:
        self._repository = repository
        self._writer = writer
        self._damaged = damaged
        self._gone: dict[bytes, list[ChunkId]] = {}  # by bundle, the chunks that cannot be read
        self._lost: dict[ChunkId, None] = {}  # in the order in which it was found to be
        self._found = 0

    def move(self) -> None:
        """Store again what can be read of the bundles."""
        repository, damaged = self._repository, self._damaged
        with repository.progress.phase("Healing", len(damaged), "bundles") as advance:
            for bundle in damaged:
                # a chunk that another bundle of the repository has as well need not be stored again
                mine = _only_in(repository, bundle, damaged)
                gone = move(repository, self._writer, in_bundle(repository, bundle, mine))
                self._gone[bundle] = gone
                self._lost.update(dict.fromkeys(gone))
                advance(1)
        self._writer.store_all()

    def take(self, missing: Iterable[ChunkId], holders: Sequence[ChunkHolder]) -> None:
        """Store the lost and *missing* chunks that *holders* have."""
        self._lost.update(dict.fromkeys(missing))
        title = "Asking the others for what is lost"
        with self._repository.progress.phase(title, len(self._lost), "pieces") as advance:
            before = None
            while self._lost and before != len(self._lost):
                before = len(self._lost)
                for holder in holders:
                    for kind, data in holder.offers(self._lost.keys()):
                        chunk = self._repository.keyring.chunk_id(kind, data)
                        if chunk in self._lost:
                            self._writer.store_again(kind, chunk, data)
                            del self._lost[chunk]
                            self._found += 1
                            advance(1)
                # a node that was found is read in the next round
                self._writer.store_all()

    def mark(self) -> None:
        """Say that the bundles are damaged, now that all that was found is durable."""
        self._writer.check()
        put_damage_marks(self._repository, self._damaged)

    def done(self, sound: Iterable[bytes]) -> HealedBundles:
        """Return the result."""
        replaced = (
            bundle
            for bundle, gone in self._gone.items()
            if not any(chunk in self._lost for chunk in gone)
        )
        return HealedBundles(tuple(sound), tuple(replaced), self._found, tuple(self._lost))


def _missing(repository: Repository) -> list[ChunkId]:
    """Return what restore points need, as far as nodes can be read, and no bundle has."""
    repository.index.refresh()
    points = standing(repository, repository.look()).readable
    reached = Reached()
    try:
        needed = needed_bundles(repository, points, reached)
    finally:
        reached.close()
    return [*needed.gaps.missing, *needed.homeless]


def _only_in(repository: Repository, bundle: bytes, damaged: Sequence[bytes]) -> list[ChunkId]:
    """Return the chunks of *bundle* that lie in no bundle that is sound."""
    bad = {*damaged, *repository.index.distrusted}
    return [
        chunk
        for chunk, places in repository.index.of(repository.index.chunks_in(bundle))
        if all(place.bundle in bad for place in places)
    ]
