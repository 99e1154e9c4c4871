"""A thread that computes lets those go first that wait for the disk."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from collective.recipe.backup.priority import step_back


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
def test_one_thread_steps_back_and_no_other() -> None:
    before = niceness()
    with ThreadPoolExecutor(1, initializer=step_back) as pool:
        assert pool.submit(niceness).result() == min(before + 10, 19)
        assert niceness() == before


def test_where_that_is_forbidden_it_goes_on_as_it_was(monkeypatch) -> None:
    def forbidden(*_which: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    with ThreadPoolExecutor(1, initializer=step_back) as pool:
        assert pool.submit(lambda: "done").result() == "done"


def test_elsewhere_the_process_stays_what_it_is(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    before = niceness()
    with ThreadPoolExecutor(1, initializer=step_back) as pool:
        assert pool.submit(niceness).result() == before
