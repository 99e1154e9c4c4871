"""Backups made by older releases: the real ones, each in an environment of its own.

``made_by`` installs a release; ``history`` lets its scripts back up a sample site five times
(full, incremental, with nothing new, full after a pack, incremental) and notes what was there
each time.  The archives in ``formats`` were made so; they are never made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from collective.recipe.backup.tests.samples import Site

FORMATS = Path(__file__).parent / "formats"

RELEASES = {
    "6.0.0": (sys.executable, ("zc.buildout", "ZODB")),
    "4.2.0": ("python3.8", ("setuptools<60", "zc.buildout<3", "ZODB")),
}
"""For each release the Python that it needs, and what else must be installed."""

STAMPED: Mapping[str, str] = {}
NUMBERED = {"blob_timestamps": "false"}
TAR = {"archive_blob": "true"}
TAR_GZ = {"archive_blob": "true", "compress_blob": "true"}
DELTAS = {"archive_blob": "true", "incremental_blobs": "true"}
DELTAS_GZ = {**DELTAS, "compress_blob": "true"}
NUMBERED_TAR = {"archive_blob": "true", "blob_timestamps": "false"}

LAYOUTS: Mapping[str, Sequence[Mapping[str, str]]] = {
    "stamped": [STAMPED] * 4,
    "numbered": [NUMBERED] * 4,
    "copied": [{"use_rsync": "false"}] * 4,
    "tar": [TAR] * 4,
    "tar-gz": [TAR_GZ] * 4,
    "deltas": [DELTAS] * 4,
    "deltas-gz": [DELTAS_GZ] * 4,
    "numbered-tar": [NUMBERED_TAR] * 4,
    "mixed": [NUMBERED, NUMBERED_TAR, STAMPED, DELTAS],
    "only-blobs": [{"only_blobs": "true"}] * 4,
    "only-blobs-numbered": [{"only_blobs": "true", **NUMBERED}] * 4,
    "only-blobs-deltas": [{"only_blobs": "true", **DELTAS}] * 4,
}
"""The options of each of the backups but the one with nothing new."""


@dataclass(frozen=True)
class Release:
    """An installed release."""

    version: str
    environment: Path

    def make_scripts(self, site: Site, options: Mapping[str, str]) -> None:
        """Let buildout make the scripts of a part with *options*."""
        base = site.directory
        lines = ["[buildout]", "parts = backup", "offline = true", "newest = false", "[backup]"]
        lines += ["recipe = collective.recipe.backup", f"datafs = {site.filestorage}"]
        lines += [f"blob_storage = {site.blobstorage}", "keep = 9"]
        lines += [f"{name} = {value}" for name, value in options.items()]
        (base / "buildout.cfg").write_text("\n".join(lines) + "\n")
        (base / "bin").mkdir(exist_ok=True)
        repozo = base / "bin" / "repozo"
        if not repozo.exists():
            repozo.symlink_to(self.environment / "bin" / "repozo")
        self._run(base, str(self.environment / "bin" / "buildout"))

    def back_up(self, site: Site) -> None:
        """Let bin/backup run."""
        self._run(site.directory, str(site.directory / "bin" / "backup"))

    @staticmethod
    def _run(base: Path, *command: str) -> None:
        done = subprocess.run(command, cwd=base, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def made_by(version: str, directory: Path) -> Release:
    """Return a release, installed into *directory*; skip loudly where that cannot be."""
    python, others = RELEASES[version]
    # a shim of pyenv in PATH may stand for a Python that is not chosen
    found = next(map(str, _of_pyenv(python)), None) or shutil.which(python)
    if found is None:
        pytest.skip(f"{python}, for collective.recipe.backup {version}, is not installed")
    environment = directory / version
    pip = str(environment / "bin" / "pip")
    wanted = [f"collective.recipe.backup=={version}", *others]
    for command in ([found, "-m", "venv", str(environment)], [pip, "install", "-q", *wanted]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"collective.recipe.backup {version} is not installed: {done.stderr}")
    return Release(version, environment)


def _of_pyenv(python: str) -> list[Path]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    version = python.removeprefix("python")
    return sorted(root.glob(f"versions/{version}.*/bin/{python}"))


def history(release: Release, site: Site, layout: Sequence[Mapping[str, str]]) -> list[dict]:
    """Back up *site*; return what was there each time, see ``state``."""
    states = []
    for number, options in enumerate(layout):
        blobs = {"a": b"a%d" % number, f"b{number}": os.urandom(64) * 3}
        site.commit({"number": number}, blobs)
        if number == 2:
            site.pack()
        release.make_scripts(site, options)
        for _again in range(2 if number == 1 else 1):
            _next_second()
            release.back_up(site)
            states.append(state(site))
    return states


def _next_second() -> None:
    """Wait until no stamp is that of the run before, and no time of a file either."""
    time.sleep(1.02 - time.time() % 1)


def state(site: Site) -> dict[str, Any]:
    """Return digests of the filestorage and of each blob, and the moment."""
    return {
        "moment": datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        "filestorage": digest(site.filestorage),
        "blobs": blobs_of(site.blobstorage),
    }


def blobs_of(root: Path) -> dict[str, str]:
    """Return the digest of each blob below *root*."""
    return {str(path.relative_to(root)): digest(path) for path in sorted(root.rglob("*.blob"))}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keep(release: Release, layout: str, target: Path, scratch: Path) -> None:
    """Make an archive of backups as they lie on disk, and of what they are backups of."""
    site = Site(scratch / layout)
    states = history(release, site, LAYOUTS[layout])
    (site.directory / "states.json").write_text(json.dumps(states, indent=1))
    with tarfile.open(target, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.add(site.directory / "states.json", "states.json")
        for name in ("backups", "blobstoragebackups"):
            if (site.directory / "var" / name).exists():
                archive.add(site.directory / "var" / name, f"var/{name}")


def unpacked(path: Path, directory: Path) -> list[dict[str, Any]]:
    """Unpack an archive of ``formats`` to *directory*; return its states."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "xzf", path, "-C", directory], check=True)
    states = json.loads((directory / "states.json").read_text())
    assert isinstance(states, list)
    return states


if __name__ == "__main__":
    # VERSION ENVIRONMENT SCRATCH: make the archives that are not there yet
    made = Release(sys.argv[1], Path(sys.argv[2]))
    for name in LAYOUTS:
        kept = FORMATS / f"{made.version}-{name}.tar.gz"
        if not kept.exists():
            keep(made, name, kept, Path(sys.argv[3]))
