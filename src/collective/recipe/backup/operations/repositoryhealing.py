"""Healing of a repository with the data of the site and of its other destinations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.destinations.configured import REPOSITORY, DestinationConfig
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.operations.repositoryaccess import opened_repository
from collective.recipe.backup.operations.run import Run

if TYPE_CHECKING:
    from collective.recipe.backup.repository.chunks import ChunkId
    from collective.recipe.backup.repository.healing import ChunkHolder, HealedBundles
    from collective.recipe.backup.repository.opened import Repository
    from collective.recipe.backup.stores import Weakness


@dataclass(frozen=True)
class LostPiece:
    """A piece of restore points that is nowhere."""

    what: str  # which bytes of what
    points: tuple[str, ...]  # the site and the stamp of each restore point that needs it


@dataclass(frozen=True, kw_only=True)
class Healing:
    """The result of healing, and the damage that is left."""

    mended: int  # objects that the store itself has made whole again
    weak: tuple[Weakness, ...]  # objects that the store could not mend, without lost bundles
    done: HealedBundles  # the chunks that were stored again, and those that are still lost
    lost: tuple[LostPiece, ...]  # that restore points need


def heal_bundles(run: Run, configured: DestinationConfig) -> Healing:
    """Store damaged or missing chunks of a repository again.

    Their bytes are taken from the live site, from the restore points in its other destinations, and
    from repositories to which restore points were copied.
    """
    from collective.recipe.backup.repository.healing import heal
    from collective.recipe.backup.repository.orphans import listed_bundles
    from collective.recipe.backup.repository.scrubbing import scrub

    with opened_repository(run, configured) as repository:
        found = list(repository.store.care(mend=True))
        damaged = {
            each.rpartition("/")[2] for each in scrub(repository.store, run.progress).damaged
        }
        there = dict(listed_bundles(repository.store))
        gone = repository.index.bundles() - there.keys()
        bundles = [*gone, *(each for each in there if each.hex() in damaged)]
        done = heal(repository, bundles, _holders(run, configured, repository))
        return Healing(
            mended=sum(each.is_mended for each in found),
            weak=tuple(each for each in found if _stays_weak(each)),
            done=done,
            lost=tuple(_lost(repository, done.lost)),
        )


def _stays_weak(each: Weakness) -> bool:
    """Tell whether an object still lacks something; lost bundles are left to heal."""
    from collective.recipe.backup.repository.names import BUNDLES

    return not each.is_mended and not (each.is_lost and each.name.startswith(BUNDLES))


def _holders(
    run: Run, configured: DestinationConfig, repository: Repository
) -> Sequence[ChunkHolder]:
    """Return sources that may have lost chunks; none is opened before it is asked."""
    from collective.recipe.backup.destinations.repository.sitecopies import SiteCopies
    from collective.recipe.backup.destinations.repository.treebackup import LiveFiles

    others = [each for each in run.beside if each.name != configured.name]
    destinations = [each for other in others for each in other.destinations()]
    copied = [each.configured for each in others if each.configured.kind == REPOSITORY]
    return (
        SiteCopies(repository, configured.sources, destinations),
        *(LiveFiles(repository, each.files) for each in configured.repositories if each.files),
        *(_Copied(run, each, repository) for each in copied),
    )


class _Copied:
    """The repository *other*, which is opened when it is asked; see ``ChunkHolder``."""

    def __init__(self, run: Run, other: DestinationConfig, repository: Repository) -> None:
        self._run = run
        self._other = other
        self._repository = repository

    def offers(self, lost: Collection[ChunkId]) -> Iterator[tuple[int, bytes]]:
        """Yield what may be chunks of *lost*."""
        from collective.recipe.backup.repository.twins import Twins

        try:
            with opened_repository(self._run, self._other) as there:
                yield from Twins(self._repository, there).offers(lost)
        except BackupError as error:
            self._repository.tell(f"{self._other.name} could not be asked: {error}")


def _lost(repository: Repository, lost: Sequence[ChunkId]) -> Iterator[LostPiece]:
    """Yield those of the chunks *lost* that restore points need, and which these are."""
    from collective.recipe.backup.destinations.repository.chunkorigins import ChunkOrigins
    from collective.recipe.backup.repository.needs import concerned
    from collective.recipe.backup.repository.standing import standing

    if not lost:
        return
    points = standing(repository, repository.look()).readable
    needing: dict[ChunkId, list[str]] = {}
    names = concerned(repository, points, lost)
    for point in points:
        for chunk in names.get(point.name, ()):
            needing.setdefault(chunk, []).append(f"{point.site} {point.stamp}")
    for origin in ChunkOrigins(repository, points, frozenset(lost)).found():
        yield LostPiece(origin.what, tuple(needing.pop(origin.chunk, ())))
    # nodes that can be read do not name it
    for chunk, stamps in needing.items():
        yield LostPiece(f"the chunk {chunk.hex()}", tuple(stamps))


def loss_left(healing: Healing) -> IntegrityError | None:
    """Return the error that says what could not be healed; None: nothing."""
    if not healing.lost and healing.weak:
        return IntegrityError(
            f"{number_of(len(healing.weak), 'object')} of the store could not be made whole",
            where=healing.weak[0].name,
            hint="do all servers of the store run?  Run heal again when they do",
        )
    if not healing.lost:
        return None
    points = {stamp for each in healing.lost for stamp in each.points}
    return IntegrityError(
        f"{number_of(len(healing.lost), 'piece is', 'pieces are')} nowhere any more, of "
        f"{number_of(len(points), 'restore point')}",
        hint="the next backup makes whole restore points again; those that are named can be "
        "restored in part, or removed by prune",
    )
