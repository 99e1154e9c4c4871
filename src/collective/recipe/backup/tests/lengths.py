"""How long property tests look: at few inputs, the same ones each time, or at many by chance.

``make test`` gives the same result each time, wherever it runs.  ``make fuzz`` sets
BACKUP_TESTS_TIMES, and each property test gets that many times its examples, at random.
"""

from __future__ import annotations

import os

TIMES = int(os.environ.get("BACKUP_TESTS_TIMES", "0"))
"""0: few examples, which do not depend on chance."""

USUAL = 100
"""Examples of a property test that does not say how many."""


def examples(few: int = USUAL) -> int:
    """Return how many examples a property test looks at, for which a *few* are enough."""
    return few * max(1, TIMES)
