"""The place of one source in a repository."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.destinations.repository.wantedfiles import WantedFiles
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.storeurls import shown_url


@dataclass(frozen=True, kw_only=True)
class RepositoryPlace:
    """The restore points of one source in a repository, and the means to open it."""

    url: str  # of the store: a path, or what stores.opening takes; it may be a secret
    site: str  # name of the site in the repository
    state: Path  # local directory of what is remembered
    ask: Callable[[], str] | None  # returns the passphrase; None: there is none
    files: WantedFiles | None = None  # further files of the site; None: there are none
    as_of: datetime | None = None  # the moment whose state of the store is read; None: the present

    @property
    def cache(self) -> Path | None:
        """The file of the cache of the repository; None: there is none."""
        return self.state / ".repository-cache" if self.as_of is None else None

    @property
    def shown(self) -> str:
        """The URL as messages have it: without a secret."""
        return shown_url(self.url)

    @property
    def home(self) -> Home:
        """The home of the restore points, which has no lock."""
        return Home(label=self.shown, state=self.state, lock=None)
