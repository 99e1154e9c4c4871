"""A state of a destination, restored to names that a test chooses."""

from __future__ import annotations

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.restoring.staging import Staged, Targets, stage


def stage_choice(destination: Destination, choice: Choice, targets: Targets) -> Staged:
    """Write the state of *choice* to *targets*, verified."""
    with destination.open(choice) as state:
        return stage(state, targets, files=Files(), progress=Silent())
