"""Every option of a buildout part, declared once.

::

    siteoptions          what is backed up, and the directories of the backups
    repositoryoptions    repositories, further files, and what is kept there
    backupoptions        how backups in directories are made, and how long they are kept
    scriptoptions        scripts, hooks, status, metrics, reports, pings, messages

The fields of the classes there are the options.  ``declaring`` says how an option is declared,
``optionkinds`` how a value is read and written.  The parser, the stored configuration and
docs/reference/options.rst are made from these declarations and from nothing else.

A path that is None is derived from the others when a configuration is resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.backupoptions import BackupOptions
from collective.recipe.backup.options.declaring import Declaration, declaration
from collective.recipe.backup.options.repositoryoptions import RepositoryOptions
from collective.recipe.backup.options.scriptoptions import ScriptOptions
from collective.recipe.backup.options.siteoptions import SiteOptions


@dataclass(frozen=True, kw_only=True)
class Options(
    ScriptOptions,
    BackupOptions,
    RepositoryOptions,
    SiteOptions,
):
    """The values of all options, in the order of the reference: those of the last base first."""


def declarations() -> Mapping[str, Declaration]:
    """Return the declarations of all options by name, in the order of the reference."""
    return {option.name: declaration(option) for option in fields(Options)}
