"""Count the operations of the store that a run of ours takes.

``python -m benchmarks.counting FILE ARGUMENTS`` does what ``sitebackup ARGUMENTS`` does, and
writes the number to FILE: each get, put, delete and listing, and each look at the clock, is one
request of a store elsewhere.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores.local import LocalStore

OPERATIONS = ("get", "put", "delete", "list", "clock")


def counted() -> list[str]:
    """Return the list that from now on gets the name of each operation."""
    done: list[str] = []
    for name in OPERATIONS:
        setattr(LocalStore, name, _noting(done, name, getattr(LocalStore, name)))
    return done


def _noting(done: list[str], name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(operation)
    def noting(*arguments: Any, **named: Any) -> Any:
        done.append(name)
        return operation(*arguments, **named)

    return noting


if __name__ == "__main__":
    place, *arguments = sys.argv[1:]
    operations = counted()
    code = main(arguments)
    Path(place).write_text(str(len(operations)))
    sys.exit(code)
