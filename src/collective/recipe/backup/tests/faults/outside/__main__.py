"""Let every system call of the scripts fail, and say after which of them something is wrong.

``python -m collective.recipe.backup.tests.faults.outside --jobs 2`` is what ``make faults``
does.  It takes about an hour; with names of verbs it does only those.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

from collective.recipe.backup.tests.faults.outside.strace import Injection
from collective.recipe.backup.tests.faults.outside.verbs import VERBS, Trial

MISSED_AT_MOST = 20
"""Of so many injections one may find no call, since threads do not take turns."""
SHARE = 20
"""So many injections are handed to a process at a time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing is wrong after any fault, else 1."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--scratch", type=Path, help="the directory to work in")
    parser.add_argument("--part", default="", help="only faults whose words contain this")
    parser.add_argument("--changes", action="store_true", help="none of calls that only read")
    parser.add_argument("--reads", action="store_true", help="only those of calls that read")
    parser.add_argument("--sample", type=int, help="so many of each verb, by chance")
    parser.add_argument("--seed", type=int, default=0, help="of chance (%(default)s)")
    parser.add_argument("--list", action="store_true", help="show the faults, and do nothing")
    parser.add_argument("verbs", nargs="*", help=f"of {', '.join(VERBS)} (default: all)")
    options = parser.parse_args(arguments)
    # else the processes that work for this one would outlive it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    unknown = set(options.verbs) - VERBS.keys()
    if unknown:
        parser.error(f"no such verb: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="faults-", dir=options.scratch) as scratch:
        return _faults(Path(scratch), options)


def _faults(scratch: Path, options: argparse.Namespace) -> int:
    table = [("verb", "calls", "injections", "missed", "wrong")]
    wrong = 0
    for name in options.verbs or VERBS:
        trial = Trial(VERBS[name], scratch / name)
        found = trial.injections()
        calls = len({(each.call, each.when) for each in found})
        chosen = [each for each in found if options.part in str(each)]
        if options.changes or options.reads:
            chosen = [each for each in chosen if each.reads == options.reads]
        if options.sample is not None:
            chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
        if options.list:
            print(*chosen, sep="\n")
            continue
        strike = partial(strike_share, name, trial.world.founded)
        met, missed, failed = _strike_all(strike, chosen, scratch / name, options.jobs)
        table.append((name, str(calls), str(met), str(missed), str(failed)))
        wrong += failed or missed * MISSED_AT_MOST > len(chosen)
    for row in table:
        print("{:18} {:>8} {:>12} {:>8} {:>8}".format(*row))
    return 1 if wrong else 0


def _strike_all(
    strike: Callable[[Sequence[Injection], Path], list[str | None]],
    injections: Sequence[Injection],
    room: Path,
    jobs: int,
) -> tuple[int, int, int]:
    """Return how many *injections* met their call, how many missed it, and what was wrong."""
    shares = [injections[start : start + SHARE] for start in range(0, len(injections), SHARE)]
    rooms = [room.with_name(f"{room.name}-{number}") for number in range(len(shares))]
    met = missed = wrong = 0
    begun = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for said in pool.map(strike, shares, rooms):
            met += len(said) - said.count(None)
            missed += said.count(None)
            for each in filter(None, said):
                wrong += 1
                print(f"WRONG {each}", flush=True)
            seconds = time.monotonic() - begun
            print(f"{room.name}: {met + missed} of {len(injections)}, {seconds:.0f} s", flush=True)
    return met, missed, wrong


def strike_share(
    name: str, founded: datetime, injections: Sequence[Injection], room: Path
) -> list[str | None]:
    """Return what is wrong after each of the *injections*."""
    trial = Trial(VERBS[name], room, founded)
    return [trial.strike(each) for each in injections]


if __name__ == "__main__":
    sys.exit(main())
