"""The health of the files in a grid: the node walks through all directories below one.

During the walk the node asks the servers for their shares, and renews the leases of those shares,
without which a server may remove them. A repair makes missing shares of one file or directory
again. A walk that repairs ends at the first file that is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from collective.recipe.backup.stores import Weakness

WALK = (("t", "stream-deep-check"), ("add-lease", "true"))
REPAIR = (("t", "check"), ("repair", "true"), ("add-lease", "true"), ("output", "JSON"))


class WeakFile(NamedTuple):
    """A file or a directory of which shares are missing."""

    weakness: Weakness  # name of the object, and what it lacks
    capability: str  # capability of the file, with which it is repaired


def weak_file(line: Any, objects: Mapping[str, str]) -> WeakFile | None:
    """Return what a walk says of one file or directory, None if it is well.

    *objects* are the names of objects by their capabilities: a walk comes to each once, on any
    way.  Raises ValueError if that cannot be understood.
    """
    try:
        if line["type"] == "stats":
            return None
        results = line["check-results"]["results"]
        if results["healthy"]:
            return None
        counts = (results[f"count-shares-{each}"] for each in ("good", "expected", "needed"))
        weakness = Weakness(
            name=objects.get(line["cap"]) or "/".join(line["path"]) or "/",
            what="of its {1} shares {0} are there, and {2} are needed".format(*map(int, counts)),
            is_lost=not results["recoverable"],
            is_mended=False,
        )
        return WeakFile(weakness, line["cap"])
    except (TypeError, KeyError) as error:
        raise ValueError("no line of a check") from error


def is_repaired(answer: Any) -> bool:
    """Tell whether a repair has succeeded.  Raises ValueError if that cannot be understood."""
    try:
        return bool(answer["repair-attempted"] and answer["repair-successful"])
    except (TypeError, KeyError) as error:
        raise ValueError("no answer of a repair") from error
