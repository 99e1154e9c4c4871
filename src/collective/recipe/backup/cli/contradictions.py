"""Options of one command line that contradict each other, or of which one would do nothing.

Two such options are refused before anything is done: one of them would not do what is expected.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NamedTuple

from collective.recipe.backup.errors import UsageError


class Contradiction(NamedTuple):
    """Options that mean nothing beside others."""

    options: tuple[str, ...]  # that mean nothing, by their long names
    beside: tuple[str, ...]  # beside each of these
    hint: str  # what to do about it


def refuse_contradictions(
    parser: argparse.ArgumentParser,
    namespace: argparse.Namespace,
    contradictions: Iterable[Contradiction],
) -> None:
    """Raise UsageError for the first of *contradictions* in *namespace*, which *parser* made."""
    given = _given(parser, namespace)
    for options, beside, hint in contradictions:
        for other in filter(given.__contains__, beside):
            for option in filter(given.__contains__, options):
                raise UsageError(f"{option} means nothing beside {other}", hint=hint)


def _given(parser: argparse.ArgumentParser, namespace: argparse.Namespace) -> set[str]:
    """Return the options, by all their names, that are not what they are without being given."""
    return {
        spelling
        for action in parser._actions
        for spelling in action.option_strings
        if getattr(namespace, action.dest, action.default) != action.default
    }
