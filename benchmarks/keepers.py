"""Who keeps restore points in an encrypted repository, and how each is called.

Each has a directory of its own, with ``repository`` in it, and ``cache``: all that the host
remembers.  borg is that of ``pip``, or else the one that is installed; restic is the one that
is installed.  What cannot be had is left out of the table.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.states import States
from benchmarks.works import Counting

BORG = "borgbackup>=1.4,<2"
PASSPHRASE = "correct horse battery staple"  # noqa: S105  of a site that is made up
_LATEST = "a-day"
"""What the archive of borg is called that restores are of."""

Command = tuple[str | Path, ...]


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """A program that backs a site up to a repository.

    All commands but *make* take it that the repository is there; *back_up* needs the name of
    the restore point as its last argument where *named*.
    """

    name: str
    directory: Path
    make: Command
    back_up: Command
    restore: Command  # the last restore point, over what is live
    verify: Command
    named: bool = False
    counting: Counting | None = None  # as back_up; None: it cannot

    @property
    def repository(self) -> Path:
        """Where the repository lies."""
        return self.directory / "repository"

    @property
    def cache(self) -> Path:
        """Where the host remembers what it knows of it."""
        return self.directory / "cache"

    def backing_up(self, archive: str) -> Command:
        """Return the command for a backup; *archive* names it where names are needed."""
        return (*self.back_up, f"::{archive}") if self.named else self.back_up


def keepers(scratch: Path, states: States) -> tuple[list[Keeper], list[str]]:
    """Return those that can be had, ours first, and sentences: what the others are, and lack."""
    found, told = [_ours(scratch / "keepers" / "ours", states)], []
    borg = _borg(scratch)
    if borg is None:
        told.append("borg is not here, and pip could not install it: it is left out.")
    else:
        told.append(f"borg is {_version(borg, '--version')}.")
        for compression in ("lz4", "zstd,3"):
            directory = scratch / "keepers" / f"borg-{compression.replace(',', '-')}"
            found.append(_of_borg(borg, directory, states, compression))
    restic = shutil.which("restic")
    if restic is None:
        told.append("restic is not here: it is left out.")
    else:
        told.append(f"restic is {_version(Path(restic), 'version')}.")
        found.append(_of_restic(restic, scratch / "keepers" / "restic", states))
    return found, told


def configuration(directory: Path, states: States, repository: str) -> Path:
    """Return the configuration of ours, made in *directory*: a repository, encrypted."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "sitebackup.toml"
    settings = {
        "datafs": states.filestorage,
        "blob_storage": states.blobstorage,
        "locationprefix": directory / "cache",
        "location": "none",
        "repository": repository,
        "repository_passphrase_file": directory / "passphrase",
        "site_name": "benchmark",
    }
    lines = [f"{name} = {json.dumps(str(value))}\n" for name, value in settings.items()]
    path.write_text("".join(lines))
    (directory / "passphrase").write_text(f"{PASSPHRASE}\n")
    (directory / "passphrase").chmod(0o600)
    return path


def _ours(directory: Path, states: States) -> Keeper:
    made = configuration(directory, states, str(directory / "repository"))
    configured = ("--quiet", "--config", made)
    program = Path(sys.executable).with_name("sitebackup")
    back_up = ("backup", *configured)
    operations = directory / "operations"
    counted = (sys.executable, "-m", "benchmarks.counting", operations)
    return Keeper(
        name="ours",
        directory=directory,
        make=(program, "repository", "init", *configured),
        back_up=(program, *back_up),
        counting=Counting(command=(*counted, *back_up), number=lambda: int(operations.read_text())),
        restore=(program, "restore", "--no-prompt", "--from", "repository", *configured),
        verify=(program, "verify", "--from", "repository", *configured),
    )


def _of_borg(program: Path, directory: Path, states: States, compression: str) -> Keeper:
    environment = (
        *("env", "-C", states.var, f"BORG_PASSPHRASE={PASSPHRASE}"),
        f"BORG_REPO={directory / 'repository'}",
        f"BORG_BASE_DIR={directory / 'cache'}",
    )
    borg = (*environment, program)
    # borg wants the archive before the paths
    create = 'archive=$3; exec "$1" create --compression "$2" "$archive" ' + " ".join(
        paths_of(states)
    )
    return Keeper(
        name=f"borg {compression}",
        directory=directory,
        make=(*borg, "init", "--encryption", "repokey-blake2"),
        back_up=(*environment, "sh", "-c", create, "sh", program, compression),
        named=True,
        restore=(*borg, "extract", f"::{_LATEST}"),
        verify=(*borg, "check", "--verify-data"),
    )


def _of_restic(program: str, directory: Path, states: States) -> Keeper:
    restic = (
        *("env", "-C", states.var, f"RESTIC_PASSWORD={PASSPHRASE}"),
        f"RESTIC_REPOSITORY={directory / 'repository'}",
        *(program, "--quiet", "--cache-dir", directory / "cache"),
    )
    return Keeper(
        name="restic",
        directory=directory,
        make=(*restic, "init"),
        back_up=(*restic, "backup", *paths_of(states)),
        restore=(*restic, "restore", "latest", "--target", "."),
        verify=(*restic, "check", "--read-data"),
    )


def paths_of(states: States) -> Sequence[str]:
    """Return what is backed up, relative to the directory of the live site."""
    return [str(path.relative_to(states.var)) for path in (states.filestorage, states.blobstorage)]


def _borg(scratch: Path) -> Path | None:
    """Return the program borg; None: there is none."""
    environment = scratch / "borg"
    program = environment / "bin" / "borg"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        # it is compiled, which needs the headers of several libraries
        subprocess.run(
            [environment / "bin" / "python", "-m", "pip", "install", "--quiet", BORG],
            stderr=subprocess.DEVNULL,
            check=False,
        )
    installed = shutil.which("borg")
    return program if program.exists() else Path(installed) if installed else None


def _version(program: Path, argument: str) -> str:
    done = subprocess.run([program, argument], stdout=subprocess.PIPE, text=True, check=True)
    return " ".join(done.stdout.split()[1:2])


def copies_of(keeper: Keeper) -> Iterator[Path]:
    """Yield the directories that ``Moments`` has made beside that of *keeper*."""
    yield from keeper.directory.parent.glob(f"{keeper.directory.name} *")
