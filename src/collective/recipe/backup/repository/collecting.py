"""Collect: remove what no restore point needs from the store, in two runs and without a lock.

Backups go on meanwhile, of this host and of others; ``plans`` says why nothing goes that they
rely on.  The order of one run::

    1  a ticket: only one run of collect at a time
    2  trash that is ripe goes, and only then it is found out what is needed
    3  sweep: bundles under marks that are ripe go; then catalogs that mention none of them
       are written; then the old catalogs go; then the marks
    4  what is needed of half-empty bundles is written into new ones, with a catalog
    5  mark: bundles that nothing needs, and those that were written anew
    6  tickets that are over go

A run may die anywhere: a mark stays until all its bundles are dealt with, and each step finds the
result of the step before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.bundles import BundleDirectory
from collective.recipe.backup.repository.catalogs import MOST_PIECES, seal_catalog
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.controls import MOST_MARKED, UNNEEDED, seal_mark
from collective.recipe.backup.repository.moving import in_bundle, move
from collective.recipe.backup.repository.names import CATALOGS, bundle_name, id_in
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.plans import (
    CollectPlan,
    Rules,
    make_plan,
    surroundings,
)
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.repository.reaching import Reached
from collective.recipe.backup.repository.tickets import StartOver, must_be_alone
from collective.recipe.backup.repository.writing import ChunkWriter
from collective.recipe.backup.stores import NoSuchObject

LIFETIME = timedelta(hours=2)
"""Of the ticket of a run of collect; one that dies keeps others away for so long."""

MOST_AT_ONCE = 0.5
"""The share of all bytes that is marked without a yes."""

FEW = 64 << 20
"""So many bytes may be marked whatever share that is."""

_FEW_PIECES = MOST_PIECES // 4
"""Catalogs with fewer chunks are merged when others are written anew."""

_MANY = 16
"""So many small catalogs are merged also when no bundle goes."""


@dataclass(frozen=True)
class Collected:
    """The result of a run of collect."""

    plan: CollectPlan  # the plan that was carried out
    removed: int  # bundles that are gone
    removed_bytes: int  # sealed bytes of those bundles
    marked: int  # bundles that go in a later run
    marked_bytes: int  # sealed bytes of those bundles
    moved: int  # bundles that were written anew
    lost: tuple[ChunkId, ...]  # that could not be read; their bundles stay


def plan_collect(repository: Repository, rules: Rules | None = None) -> CollectPlan:
    """Return what ``collect`` would do now; nothing is changed."""
    repository.index.refresh()
    repository.index.adopt()
    reached = Reached()
    try:
        return make_plan(repository, surroundings(repository), rules or Rules(), reached)
    finally:
        reached.close()


def collect(
    repository: Repository,
    rules: Rules | None = None,
    *,
    yes: bool = False,
    lifetime: timedelta = LIFETIME,
) -> Collected:
    """Remove bundles that nothing needs and trash, if they are old enough; return the result.

    Raises InUse if another run of collect is at work, IntegrityError where it cannot be known which
    chunks are needed, and BackupError for a step that needs a yes.
    """
    reached = Reached()
    try:
        with ChunkWriter(repository, "collect", lifetime=lifetime) as writer:
            return _Run(repository, writer, reached, yes=yes).run(rules or Rules())
    except StartOver as error:
        raise BackupError(
            "this run took too long, or another run changed the repository meanwhile",
            where=repository.store.location,
            hint="nothing is lost; run the command again",
        ) from error
    finally:
        reached.close()


class _Run:
    def __init__(
        self, repository: Repository, writer: ChunkWriter, reached: Reached, *, yes: bool
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._writer = writer
        self._reached = reached
        self._yes = yes

    def run(self, rules: Rules) -> Collected:
        around = surroundings(self._repository, self._writer.tickets)
        begun, own = self._writer.begun, self._writer.tickets[0]
        must_be_alone(around.tickets, "collect", begun, own)
        self._writer.adopt()
        for entry in around.control.trash:
            if around.is_ripe(entry.stored, rules.grace):
                self._store.delete(entry.name)
        # read again: a restore point may have been brought back while its trash was there
        around = surroundings(self._repository, self._writer.tickets)
        plan = make_plan(self._repository, around, rules, self._reached)
        if not self._yes:
            _check_floor(plan)
        self._sweep(plan)
        moved, lost = self._rewrite(plan)
        marked = [*plan.condemn, *moved]
        self._mark(marked)
        for ticket in plan.over:
            self._store.delete(ticket.name)
        self._repository.controls.tidy(around.control)
        self._store.sweep()
        return Collected(
            plan=plan,
            removed=len(plan.sweep),
            removed_bytes=plan.size(plan.sweep),
            marked=len(marked),
            marked_bytes=plan.size(marked),
            moved=len(moved),
            lost=tuple(lost),
        )

    def _sweep(self, plan: CollectPlan) -> None:
        self._writer.check()
        title = "Removing bundles"
        with self._repository.progress.phase(title, len(plan.sweep), "bundles") as advance:
            for bundle in sorted(plan.sweep):
                self._store.delete(bundle_name(bundle))
                advance(1)
        gone = set(plan.sweep)
        for mark in plan.ended:
            # of a run that died after it had removed them
            gone |= mark.bundles - plan.revived
        self._writer.store_all()
        self._catalogs_without(gone)
        for mark in plan.ended:
            self._store.delete(mark.name)

    def _catalogs_without(self, gone: set[bytes]) -> None:
        """Write catalogs anew until none mentions a bundle that is *gone*."""
        seen: set[str] = set()
        while True:
            names = [entry.name for entry in self._store.list(CATALOGS) if id_in(entry.name)]
            fresh = [name for name in names if name not in seen]
            if not fresh:
                return
            seen.update(fresh)
            old = list(self._to_replace(fresh, gone))
            merge = any(mentions for _name, _directories, mentions in old) or len(old) >= _MANY
            if merge:
                seen.update(self._merged(old, gone))
                for name, _directories, _mentions in old:
                    self._store.delete(name)
            self._repository.index.refresh()

    def _to_replace(
        self, names: Iterable[str], gone: set[bytes]
    ) -> Iterator[tuple[str, list[BundleDirectory], bool]]:
        """Yield catalogs to replace: name, content, and whether some of its bundles are *gone*.

        A small catalog is replaced as well, to be put together with others.
        """
        for name in names:
            try:
                directories = self._repository.index.catalog(name)
            except NoSuchObject:
                continue
            except IntegrityError:
                # the bundles of this catalog were adopted, and are in another one by now
                yield name, [], True
                continue
            mentions = any(each.bundle in gone for each in directories)
            if mentions or sum(len(each.pieces) for each in directories) < _FEW_PIECES:
                yield name, directories, mentions

    def _merged(
        self, old: Iterable[tuple[str, list[BundleDirectory], bool]], gone: set[bytes]
    ) -> Iterator[str]:
        """Put catalogs of those bundles of *old* ones that are not *gone*; yield the names."""
        kept = {
            each.bundle: each
            for _name, directories, _mentions in old
            for each in directories
            if each.bundle not in gone
        }
        some: list[BundleDirectory] = []
        for each in kept.values():
            some.append(each)
            if sum(len(one.pieces) for one in some) >= MOST_PIECES:
                yield self._catalog(some)
                some = []
        if some:
            yield self._catalog(some)

    def _catalog(self, directories: list[BundleDirectory]) -> str:
        sealed = seal_catalog(self._repository.keyring, directories)
        put(self._store, sealed.name, sealed.data)
        return sealed.name

    def _rewrite(self, plan: CollectPlan) -> tuple[list[bytes], list[ChunkId]]:
        """Move needed chunks out of bundles; return those bundles, and chunks that cannot be read.

        A bundle with such a chunk stays, for heal to look at.
        """
        moved: list[bytes] = []
        every: list[ChunkId] = []
        with self._repository.progress.phase("Moving chunks", plan.moved) as advance:
            for bundle in plan.rewrite:
                lost = self._moved(bundle)
                if lost:
                    every += lost
                else:
                    moved.append(bundle)
                advance(plan.bundles.needed[bundle])
        self._writer.store_all()
        return moved, every

    def _moved(self, bundle: bytes) -> list[ChunkId]:
        """Move needed chunks out of one bundle; return the chunks that cannot be read."""
        chosen = self._reached.chosen_in(bundle)
        wanted = in_bundle(self._repository, bundle, chosen)
        return move(self._repository, self._writer, wanted)

    def _mark(self, bundles: list[bytes]) -> None:
        self._writer.check()
        for begin in range(0, len(bundles), MOST_MARKED):
            some = bundles[begin : begin + MOST_MARKED]
            sealed = seal_mark(self._repository.keyring, UNNEEDED, some, self._store.clock())
            put(self._store, sealed.name, sealed.data)


def _check_floor(plan: CollectPlan) -> None:
    going = plan.size(plan.condemn)
    if not going:
        return
    if not plan.points:
        raise _too_much("there are no restore points, so all bundles would be marked")
    if going > FEW and going > MOST_AT_ONCE * plan.bundles.stored:
        raise _too_much(f"{going:,} of {plan.bundles.stored:,} bytes would be marked")


def _too_much(what: str) -> BackupError:
    return BackupError(
        f"{what}; nothing is removed",
        hint="were restore points removed on purpose?  If they were, say --yes",
    )
