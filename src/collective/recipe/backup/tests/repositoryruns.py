"""Runs of the verbs over a sample site that is backed up to a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.destinations.repository.blobsonlyrepository import (
    BlobsOnlyRepository,
)
from collective.recipe.backup.destinations.repository.place import RepositoryPlace
from collective.recipe.backup.destinations.repository.repositorydestination import (
    RepositoryDestination,
)
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.stores import Store
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.repositories import PASSPHRASE
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site


@dataclass(frozen=True, kw_only=True)
class RepositoryRun(Run):
    """A run whose destination is a repository."""

    store: Store
    place: RepositoryPlace

    @property
    def homes(self) -> list[Home]:
        return [each.home for each in self.destinations()]

    def destinations(self) -> list[Destination]:
        kind = BlobsOnlyRepository if self.config.options.only_blobs else RepositoryDestination
        return [
            kind(source, self.place, store=self.store, files=self.files, progress=self.progress)
            for source in self.config.sources
        ]


class OperatedInRepository(Operated):
    """A site that is backed up to a repository whose clock is that of the runs."""

    def __init__(
        self,
        site: Site,
        *,
        name: str = "site",
        store: Store | None = None,
        passphrase: str | None = PASSPHRASE,
        **options: Any,
    ) -> None:
        super().__init__(site, **options)
        if store is None:
            store = MemoryStore(lambda: self.now)
            init(store, PASSPHRASE, self.now)
        self.store = store
        self.repository_place = RepositoryPlace(
            url="memory",
            site=name,
            state=Path(site.directory) / "var" / "repository",
            ask=None if passphrase is None else lambda: passphrase,
        )

    def run(self, verb: str, **more: Any) -> Run:
        run = super().run(verb, **more)
        fields = {name: getattr(run, name) for name in Run.__dataclass_fields__}
        return RepositoryRun(**fields, store=self.store, place=self.repository_place)
