"""The command: see the package."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks import buckets, contestants
from benchmarks.keepers import keepers
from benchmarks.measuring import Trash, compile_ours
from benchmarks.repositories import RepositoryWorks
from benchmarks.small import SmallBlobs
from benchmarks.states import made
from benchmarks.tables import is_reached, table
from benchmarks.works import Plan, Works


def main() -> int:
    """Measure, print the tables, and return 0 if all goals were reached."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure this package against others."
    )
    parser.add_argument(
        "--scratch",
        type=Path,
        required=True,
        metavar="DIRECTORY",
        help="where to work: about twenty times the size of the site",
    )
    parser.add_argument("--size", type=int, default=1000, help="MB of Data.fs (%(default)s)")
    parser.add_argument("--blobs", type=int, default=40_000, help="number of blobs (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="WORK", help="patterns, such as 'site-*'"
    )
    parser.add_argument(
        "--calls", action="store_true", help="count system calls as well, with strace"
    )
    parser.add_argument(
        "--clean", action="store_true", help="remove the scratch directory in the end"
    )
    namespace = parser.parse_args()
    scratch = namespace.scratch.resolve()
    compile_ours()
    states = made(scratch, namespace.size, namespace.blobs, _tell)
    trash = Trash(scratch / "trash")
    for each in (states.trash, trash):
        each.empty()
    (scratch / "logs").mkdir(exist_ok=True)
    plan = Plan(
        only=namespace.only,
        rounds=namespace.rounds,
        calls=namespace.calls,
        logs=scratch / "logs",
        tell=_tell,
    )
    works = Works(scratch, states)
    ours, peer = contestants.ours(scratch, states), contestants.peer(scratch, states)
    small = SmallBlobs(contestants=(ours, peer), trash=trash)
    found, told = keepers(scratch, states)
    repositories = RepositoryWorks(found, states, Trash(scratch / "keepers" / "trash"))
    reached = True
    for title, planned in (
        ("The filestorage alone", works.filestorage(ours, contestants.repozo(scratch))),
        ("Filestorage and blobs", works.site(ours, peer)),
        ("Small blobs alone", small.works()),
        ("Encrypted repositories", repositories.works() if len(found) > 1 else ()),
    ):
        rows = list(plan.carry_out(planned))
        if rows:
            print(table(title, rows, calls=namespace.calls), flush=True)
        reached = reached and all(map(is_reached, rows))
    rows = buckets.measured(scratch, states, plan)
    if rows:
        print(table(buckets.TITLE, rows, calls=namespace.calls), flush=True)
    reached = reached and all(map(is_reached, rows))
    print("\n".join(told))
    for each in (states.trash, trash):
        each.empty()
    if namespace.clean:
        shutil.rmtree(scratch)
    return 0 if reached else 1


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
