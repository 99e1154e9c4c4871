"""Progress: a bar on a terminal, a line in a log, nothing with -q, and no cost."""

from __future__ import annotations

import io
import itertools
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from collective.recipe.backup import cli
from collective.recipe.backup.cli import bars, messages
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.bars import PhaseState, PhaseTelling, Rhythm, bar, progress_on
from collective.recipe.backup.cli.screen import Screen
from collective.recipe.backup.cli.verbs.storecheck import check_store_at
from collective.recipe.backup.errors import StoreUnreachable
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.stores.sftp import sftpsession
from collective.recipe.backup.tests.counting import calls
from collective.recipe.backup.tests.scripts import environment

QUICK = Rhythm(first=0.05, every=0.01)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal, and counts what is written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


def state(**more) -> PhaseState:
    return PhaseState(
        **{"title": "copying", "done": 25, "total": 100, "unit": "files", "rate": 5.0, **more}
    )


def test_a_bar_says_how_much_how_fast_and_how_long():
    line = bar(state(), 100)
    assert line == (
        "copying  25% [#######.......................] 25 files of 100 files, 5 files/s, 15 s left"
    )


@pytest.mark.parametrize("width", range(20, 130))
def test_a_bar_fits_into_any_width(width):
    for each in (state(), state(total=0), state(title="t" * 60), state(rate=0.0, unit="B")):
        assert len(bar(each, width)) <= width


def test_a_total_that_was_wrong_is_no_nonsense():
    line = bar(state(done=150), 100)
    assert "100%" in line
    assert "left" not in line
    assert "[" not in bar(state(total=0), 100)


def test_where_nothing_is_counted_only_the_title_is_shown(caplog):
    waiting = state(title="waiting for a store", done=0, total=0, rate=0.0)
    assert bar(waiting, 100) == "waiting for a store"
    with caplog.at_level(logging.INFO, "backup"):
        bars._log(waiting)
    assert caplog.messages == ["waiting for a store"]


