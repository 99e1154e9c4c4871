"""Programs that back a site up to a bucket: ours, and restic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.keepers import PASSPHRASE, Command, configuration, paths_of
from benchmarks.states import States
from collective.recipe.backup.tests.servers import KEEPER, SECRET


@dataclass(frozen=True, kw_only=True)
class BucketKeeper:
    """A program that backs a site up to the bucket that has its *name*."""

    name: str
    directory: Path  # what it has on this machine
    call: Callable[[str], Command]  # its first words; given the endpoint
    make: Command
    back_up: Command
    restore: Command  # the last restore point, over what is live

    @property
    def cache(self) -> Path:
        """Where the host remembers what it knows of the repository."""
        return self.directory / "cache"


def ours(directory: Path, states: States) -> BucketKeeper:
    """Return this package, configured in *directory*."""
    made = configuration(directory, states, "s3://ours/benchmark")
    configured = ("--quiet", "--config", made)
    program = Path(sys.executable).with_name("sitebackup")
    return BucketKeeper(
        name="ours",
        directory=directory,
        call=lambda endpoint: ("env", *credentials(), f"AWS_ENDPOINT_URL={endpoint}", program),
        make=("repository", "init", *configured),
        back_up=("backup", *configured),
        restore=("restore", "--no-prompt", "--from", "repository", *configured),
    )


def of_restic(program: str, directory: Path, states: States) -> BucketKeeper:
    """Return restic, which is *program*, with its cache in *directory*."""

    def call(endpoint: str) -> Command:
        return (
            *("env", "-C", str(states.var), *credentials(), f"RESTIC_PASSWORD={PASSPHRASE}"),
            f"RESTIC_REPOSITORY=s3:{endpoint}/restic/benchmark",
            *(program, "--quiet", "--cache-dir", directory / "cache"),
        )

    return BucketKeeper(
        name="restic",
        directory=directory,
        call=call,
        make=("init",),
        back_up=("backup", *paths_of(states)),
        restore=("restore", "latest", "--target", "."),
    )


def credentials() -> Sequence[str]:
    """Return the lines of the environment that let a program use the server."""
    return (
        f"AWS_ACCESS_KEY_ID={KEEPER}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        "AWS_DEFAULT_REGION=us-east-1",
    )
