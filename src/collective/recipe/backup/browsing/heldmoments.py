"""Moments that stay open from one page to the next: to open one is to read a whole log."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.operations.objects import OpenedObjects, opened_objects
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.times import When

_HELD = 2


class HeldMoments:
    """Moments of the backups of *run*.  All of it is for one thread."""

    def __init__(self, run: Run) -> None:
        """Hold nothing yet."""
        self._run = run
        self._held: OrderedDict[tuple[str, When], tuple[ExitStack, OpenedObjects]] = OrderedDict()

    def opened(self, storage: str, when: When) -> OpenedObjects:
        """Return the objects of a storage at a moment, open until two others are asked for.

        Raises as ``opened_objects`` does.
        """
        key = storage, when
        if key not in self._held:
            while len(self._held) >= _HELD:
                self._close(next(iter(self._held)))
            stack = ExitStack()
            try:
                found = stack.enter_context(opened_objects(self._run, when, storage))
            except BackupError:
                stack.close()
                raise
            self._held[key] = stack, found
        self._held.move_to_end(key)
        return self._held[key][1]

    def close(self) -> None:
        """Close the open moment: it may have been removed meanwhile, or the command ends."""
        while self._held:
            self._close(next(iter(self._held)))

    def _close(self, key: tuple[str, When]) -> None:
        self._held.pop(key)[0].close()
