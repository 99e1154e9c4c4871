"""From the settings of a user, texts by name, to ``Options``; every problem at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from collective.recipe.backup.options import Options, declarations
from collective.recipe.backup.options.combinations import contradictions, without_effect
from collective.recipe.backup.options.declaring import Alias, Declaration
from collective.recipe.backup.options.optionkinds import OptionKind

_CLOSE = 0.85
"""Similarity by difflib from which on a name is taken for a misspelt option.

High enough that a variable of the user's own (``backup_location``) is not called a mistake.
"""


class Reading(NamedTuple):
    """The result of reading settings.

    An option with a problem has its default in *options*, so that later checks can run; callers
    that get *problems* must not use the options for anything else.
    """

    options: Options  # values of all options
    problems: tuple[str, ...] = ()  # sentences about mistakes
    warnings: tuple[str, ...] = ()  # sentences for the user


FINER_RULES = (
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "keep_within",
)
"""Options of retention that count other things than full backups."""


class _Setting(NamedTuple):
    """An option as it was set."""

    name: str  # the spelling that was used
    text: str  # of the value


def read(settings: Mapping[str, str], foreign: Collection[str] = ()) -> Reading:
    """Return the options of *settings*.

    *foreign* are names that other programs read from the same section.
    """
    notes = _Notes([], [])
    found = dict(_found(settings, notes))
    values = {name: _value(name, setting, notes) for name, setting in found.items()}
    known = {name: value for name, value in values.items() if value is not None}
    options = replace(Options(), **known)
    if options.rsync_options and "use_rsync" not in found:
        # a user who chooses its arguments means the program
        options = replace(options, use_rsync=True)
    if "keep" not in found and any(getattr(options, name) for name in FINER_RULES):
        # a user who counts days means those: the newest full backup, which always stays, is enough
        options = replace(options, keep=1)
    _check_names(set(settings) - set(foreign), notes)
    notes.problems.extend(contradictions(options))
    notes.warnings.extend(without_effect(options))
    return Reading(options, tuple(notes.problems), tuple(notes.warnings))


class _Notes(NamedTuple):
    problems: list[str]  # sentences about mistakes
    warnings: list[str]  # sentences for the user


def _found(settings: Mapping[str, str], notes: _Notes) -> Iterator[tuple[str, _Setting]]:
    """Yield each option that is set, by its own name, however it was spelled."""
    for name, declared in declarations().items():
        own = _Setting(name, settings[name]) if name in settings else None
        for alias in declared.aliases:
            if alias.name in settings:
                other = _Setting(alias.name, settings[alias.name])
                own = _agreed(own, other, alias, declared, notes)
        if own is not None:
            yield name, own


def _agreed(
    own: _Setting | None, other: _Setting, alias: Alias, declared: Declaration, notes: _Notes
) -> _Setting:
    """Return which of two spellings counts; an empty one does not."""
    if alias.deprecated:
        notes.warnings.append(f"{other.name} is an old name: {alias.deprecated}")
    if own is None or not own.text.strip():
        return other
    if not alias.deprecated and _differ(declared.kind, own.text, other.text):
        notes.problems.append(
            f"{own.name} and {other.name} are two spellings of one option, but differ "
            f"({own.text.strip()!r}, {other.text.strip()!r}): set only one of them"
        )
    return own


def _differ(kind: OptionKind, one: str, other: str) -> bool:
    """Tell whether two texts, unless *other* is empty, mean different values."""
    try:
        return bool(other.strip()) and kind.parse(one) != kind.parse(other)
    except ValueError:
        return True


def _value(name: str, setting: _Setting, notes: _Notes) -> Any:
    """Return the value of a setting, None for the default."""
    try:
        return declarations()[name].kind.parse(setting.text)
    except ValueError as error:
        notes.problems.append(f"{setting.name} {error}")
        return None


def _check_names(names: Collection[str], notes: _Notes) -> None:
    """Note each name that is no option: a mistake if one is near, else the user's own."""
    known = {option.name for option in fields(Options)}
    known |= {alias.name for declared in declarations().values() for alias in declared.aliases}
    for name in sorted(set(names) - known):
        nearest = _nearest(name, known)
        if nearest:
            notes.problems.append(f"{name} is not an option; did you mean {nearest}?")
        else:
            notes.warnings.append(
                f"{name} is not an option of this recipe (which is fine for a variable of your own)"
            )


def _nearest(name: str, known: Collection[str]) -> str:
    """Return the known name that *name* was meant to be, as far as one can tell, else ""."""
    import difflib

    by_letters = {_letters(option): option for option in sorted(known)}
    same_letters = by_letters.get(_letters(name), "")
    lower = name.lower().replace("-", "_")
    similar = difflib.get_close_matches(lower, sorted(known), n=1, cutoff=_CLOSE)
    return similar[0] if similar else same_letters


def _letters(name: str) -> str:
    """Return a name as sorted letters, to find wrong order, case or joining of words."""
    return "".join(sorted(name.lower().replace("_", "").replace("-", "")))
