"""The door that buildout opens: a part becomes a stored configuration and some scripts.

Buildout makes the recipe first and calls ``install`` later, for all parts in turn.  All
that can be wrong is found while it is made, so nothing is written before everything is
known to fit.  Running buildout never makes nor removes a directory of backups: it may run
while the disk for them is not mounted.

The scripts hold no logic, only a verb, a destination and the path of the configuration.
They are written anew each time buildout runs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import zc.buildout
import zc.buildout.easy_install
import zc.recipe.egg

from collective.recipe.backup.config import (
    ALTERNATIVE,
    PART,
    SNAPSHOT,
    STANDARD,
    ZIP,
    dump,
)
from collective.recipe.backup.config.neighbours import clashes, neighbours
from collective.recipe.backup.config.repositories import secrets
from collective.recipe.backup.config.resolve import SiteFacts, absolute, resolve
from collective.recipe.backup.config.surroundings import unusable, unwritable
from collective.recipe.backup.config.zope_parts import RECIPES, ZopePart, found
from collective.recipe.backup.errors import ConfigurationError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.options import Options, declarations
from collective.recipe.backup.options.parsing import read

DISTRIBUTION = "collective.recipe.backup"

NAMES_OF_BUILDOUT = {
    "<",
    "<part-dependencies>",
    "__buildout_installed__",
    "__buildout_signature__",
    "_b",
    "_d",
    "_e",
    "allow-hosts",
    "arguments",
    "bin-directory",
    "buildout-directory",
    "dependent-scripts",
    "develop-eggs-directory",
    "eggs",
    "eggs-directory",
    "entry-points",
    "executable",
    "extra-paths",
    "find-links",
    "index",
    "initialization",
    "interpreter",
    "python",
    "recipe",
    "relative-paths",
    "scripts",
    "unzip",
}
"""Keys that buildout and zc.recipe.egg read from, or write to, the section of a part."""


def _always(_options: Options) -> bool:
    return True


class Script(NamedTuple):
    """One script of a part."""

    own_name: str  # name of the script in a part called ``backup``
    suffix: str  # added to the name of any other part
    verb: str  # of its command; "": it is ``repozo``, which needs no configuration
    destination: str  # purpose of its destinations
    is_wanted: Callable[[Options], bool] = _always  # tells from the options whether it is made
    flags: tuple[str, ...] = ()  # arguments before those of its user

    def name(self, part: str) -> str:
        """Return the script's name in *part*."""
        return self.own_name if part == PART else f"{part}{self.suffix}"


SCRIPTS = (
    Script("backup", "", "backup", STANDARD),
    Script(
        "fullbackup",
        "-full",
        "backup",
        STANDARD,
        lambda it: it.enable_fullbackup,
        flags=("--full",),
    ),
    Script("snapshotbackup", "-snapshot", "backup", SNAPSHOT),
    Script("zipbackup", "-zip", "backup", ZIP, lambda it: it.enable_zipbackup),
    Script("restore", "-restore", "restore", STANDARD),
    Script(
        "snapshotrestore",
        "-snapshotrestore",
        "restore",
        SNAPSHOT,
        lambda it: it.enable_snapshotrestore,
    ),
    Script("ziprestore", "-ziprestore", "restore", ZIP, lambda it: it.enable_zipbackup),
    Script(
        "altrestore",
        "-altrestore",
        "restore",
        ALTERNATIVE,
        lambda it: bool(it.alternative_restore_source),
    ),
    Script("backup-list", "-list", "list", STANDARD),
    Script("backup-log", "-log", "log", STANDARD),
    Script("backup-objects", "-objects", "objects", STANDARD),
    Script("backup-diff", "-diff", "diff", STANDARD),
    Script("backup-extract", "-extract", "extract", STANDARD),
    Script("backup-undelete", "-undelete", "undelete", STANDARD),
    Script("backup-open", "-open", "open", STANDARD),
    Script("backup-browse", "-browse", "browse", STANDARD),
    Script("backup-export", "-export", "export", STANDARD),
    Script("repozo", "-repozo", "", "", lambda it: it.enable_repozo),
    Script("backup-verify", "-verify", "verify", STANDARD),
    Script("backup-rehearse", "-rehearse", "rehearse", STANDARD),
    Script("backup-prune", "-prune", "prune", STANDARD),
    Script("backup-status", "-status", "status", STANDARD),
    Script("backup-report", "-report", "report", STANDARD),
    Script("backup-doctor", "-doctor", "doctor", STANDARD),
    Script(
        "backup-standby",
        "-standby",
        "standby",
        STANDARD,
        lambda it: bool(it.repository),
    ),
    Script(
        "backup-repository",
        "-repository",
        "repository",
        STANDARD,
        lambda it: bool(it.repository),
    ),
)


