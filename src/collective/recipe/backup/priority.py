"""Which thread goes first where there are more of them than processors."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

_STEP = 10
"""Of niceness: as much as it takes to get a ninth of the time that another thread gets."""


def step_back() -> None:
    """Let this thread run when no other one of ours needs the processor, as far as that is known.

    For those that only compute, and have others beside them that wait for each of thousands
    of system calls.  Only Linux gives each thread a niceness of its own (sched(7)); elsewhere
    that of the whole process would change, so nothing does.
    """
    if sys.platform == "linux":
        this = threading.get_native_id()
        with suppress(OSError):  # a container may forbid it
            os.setpriority(os.PRIO_PROCESS, this, os.getpriority(os.PRIO_PROCESS, this) + _STEP)
