"""A buildout that runs inside of a test, without network and in the working directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import zc.buildout.testing

from collective.recipe.backup import Recipe


class Buildout:
    """A buildout whose sections are added one by one; ``make`` adds a part of ours."""

    def __init__(self) -> None:
        self.buildout = zc.buildout.testing.Buildout()
        self.base = Path.cwd()
        self.bin = self.base / "bin"
        self.bin.mkdir(exist_ok=True)
        self.settings = self.buildout["buildout"]
        self.settings["offline"] = "true"
        self.settings["parts"] = ""
        self._provide_distribution()

    def _provide_distribution(self) -> None:
        """Let buildout find the distribution, which need not be installed for a test."""
        there = Path(self.settings["develop-eggs-directory"])
        info = there / "collective.recipe.backup-7.0.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        metadata = "Metadata-Version: 2.1\nName: collective.recipe.backup\nVersion: 7.0.0\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")

    def add(self, name: str, section: Mapping[str, str]) -> zc.buildout.testing.TestOptions:
        """Add a part and return its options."""
        self.settings["parts"] += f" {name}"
        self.buildout[name] = section
        return self.buildout[name]

    def make(self, name: str = "backup", /, **settings: str) -> Recipe:
        """Add a part of ours, without blobs unless *settings* say otherwise."""
        section = {"recipe": "collective.recipe.backup", "backup_blobs": "false", **settings}
        return Recipe(self.buildout, name, self.add(name, section))

    def install(self, recipe: Recipe) -> list[str]:
        """Install as buildout does, and return the paths that were made."""
        return recipe.options._call(recipe.install)
