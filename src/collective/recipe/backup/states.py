"""A state: one moment of one source, opened to be read.

Every kind of destination opens one, and a restore, a rehearsal or a look into a backup needs
nothing else of a destination.  A state never changes the destination, and knows of the live site
only what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType

from collective.recipe.backup.blobs.storedblobs import StoredBlobs
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.furtherfiles import FurtherFiles
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.stores import StoredObject
from collective.recipe.backup.times import Tid


class State:
    """The state of *choice*, to be read until the ``with`` block ends.

    Its log and its blobs may be read by one thread each.
    """

    def __init__(  # noqa: PLR0913  each is asked for once it is needed
        self,
        choice: Choice,
        *,
        log: Callable[[], StoredLog | None],
        blobs: Callable[[], StoredBlobs | None],
        files: Callable[[], FurtherFiles | None] = lambda: None,
        cold: Callable[[], Sequence[StoredObject]] = tuple,
        held: ExitStack | None = None,
    ) -> None:
        """Ask *log*, *blobs* and the like for each once it is needed; *held* is left at the end."""
        self.choice = choice
        self._log = log
        self._blobs = blobs
        self._files = files
        self._cold = cold
        self._held = held or ExitStack()

    def __enter__(self) -> State:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()

    @cached_property
    def log(self) -> StoredLog | None:
        """Its filestorage; None if only blobs are backed up.

        Raises IntegrityError, NoRestorePoint or BackupError if it is not there as a whole.
        """
        return self._log()

    @cached_property
    def blobs(self) -> StoredBlobs | None:
        """Its blobs; None if none are backed up, or were not then.

        Raises IntegrityError or BackupError if they are not there.
        """
        return self._blobs()

    @cached_property
    def files(self) -> FurtherFiles | None:
        """Further files as they were when its restore point was made; None: it has none.

        Raises IntegrityError or BackupError if they are not there.
        """
        return self._files()

    @property
    def cold(self) -> Sequence[StoredObject]:
        """The objects that a store has to be asked for before all can be read; each is tried."""
        return self._cold()

    @property
    def point(self) -> RestorePoint:
        """The restore point that it is of."""
        return self.choice.point

    @property
    def tid(self) -> Tid | None:
        """No later transaction counts; None if its log alone tells which is the last."""
        return self.choice.until or self.point.tid
