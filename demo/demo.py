"""Back up a site, lose it, restore it, and see whether anything is different.

Then the same with a repository: the site is packed, and lost with all its backups, and a new
machine gets it back.

Everything is real: a ZODB with blobs, a buildout run, the scripts that it generates.  It
all happens in demo/site, which stays for a look afterwards.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
SITE = HERE / "site"
DISK = SITE / "disk"
"""As if another disk was mounted there."""
MACHINE = SITE / "new-machine"
"""As if it was another machine."""
DAYS = 5
REPOSITORY = f"""\
eggs = collective.recipe.backup[repository]
repository = {DISK}/repository
repository_passphrase_file = ${{buildout:directory}}/passphrase
site_name = demo
"""

# An installed package has no tests, so the sample site of the tests is read from the tree.
_SAMPLES = HERE.parent / "src/collective/recipe/backup/tests/samples.py"
_spec = importlib.util.spec_from_file_location("samples", _SAMPLES)
_samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_samples)
Site = _samples.Site


def main() -> int:
    """Tell the story; return 0 if all that was lost came back."""
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir()
    DISK.mkdir()
    today = datetime.now(timezone.utc)
    site = Site(SITE, founded=today - timedelta(days=DAYS + 1))
    changes = work_of_a_day(random.Random(7))

    say(f"A site is used for {DAYS} days.")
    for day in range(DAYS, 0, -1):
        at_work(site, changes, today - timedelta(days=day))
    tell_size(site)

    say("Its buildout.cfg has a [backup] part, and buildout makes the scripts of it.")
    shutil.copy(HERE / "buildout.cfg", SITE)
    show((SITE / "buildout.cfg").read_text() + "\n")
    run(Path(sys.executable).with_name("buildout"), "-q")
    tell("bin/ has " + ", ".join(sorted(path.name for path in (SITE / "bin").iterdir())))

    say("The first backup takes everything.")
    run("bin/backup")

    say("People go on working.")
    at_work(site, changes)
    tell_size(site)

    say("The second backup takes what is new.")
    run("bin/backup")

    say("What can be restored?")
    run("bin/backup-list")

    say("Disaster: the database and all blobs are lost.")
    before = site.contents()
    site.lose()
    tell(f"{site.filestorage.relative_to(SITE)} exists: {site.filestorage.exists()}")
    tell(f"{site.blobstorage.relative_to(SITE)} exists: {site.blobstorage.exists()}")

    say("The restore brings them back.")
    run("bin/restore", "--no-prompt")

    say("Is it the same site?  Every object and every blob is loaded and compared.")
    if compare(before, site.contents()):
        return 1
    return with_a_repository(site, changes, today)


def with_a_repository(site: Site, changes: Iterator, today: datetime) -> int:
    """Tell the story of the repository; return the exit code."""
    say("Another disk gets an encrypted repository, which a few lines in buildout.cfg name.")
    (SITE / "passphrase").touch(mode=0o600)
    (SITE / "passphrase").write_text("six words that came by chance\n")
    with (SITE / "buildout.cfg").open("a") as file:
        file.write(REPOSITORY)
    show(REPOSITORY + "\n")
    run(Path(sys.executable).with_name("buildout"), "-q")
    run("bin/backup-repository", "init")

    say("From now on each backup goes there as well.  The first one takes everything.")
    run("bin/backup")

    say("The site is packed: what is older than two days goes, and every byte moves.")
    tell_size(site)
    site.pack(today - timedelta(days=2))
    tell_size(site)

    say("To the directory this is a new database.  The repository knows all of it already.")
    run("bin/backup")

    say("Disaster: the site is lost, and its backups with it.  Only the other disk is left.")
    before = site.contents()
    for each in SITE.iterdir():
        if each.is_dir() and each != DISK:
            shutil.rmtree(each)
    tell("there is still: " + ", ".join(path.name for path in SITE.iterdir() if path.is_dir()))

    say("A new machine has the configuration and the passphrase, and nothing else.")
    (MACHINE / "var" / "filestorage").mkdir(parents=True)
    for name in ("buildout.cfg", "passphrase"):
        shutil.copy(SITE / name, MACHINE)
    run(Path(sys.executable).with_name("buildout"), "-q", at=MACHINE)
    run("bin/restore", "--from", "repository", "--no-prompt", at=MACHINE)

    say("Is it the same site?")
    code = compare(before, Site(MACHINE).contents())
    if not code:
        print("\nHave a look around in demo/site.")
    return code


def work_of_a_day(random: random.Random) -> Iterator[tuple[dict[str, object], dict[str, bytes]]]:
    """Yield the values and the blobs that are set on one day after the other."""
    day = 0
    while True:
        day += 1
        texts = {f"page {number}": f"day {day}: {random.random()}" for number in range(day * 60)}
        images = {f"image {day}.{number}": random.randbytes(40_000) for number in range(6)}
        yield texts, images


def at_work(site: Site, changes: Iterator, end: datetime | None = None) -> None:
    """Commit a day's work in a dozen transactions, the last of them at *end* (None: now)."""
    values, blobs = next(changes)
    with site.opened():
        for number in range(12):
            site.commit(
                dict(list(values.items())[number::12]),
                dict(list(blobs.items())[number::12]),
                at=end and end - timedelta(minutes=15 * (11 - number)),
            )


def compare(before: dict[str, dict], after: dict[str, dict]) -> int:
    """Say what came back and what did not; return the exit code."""
    kinds = {
        "values": "objects",
        "blobs": "blobs",
        "records": "records of all transactions",
        "revisions": "blob files of all transactions",
    }
    different = 0
    for kind, words in kinds.items():
        keys = before[kind].keys() | after[kind].keys()
        missing = object()
        wrong = [
            key for key in keys if before[kind].get(key, missing) != after[kind].get(key, missing)
        ]
        tell(f"{len(keys) - len(wrong)} of {len(keys)} {words} are the same")
        different += len(wrong)
    if different or not before["values"] or not before["blobs"]:
        print(f"\nFAILED: {different} differences.  Please report this as a bug.")
        return 1
    print("\nNothing is missing, nothing is different.")
    return 0


def run(program: str | Path, *arguments: str, at: Path = SITE) -> None:
    """Run a program in the directory *at* of a site and show what it says."""
    shown = " ".join([f"bin/{Path(program).name}", *arguments])
    print(f"    $ {shown}")
    done = subprocess.run(
        [program if isinstance(program, Path) else at / program, *arguments],
        cwd=at,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    show(done.stdout)
    if done.returncode:
        print(f"\nFAILED: {shown} ended with exit code {done.returncode}.")
        sys.exit(1)


def say(text: str) -> None:
    """Begin a step of the story."""
    print(f"\n{text}\n")


def tell(text: str) -> None:
    """Tell something of the present step."""
    print(f"    {text}")


def show(text: str) -> None:
    """Show a file or an output."""
    for line in text.splitlines():
        print(f"    {line}".rstrip())


def tell_size(site: Site) -> None:
    """Tell how large the site is."""
    contents = site.contents()
    tell(
        f"It has {len(contents['values'])} objects and {len(contents['blobs'])} blobs"
        f" from {len(site.tids())} transactions, {site.size:,} bytes without the blobs."
    )


if __name__ == "__main__":
    sys.exit(main())
