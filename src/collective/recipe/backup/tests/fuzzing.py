"""Property tests at length: round after round at random, until the time is over or one fails.

``python -m collective.recipe.backup.tests.fuzzing --minutes 60`` is what ``make fuzz`` does.
Each round has a seed, and the same seed gives the same examples again.  What Hypothesis found
once is in ``.hypothesis``, and comes first in the next round.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if no round failed, else what pytest returned."""
    parser = argparse.ArgumentParser(prog="fuzzing", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="(%(default)s)")
    parser.add_argument("--times", type=int, default=3, help="as many examples (%(default)s)")
    parser.add_argument("--jobs", default="2", help="processes (%(default)s)")
    parser.add_argument("--seed", type=int, help="of one round, which is all there is then")
    parser.add_argument("paths", nargs="*", default=[str(TESTS)], help="of tests")
    options = parser.parse_args(arguments)
    environment = {**os.environ, "BACKUP_TESTS_TIMES": str(options.times)}
    for seed in [options.seed] if options.seed is not None else seeds(options.minutes):
        print(f"seed {seed}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "hypothesis"]
        command += ["-n", options.jobs, f"--hypothesis-seed={seed}", *options.paths]
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            print(f"once more: --times {options.times} --seed {seed}", flush=True)
            return done.returncode
    return 0


def seeds(minutes: float) -> Iterator[int]:
    """Yield a seed for each round that begins before so many *minutes* are over."""
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        yield secrets.randbelow(1 << 32)


if __name__ == "__main__":
    sys.exit(main())
