"""The verbs that a script can have, one room each.

A room is imported when its verb is asked for, and imports the operation behind it when it
acts: a script starts quicker for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from collective.recipe.backup.cli.arguments import Verb

_ROOMS = {
    "backup": "backup",
    "restore": "restore",
    "standby": "standby",
    "list": "listing",
    "log": "chronicle",
    "objects": "objects",
    "diff": "diff",
    "extract": "extract",
    "undelete": "bringback",
    "open": "open",
    "browse": "browse",
    "export": "export",
    "verify": "verify",
    "rehearse": "rehearse",
    "prune": "prune",
    "status": "status",
    "report": "report",
    "doctor": "doctor",
    "repository": "repository",
}


class _Verbs(Mapping[str, Verb]):
    """The verbs by name."""

    def __getitem__(self, name: str) -> Verb:
        verb = import_module(f"{__name__}.{_ROOMS[name]}").VERB
        assert isinstance(verb, Verb)  # noqa: S101  for the type checker
        return verb

    def __iter__(self) -> Iterator[str]:
        return iter(_ROOMS)

    def __len__(self) -> int:
        return len(_ROOMS)


VERBS = _Verbs()