class Recipe:
    """The object that buildout makes of a part; ``install`` then makes its files."""

    def __init__(
        self,
        buildout: Mapping[str, Mapping[str, str]],
        name: str,
        options: MutableMapping[str, str],
    ) -> None:
        """Read the part, check it, and write derived values back for other parts to read.

        Raises UserError, buildout's own, that names every problem.
        """
        self.name = name
        self.options = options
        self.logger = logging.getLogger(name)
        directories = buildout["buildout"]
        self.parts = Path(directories["parts-directory"])
        self.bin = Path(directories["bin-directory"])
        base = self.bin.parent
        reading = read(options, NAMES_OF_BUILDOUT)
        misfits = tuple(unusable(name, (base, self.bin, self.parts), sys.executable))
        misfits += tuple(secrets(reading.options.repository))
        reading = reading._replace(problems=misfits + reading.problems)
        site = found(_zope_parts(buildout, name))
        facts = SiteFacts(
            part=name,
            base=base,
            is_zope=site.is_zope,
            var=site.var,
            datafs=site.datafs,
            blob_storage=site.blob_storage,
            parts=self.parts,
            doubts=site.doubts,
            caches=tuple(absolute(base, path) for path in site.caches),
        )
        try:
            self.config, warnings = resolve(facts, reading)
        except ConfigurationError as error:
            raise zc.buildout.UserError(str(error)) from error
        for warning in (*warnings, *unwritable(self.config)):
            self.logger.warning("%s", warning)
        self._write_back()
        self.egg = zc.recipe.egg.Scripts(buildout, DISTRIBUTION, options)

    @property
    def config_path(self) -> Path:
        """The file of the configuration."""
        return self.parts / self.name / "config.json"

    def install(self) -> list[str]:
        """Write the configuration and the scripts; return their paths."""
        problems = tuple(clashes(self.config, neighbours(self.config_path)))
        if problems:
            error = ConfigurationError(
                f"part {self.name} cannot be used beside the others", problems=problems
            )
            raise zc.buildout.UserError(str(error))
        scripts = [it for it in SCRIPTS if it.is_wanted(self.config.options)]
        _requirements, working_set = self.egg.working_set([DISTRIBUTION])
        created: Callable[..., list[str]] = self.options.created  # type: ignore[attr-defined]
        # buildout removes what was named before if we fail
        created(str(self.config_path.parent))
        files = Files()
        with explained("cannot store the configuration", self.config_path):
            files.make_directories(self.config_path.parent)
            # files of a buildout that was killed; another one may be running
            files.sweep(self.config_path.parent, of=self.config_path.name, alone=False)
            files.write(self.config_path, dump(self.config))
        for script in scripts:
            created(str(self.bin / script.name(self.name)))
            self._generate(script, working_set)
        return created()

    update = install

    def _generate(self, script: Script, working_set: Any) -> None:
        # ASCII literals, which survive whatever a path holds
        arguments = [ascii(it) for it in (script.verb, script.destination, str(self.config_path))]
        room = "cli"
        if not script.verb:
            arguments, room = ["sys.argv[1:]"], "repozo.command"
        elif script.flags:
            arguments.append(f"[*{ascii(script.flags)}, *sys.argv[1:]]")
        zc.buildout.easy_install.scripts(
            [(script.name(self.name), f"{DISTRIBUTION}.{room}", "main")],
            working_set,
            sys.executable,
            str(self.bin),
            arguments=", ".join(arguments),
            extra_paths=self.egg.extra_paths,
            initialization=self.options.get("initialization", ""),
            relative_paths=self.egg._relative_paths,
        )

    def _write_back(self) -> None:
        """Put the resolved options into the part.

        Other parts can refer to them, and buildout installs the part anew if one changes
        because another part changed.
        """
        for option in fields(Options):
            declared = declarations()[option.name]
            shown = declared.kind.show(getattr(self.config.options, option.name))
            self.options[option.name] = shown
            for alias in declared.aliases:
                if alias.name in self.options:
                    self.options[alias.name] = shown


def _zope_parts(buildout: Mapping[str, Mapping[str, str]], name: str) -> list[ZopePart]:
    """Return the Zope parts beside *name*, in the order of the buildout."""
    parts = (
        ZopePart(part, buildout[part])
        for part in buildout["buildout"]["parts"].split()
        if part != name and _may_be_zope(buildout, part)
    )
    return [part for part in parts if _is_zope(part.text("recipe"))]


def _is_zope(recipe: str) -> bool:
    return recipe.strip().lower() in RECIPES


def _may_be_zope(buildout: Mapping[str, Mapping[str, str]], part: str) -> bool:
    """Tell whether *part* can be a Zope part, as far as its bare text tells.

    Looking at a part makes buildout make its recipe, which may want to know what we have
    not derived yet; so we look at those only that we need.
    """
    text = getattr(buildout, "_raw", {}).get(part, {})
    recipe = text.get("recipe", "")
    is_elsewhere = not recipe or "${" in recipe
    return is_elsewhere or _is_zope(recipe)
