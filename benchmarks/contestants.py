"""Who is measured, and how each is called.

Ours and collective.recipe.backup get the same ``buildout.cfg``, each in a directory of its
own, and buildout makes their scripts.  The peer lives in a virtual environment of its own,
made with pip.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.states import States

PEER = "collective.recipe.backup==6.0.0"

BUILDOUT = """\
[buildout]
parts = repozo site filestorage small
offline = true
newest = false

# which the older release calls
[repozo]
recipe = zc.recipe.egg
eggs = ZODB
scripts = repozo

[site]
recipe = collective.recipe.backup
datafs = {states.filestorage}
blob_storage = {states.blobstorage}
location = ${{buildout:directory}}/site/backups
blobbackuplocation = ${{buildout:directory}}/site/blobstoragebackups
backup_blobs = true

[filestorage]
recipe = collective.recipe.backup
datafs = {states.filestorage}
location = ${{buildout:directory}}/filestorage/backups
backup_blobs = false

[small]
recipe = collective.recipe.backup
datafs = ${{buildout:directory}}/var/filestorage/Data.fs
blob_storage = ${{buildout:directory}}/var/blobstorage
location = ${{buildout:directory}}/small/backups
blobbackuplocation = ${{buildout:directory}}/small/blobstoragebackups
backup_blobs = true
"""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """Somebody who makes backups in *directory*; *bin* has the scripts."""

    name: str
    directory: Path
    bin: Path

    def backups(self, part: str) -> Path:
        """Return where the backups of a part of the buildout lie."""
        return self.directory / part

    @property
    def small_site(self) -> Path:
        """Return where the filestorage and the blobs lie that the part ``small`` backs up."""
        return self.directory / "var"

    def script(self, name: str) -> Path:
        """Return the path of a script."""
        return self.bin / name


def ours(scratch: Path, states: States) -> Contestant:
    """Return this package, as buildout installs it with the running Python."""
    return _made_by_buildout("ours", scratch / "ours", states, Path(sys.executable).parent)


def peer(scratch: Path, states: States) -> Contestant:
    """Return collective.recipe.backup 6.0.0, with the ZODB that we have."""
    environment = _peer_environment(scratch)
    return _made_by_buildout("6.0.0", scratch / "peer", states, environment / "bin")


def repozo(scratch: Path) -> Contestant:
    """Return ZODB's repozo, of the environment of the peer."""
    directory = scratch / "repozo"
    (directory / "filestorage" / "backups").mkdir(parents=True, exist_ok=True)
    return Contestant(name="repozo", directory=directory, bin=_peer_environment(scratch) / "bin")


def _made_by_buildout(name: str, directory: Path, states: States, bin: Path) -> Contestant:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "buildout.cfg").write_text(BUILDOUT.format(states=states))
    subprocess.run([bin / "buildout", "-q"], cwd=directory, check=True)
    return Contestant(name=name, directory=directory, bin=directory / "bin")


def _peer_environment(scratch: Path) -> Path:
    environment = scratch / "environment"
    if not (environment / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        zodb = f"ZODB=={version('ZODB')}"
        subprocess.run(
            [
                *(environment / "bin" / "python", "-m", "pip", "install", "--quiet"),
                *(PEER, zodb, "zc.buildout", "zc.recipe.egg"),
            ],
            check=True,
        )
        (environment / "made").touch()
    return environment