def test_a_store_that_says_nothing_is_named_while_it_is_waited_for(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(bars, "ON_A_TERMINAL", QUICK)
    monkeypatch.setattr(sftpsession, "PATIENCE", sftpsession.SftpPatience(pauses=()))
    terminal, named = Terminal(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"sftp://user@127.0.0.1:{listening.getsockname()[1]}/store"

        class Watched(Screen):
            def show(self, line: str) -> None:
                super().show(line)
                if line == f"waiting for {url}":
                    named.set()

        def hang_up_once_it_is_named() -> None:
            connection, _address = listening.accept()
            with connection:
                named.wait(20)
                listening.close()  # who asks once more is refused

        server = threading.Thread(target=hang_up_once_it_is_named)
        server.start()
        with pytest.raises(StoreUnreachable):
            check_store_at(url, Answers(io.StringIO(), Watched(terminal), json=False))
        server.join()
    assert named.is_set()
    assert terminal.writes[-1] == "\r\x1b[K"


def test_no_title_writes_to_the_terminal_what_it_likes():
    assert "\x1b" not in bar(state(title="a\x1b[2Jb"), 100)


def test_a_short_phase_tells_no_progress():
    told = []
    with PhaseTelling(told.append, Rhythm(first=60, every=60)).phase("copying", 10) as advance:
        advance(10)
    assert told == [None]


def test_what_takes_long_is_told_until_it_is_over():
    told: list[PhaseState | None] = []
    with PhaseTelling(told.append, QUICK).phase("copying", 1000, "files") as advance:
        for _number in range(50):
            advance(10)
            time.sleep(0.005)
    *states, last = told
    assert last is None
    assert len(states) > 3
    assert [each.done for each in states] == sorted(each.done for each in states)
    assert states[-1].total == 1000
    assert 500 < states[-1].rate < 2500


def test_a_phase_that_fails_is_over_as_well():
    told = []
    with pytest.raises(OSError), PhaseTelling(told.append, QUICK).phase("copying", 10):
        raise OSError
    assert told == [None]
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_of_two_phases_at_a_time_the_older_one_is_told():
    told: list[PhaseState | None] = []
    progress = PhaseTelling(told.append, QUICK)
    with progress.phase("older", 10):
        with progress.phase("younger", 10):
            time.sleep(0.15)
        assert {each.title for each in told if each} == {"older"}
    with progress.phase("younger", 10), progress.phase("youngest", 10):
        time.sleep(0.15)
    assert {each.title for each in told if each} == {"older", "younger"}
    assert told[-1] is None


def test_any_thread_may_advance():
    told: list[PhaseState | None] = []
    with PhaseTelling(told.append, QUICK).phase("copying", 80_000, "files") as advance:

        def work() -> None:
            for _number in range(10_000):
                advance(1)

        threads = [threading.Thread(target=work) for _number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.15)
    assert told[-2] is not None
    assert told[-2].done == 80_000


def test_to_count_is_one_call_and_all_else_is_done_by_another_thread():
    with PhaseTelling(lambda _state: None, bars.ON_A_TERMINAL).phase("copying", 0) as advance:
        cost = calls(lambda: [advance(1) for _number in range(100_000)])
    assert cost < 100_000 * 3


def test_the_rate_is_that_of_the_last_seconds():
    rate = bars._Rate(0.0)
    for second in range(1, 31):
        assert rate.at(second, second * 100) == 100
    assert rate.at(35, 3000) < 100
    for second in range(36, 50):
        found = rate.at(second, 3000)
    assert found == 0


def test_quiet_is_silent_and_a_log_gets_lines(capsys, caplog):
    assert isinstance(cli._progress(Screen(Terminal()), quiet=True), Silent)
    caplog.set_level(logging.INFO, "backup")
    bars._log(state())
    assert caplog.messages == ["copying: 25%, 25 files of 100 files, 5 files/s, 15 s left"]


def test_a_terminal_gets_bars_and_what_is_none_a_line_each_half_minute(monkeypatch):
    monkeypatch.delenv("TERM", raising=False)
    assert progress_on(Screen(Terminal()))._rhythm == bars.ON_A_TERMINAL
    for stream in (io.StringIO(), None):
        assert progress_on(Screen(stream))._rhythm == bars.IN_A_LOG
    monkeypatch.setenv("TERM", "dumb")
    assert progress_on(Screen(Terminal()))._rhythm == bars.IN_A_LOG


# the screen


def shown(written: str) -> list[str]:
    """Return the lines that a terminal shows after *written*."""
    lines = [""]
    for part in re.findall(r"\r\x1b\[K|\x1b\[K|\r|\n|[^\r\n\x1b]+", written):
        if part == "\n":
            lines.append("")
        elif part == "\r\x1b[K":
            lines[-1] = ""
        elif part == "\x1b[K":
            pass  # what follows the cursor was overwritten by a line as long or longer below
        elif part == "\r":
            lines[-1] = ""
        else:
            lines[-1] += part
    return lines


def test_messages_stand_above_the_bar_and_nothing_is_left_of_it():
    terminal = Terminal()
    screen = Screen(terminal)
    messages.set_up(screen)
    logger = logging.getLogger("backup")
    screen.show("bar one")
    logger.info("a message")
    assert shown(terminal.getvalue()) == ["INFO: a message", "bar one"]
    screen.show("two")
    screen.show("")
    assert shown(terminal.getvalue()) == ["INFO: a message", ""]


def test_the_same_bar_is_not_drawn_twice_and_each_in_one_piece():
    terminal = Terminal()
    screen = Screen(terminal)
    for line in ("a", "a", "b"):
        screen.show(line)
    assert terminal.writes == ["\ra\x1b[K", "\rb\x1b[K"]


def test_a_stream_that_is_gone_ends_nothing():
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    for stream in (Gone(), None):
        screen = Screen(stream)
        screen.write("text\n")
        screen.show("bar")
    closed = io.StringIO()
    closed.close()
    Screen(closed).write("text\n")
    assert Screen(closed).changes is False


PROGRAM = """
import sys, time
from collective.recipe.backup.cli import bars, messages
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.screen import Screen
bars.ON_A_TERMINAL = bars.Rhythm(first=0.1, every=0.02)
screen = Screen(sys.stderr)
messages.set_up(screen)
answers = Answers(sys.stdout, screen, json=False)
with bars.progress_on(screen).phase("copying the blobs", 50, "files") as advance:
    for number in range(50):
        advance(1)
        time.sleep(0.01)
        if number % 20 == 10:
            answers.say(f"answer {number}")
messages.logger.info("done")
"""


def test_on_a_real_terminal_answers_and_messages_are_whole_lines():
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=child,
        stderr=child,
        stdin=subprocess.DEVNULL,
        env=environment(TERM="xterm", COLUMNS="90"),
    )
    os.close(child)
    written = b""
    for _number in itertools.count():
        try:
            piece = os.read(parent, 4096)
        except OSError:  # what Linux says at the end
            break
        if not piece:
            break
        written += piece
    os.close(parent)
    assert process.wait() == 0
    text = written.decode().replace("\r\n", "\n")
    assert "copying the blobs" in text
    assert [line for line in shown(text) if line] == [
        "answer 10",
        "answer 30",
        "INFO: done",
    ]


def beside(told, rhythm=QUICK):
    """Return a Progress that tells what becomes of it, and those of two works beside each other."""
    whole = PhaseTelling(told.append, rhythm)
    return whole, whole.beside("near"), whole.beside("far")


def until(told, is_so):
    for _attempt in range(2000):
        if any(is_so(each) for each in told if each is not None):
            return
        time.sleep(0.005)
    raise AssertionError(told[-3:])


def test_works_side_by_side_are_told_as_one_with_the_time_of_the_last():
    told: list[PhaseState | None] = []
    _whole, near, far = beside(told)
    with near.phase("reading", 1000) as quick:
        with far.phase("reading", 2000) as slow:
            quick(900)
            slow(100)
            until(told, lambda each: each.done == 1000 and each.total == 3000 and each.left)
            last = [each for each in told if each is not None][-1]
            assert last.title == "reading (near, far)"
            # far has 1900 left at a ninth of the speed, near 100
            assert last.left > 3 * (last.total - last.done) / last.rate
            slow(1900)
        until(told, lambda each: each.title == "reading (near)")
        last = [each for each in told if each is not None][-1]
        assert (last.done, last.total) == (2900, 3000)  # it does not go back
    assert told[-1] is None


def test_what_comes_after_a_break_counts_from_the_beginning():
    told: list[PhaseState | None] = []
    _whole, near, far = beside(told)
    with near.phase("reading", 1000) as advance:
        advance(1000)
    with far.phase("reading", 500) as advance:
        advance(10)
        until(told, lambda each: (each.title, each.done, each.total) == ("reading (far)", 10, 500))


def test_works_that_count_other_things_are_told_one_at_a_time():
    told: list[PhaseState | None] = []
    _whole, near, far = beside(told)
    with near.phase("storing the blobs", 0, "files") as blobs, far.phase("reading", 100) as log:
        blobs(3)
        log(50)
        until(told, lambda each: each.title == "storing the blobs (near)")
        states = [each for each in told if each is not None]
        assert {(each.unit, each.total, each.left) for each in states} == {("files", 0, None)}
    with near.phase("storing", 10) as first, far.phase("reading", 90) as second:
        first(1)
        second(1)
        until(told, lambda each: each.title == "storing (near), reading (far)" and each.done == 2)


def test_a_phase_of_nobody_is_told_alone_as_ever():
    told: list[PhaseState | None] = []
    whole, near, _far = beside(told)
    with whole.phase("restoring", 10) as first, near.phase("reading", 100) as second:
        first(1)
        second(50)
        until(told, lambda each: each.done == 1)
        states = [each for each in told if each is not None]
        assert {(each.title, each.total) for each in states} == {("restoring", 10)}
