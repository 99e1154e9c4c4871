"""The declaration of one option: its kind, its chapter in the reference, its text.

It is the metadata of the field of a dataclass.  The field's name is the option's name, its
annotation the type of the value, its default the default.
"""

from __future__ import annotations

from dataclasses import Field, field
from enum import Enum
from typing import Any

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.optionkinds import OptionKind


class Group(Enum):
    """The chapters of the reference, in their order."""

    SITE = "What is backed up"
    PLACES = "Where the backups lie"
    REPOSITORIES = "Repositories"
    FILESTORAGE = "How the filestorage is backed up"
    BLOBS = "How the blobs are backed up"
    RETENTION = "How long backups are kept"
    SCRIPTS = "Which scripts there are"
    HOOKS = "Commands of your own"
    WATCHING = "How the backups are watched"
    MESSAGES = "What the scripts say"


@dataclass(frozen=True, kw_only=True)
class Alias:
    """Another spelling of an option.

    A deprecated one gives way to the name itself if both are set, and its use is a warning; of
    other ones both values must be equal.
    """

    name: str  # the other spelling
    deprecated: str = ""  # a sentence about what to write; "": it is not deprecated


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The declaration of an option, besides its name, type and default."""

    kind: OptionKind  # of the value
    group: Group  # chapter of the reference
    doc: str  # text of the reference
    unset: str = ""  # value if the option is not set, in words; "": the default shows it
    aliases: tuple[Alias, ...] = ()  # other spellings


def option(kind: OptionKind, group: Group, default: Any, doc: str, **more: Any) -> Any:
    """Return the field of an option, with its declaration."""
    declared = Declaration(kind=kind, group=group, doc=doc, **more)
    return field(default=default, metadata={"declaration": declared})


def declaration(option: Field[Any]) -> Declaration:
    """Return what is declared of *option*, a field of Options."""
    found = option.metadata["declaration"]
    assert isinstance(found, Declaration)  # noqa: S101  for the type checker
    return found
