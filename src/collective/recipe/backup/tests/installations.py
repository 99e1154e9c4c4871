"""What somebody gets who installs the wheel, on this machine and elsewhere.

    python -m collective.recipe.backup.tests.installations try WHEEL PYTHON ...
    python -m collective.recipe.backup.tests.installations wheels

``try`` installs the wheel for each of these interpreters into an empty environment, from
wheels alone, so that no compiler is needed.  There it asks the doctor, backs up a sample
site, lists, loses the site, restores it and compares.  A warning of Python is a failure.
``wheels`` asks the package index which dependencies have wheels elsewhere.

Only the standard library is imported here: an interpreter that is tried has nothing else.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[5]
SAMPLES = Path(__file__).with_name("samples.py")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
MACHINES = ("x86_64", "aarch64")
EXTRAS = ("browse", "open", "repository", "s3", "s3-versions", "sftp")
"""Those for users; the others are for those who work on the project."""
LIBRARIES = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 37)))
"""Names of C libraries in wheels; the newest is that of Debian 12, 2.36."""

STORY = """
import importlib.util, json, pathlib, sys
spec = importlib.util.spec_from_file_location("samples", sys.argv[1])
samples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(samples)
site = samples.Site(pathlib.Path("site"))
if sys.argv[2] == "make":
    site.commit({"front page": "welcome"}, {"logo": b"a picture"})
if sys.argv[2] == "lose":
    site.lose()
else:
    print(repr(site.contents()))
"""


def main(arguments: list[str]) -> int:
    """Do one of the two; return 1 if an installation failed, else 0."""
    parser = argparse.ArgumentParser(description="Try the wheel as a newcomer does.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    tried = verbs.add_parser("try")
    tried.add_argument("wheel", type=Path)
    tried.add_argument("python", nargs="+")
    verbs.add_parser("wheels")
    args = parser.parse_args(arguments)
    if args.verb == "wheels":
        tell_wheels()
        return 0
    return max(try_one(args.wheel.resolve(), python) for python in args.python)


def try_one(wheel: Path, python: str) -> int:
    """Install and use *wheel* with the interpreter *python*; return 1 if that fails."""
    with tempfile.TemporaryDirectory(prefix="installation-") as directory:
        try:
            print(f"{use(wheel, python, Path(directory))}: installed, backed up and restored")
        except Failed as failed:
            print(f"{python}: {failed}", file=sys.stderr)
            return 1
    return 0


class Failed(Exception):
    """A command that ended with an error or a warning; its text is what it said."""


def use(wheel: Path, python: str, directory: Path) -> str:
    """Return the version of *python*, with which *wheel* was installed and used."""
    run(directory, python, "-m", "venv", "venv")
    bin_ = directory / "venv" / "bin"
    pip = [str(bin_ / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(directory, *pip, "install", "--only-binary=:all:", f"{wheel}[repository]", warned=True)

    def story(step: str) -> str:
        # ZODB may warn: what is tried is not the sample
        sample = ["-W", "ignore", "-c", STORY, str(SAMPLES), step]
        return run(directory, str(bin_ / "python"), *sample)

    before = story("make")
    site = directory / "site"
    (directory / "passphrase").write_text("six words nobody else would guess\n", encoding="ascii")
    (directory / "passphrase").chmod(0o600)
    (site / "sitebackup.toml").write_text(
        f'repository = "{directory}/repository"\n'
        f'repository_passphrase_file = "{directory}/passphrase"\n'
        'site_name = "sample"\n',
        encoding="utf-8",
    )
    command = str(bin_ / "sitebackup")
    run(site, command, "repository", "init")
    for places in ([], ["--from", "repository"]):
        run(site, command, "doctor")
        run(site, command, "backup")
        listed = run(site, command, "list")
        if "whole" not in listed:
            raise Failed(f"the list has no restore point that is whole:\n{listed}")
        story("lose")
        run(site, command, "restore", "--no-prompt", *places)
        after = story("look")
        if after != before:
            raise Failed(f"something else was restored:\n{before}{after}")
    return run(directory, str(bin_ / "python"), "--version").strip()


def run(directory: Path, *command: str, warned: bool = False) -> str:
    """Return what a command prints; one that warns fails, unless it may be *warned*."""
    compiler = {name: "/bin/false" for name in ("CC", "CXX")}
    ended = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **compiler, "PYTHONWARNINGS": "default"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"{' '.join(command)[:300]} (exit code {ended.returncode})\n{ended.stdout}{ended.stderr}"
    if ended.returncode or (re.search(r"\w+Warning: ", ended.stderr) and not warned):
        raise Failed(said)
    return ended.stdout


def tell_wheels() -> None:
    """Print for each machine and interpreter which dependencies have no wheel."""
    needed = sorted({each for extra in requirements().values() for each in extra})
    for machine in MACHINES:
        for python in PYTHONS:
            without = lacking(needed, machine, python)
            words = f"no wheel of {', '.join(without)}" if without else "all have wheels"
            print(f"{machine} {python}: {words}", flush=True)


def requirements() -> dict[str, list[str]]:
    """Return what is needed without extras, under "", and for each of them."""
    setup = ConfigParser(interpolation=None)
    setup.read(PROJECT / "setup.cfg", encoding="utf-8")

    def lines(text: str) -> list[str]:
        return [line.split(";")[0].strip() for line in text.strip().splitlines()]

    extras = {extra: lines(setup["options.extras_require"][extra]) for extra in EXTRAS}
    return {"": lines(setup["options"]["install_requires"]), **extras}


def lacking(needed: list[str], machine: str, python: str) -> list[str]:
    """Return which distributions pip does not find as wheels for *machine* and *python*."""
    if refusal(needed, machine, python) is None:
        return []
    without: set[str] = set()
    for requirement in needed:
        said = refusal([requirement], machine, python)
        if said is not None:
            missing = re.findall(r"No matching distribution found for ([\w.-]+)", said)
            without |= set(missing or [requirement])
    return sorted(without)


def refusal(needed: list[str], machine: str, python: str) -> str | None:
    """Return what pip says if it cannot install all that is *needed* from wheels, else None."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--dry-run", "--ignore-installed", "--target=unused", "--only-binary=:all:"),
            *(f"--python-version={python}", "--implementation=cp"),
            *(f"--platform={library}_{machine}" for library in LIBRARIES),
            *needed,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stderr if ended.returncode else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
