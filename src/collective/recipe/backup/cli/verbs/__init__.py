"""The verbs that a script can have, one room each.

A room imports the operation behind it only when it acts: a script starts quicker for it.
"""

from __future__ import annotations

from collective.recipe.backup.cli.arguments import Verb
from collective.recipe.backup.cli.verbs import (
    backup,
    doctor,
    listing,
    prune,
    rehearse,
    report,
    restore,
    status,
    verify,
)

VERBS: dict[str, Verb] = {
    "backup": backup.VERB,
    "restore": restore.VERB,
    "list": listing.VERB,
    "verify": verify.VERB,
    "rehearse": rehearse.VERB,
    "prune": prune.VERB,
    "status": status.VERB,
    "report": report.VERB,
    "doctor": doctor.VERB,
}
