"""An open repository: its store, its keys, and the cache of it on this machine.

The keys are made of the passphrase when they are first needed. To find that nothing changed takes a
listing and no keys: the cache has the contents of all objects that were read before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from functools import cached_property
from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress, Silent
from collective.recipe.backup.repository.cache import Cache
from collective.recipe.backup.repository.controls import Control, Controls, look
from collective.recipe.backup.repository.format import Format, read_format
from collective.recipe.backup.repository.index import Index
from collective.recipe.backup.repository.keyring import Keyring, public
from collective.recipe.backup.repository.libraries import check_libraries
from collective.recipe.backup.repository.points import Points
from collective.recipe.backup.repository.unlocking import missing_passphrase, unlocked
from collective.recipe.backup.stores import Store

Ask = Callable[[], str]
"""Returns the passphrase; it may run a program of the user, or ask him."""


def _silent(_line: str) -> None:
    """Drop a message."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """The means of a run to open a repository."""

    files: Files  # with which the cache and temporary files are written
    cache: Path | None = None  # file of what is known here; None: there is no place for one
    ask: Ask | None = None  # None: there is no passphrase
    progress: Progress = field(default_factory=Silent)  # progress of long work
    tell: Callable[[str], None] = _silent  # called with a line that the user should see
    accept_another: bool = False  # whether a repository may be in the place of the known one


class Repository:
    """One repository.  It is closed by ``close``, or at the end of ``with``."""

    def __init__(self, store: Store, client: Client) -> None:
        self.store = store
        self.cache = Cache(client.cache, client.files, client.tell)
        self.progress = client.progress
        self.tell = client.tell
        self._ask = client.ask
        self._accept_another = client.accept_another

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store and of the cache."""
        self.cache.close()
        self.store.close()

    @cached_property
    def about(self) -> Format:
        """The content of the object ``format``.

        Raises ConfigurationError if there is none, or that of another repository.
        """
        about = read_format(self.store)
        if not self.cache.belongs_to(about.repository, accept=self._accept_another):
            raise ConfigurationError(
                "another repository is in the place of the one that this machine knows",
                where=self.store.location,
                hint="is the right disk mounted?  If the repository was made anew on purpose, "
                "accept it with repository accept-rollback",
            )
        return about

    @cached_property
    def passphrase(self) -> str | None:
        """The passphrase; whether it fits is not tried.  None: there is none, nor should be.

        Raises ConfigurationError if there should be one, or none, and what asking for it raises.
        """
        if self.about.encrypted:
            return self._ask() if self._ask is not None else missing_passphrase(self.store)
        if self._ask is not None:
            raise ConfigurationError(
                "this repository is not encrypted, but there is a passphrase for it",
                where=self.store.location,
                hint="if that is meant to be so, remove the passphrase from the configuration; "
                "if not, another repository has been put here",
            )
        return None

    @cached_property
    def keyring(self) -> Keyring:
        """The keys.

        Raises ConfigurationError if the passphrase opens no slot, or if there should be one.
        """
        if self.passphrase is None:
            return public(self.about.repository)
        return unlocked(self.store, self.about, self.passphrase, self.cache)

    @contextmanager
    def unlocking(self) -> Iterator[None]:
        """Make the keys in a thread, while the body does what needs this repository for nothing.

        Raises as ``keyring`` does, when the body has ended.
        """
        from concurrent.futures import ThreadPoolExecutor

        self.passphrase  # noqa: B018  whoever is asked for it is asked by this thread
        with ThreadPoolExecutor(1, "unlock") as threads:
            made = threads.submit(lambda: self.keyring)
            yield
        made.result()

    @cached_property
    def index(self) -> Index:
        """The index of chunks and their places."""
        return Index(self.store, self.keyring, self.cache)

    @cached_property
    def controls(self) -> Controls:
        """Reads tickets, marks and trash."""
        return Controls(self.store, lambda: self.keyring, self.cache)

    @cached_property
    def points(self) -> Points:
        """Reads restore points."""
        return Points(self.store, self.controls, self.site_tag)

    def look(self) -> Control:
        """Return the objects under ``m/``, by one listing now."""
        return look(self.store)

    def site_tag(self, site: str) -> str:
        """Return what stands for *site* in names; without the keys where it is known already."""
        self.about  # noqa: B018  the cache may be of another repository
        key = f"site {site}"
        known = self.cache.get(key)
        if known is not None:
            return known.decode("ascii", "replace")
        tag = self.keyring.site_tag(site)
        self.cache.set(key, tag.encode("ascii"))
        return tag


def open_repository(store: Store, client: Client) -> Repository:
    """Return the repository in *store*.

    Raises ConfigurationError where there is none, and IntegrityError if it is damaged.
    """
    check_libraries()
    repository = Repository(store, client)
    try:
        repository.about  # noqa: B018  it is read, so that a wrong place is told at once
    except BaseException:
        repository.close()
        raise
    return repository
