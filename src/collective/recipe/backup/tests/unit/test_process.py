from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from collective.recipe.backup import process
from collective.recipe.backup.errors import CommandFailed
from collective.recipe.backup.process import KEPT, birth_of, is_running, run, run_hook
from collective.recipe.backup.tests.childprocesses import none_left
from collective.recipe.backup.times import monotonic

ODD = "a b'c\"d$(touch x)`e`\nf\\é*;&|"


def test_a_program_gets_its_arguments_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "import os, sys; open(os.fsencode(sys.argv[1]), 'w').write(ascii(sys.argv[2:]))"
    run(
        [
            sys.executable,
            "-c",
            code,
            tmp_path / "out",
            ODD,
            b"\xff".decode("utf-8", "surrogateescape"),
        ],
        what="try",
    )
    assert Path("out").read_text() == ascii([ODD, "\udcff"])
    assert os.listdir() == ["out"]


def test_a_program_that_fails_is_an_error_with_its_status():
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "raise SystemExit(3)"], what="copy the blobs")
    assert caught.value.what == "copy the blobs: exit status 3"
    assert caught.value.where.startswith(sys.executable)
    assert caught.value.hint == "what it said stands above"


def test_what_can_be_done_about_a_status_is_the_hint():
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "raise SystemExit(3)"], what="copy", hints={3: "do it again"})
    assert caught.value.hint == "do it again"


def test_a_program_that_was_killed_is_an_error_with_its_signal():
    code = "import os; os.kill(os.getpid(), 15)"
    with pytest.raises(CommandFailed, match="ended by signal 15"):
        run([sys.executable, "-c", code], what="copy the blobs")


def test_a_program_that_is_not_there_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(CommandFailed) as caught:
        run([tmp_path / "rsync"], what="copy the blobs")
    assert str(tmp_path / "rsync") in str(caught.value)
    assert "PATH" in caught.value.hint


def test_answers_stay_alone_on_stdout(capfd):
    run([sys.executable, "-c", "print('chatter')"], what="try")
    run_hook("pre_command", "echo more", {})
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == "chatter\nmore\n"


def test_a_hook_may_have_several_lines_and_gets_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GIVEN", "before")
    command = f'cd "{tmp_path}"\necho "$GIVEN $VERB" > out'
    run_hook("pre_command", command, {"VERB": "backup"}).check()
    assert (tmp_path / "out").read_text() == "before backup\n"


def test_a_hook_fails_with_its_first_failing_line(tmp_path):
    with pytest.raises(CommandFailed) as caught:
        run_hook("pre_command", f"false\ntouch '{tmp_path}/reached'", {}).check()
    assert str(caught.value) == "pre_command failed: exit status 1"
    assert "pre_command" in caught.value.hint
    assert not (tmp_path / "reached").exists()


def test_a_hook_that_was_killed_says_so():
    with pytest.raises(CommandFailed, match="post_command failed: ended by signal 9"):
        run_hook("post_command", "kill -9 $$", {}).check()


def test_nothing_waits_for_input():
    run([sys.executable, "-c", "import sys; assert sys.stdin.read() == ''"], what="try")
    run_hook("pre_command", "! read line", {}).check()


def test_what_a_hook_says_is_passed_through_as_it_comes_and_kept(capfd):
    code = f"{sys.executable} -c 'import os; os.write(1, bytes([255, 10])); os.write(2, b\"two\")'"
    ended = run_hook("pre_command", f"echo one; {code}", {})
    assert ended == ("pre_command", 0, "one\n\ufffd\ntwo")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("one\n")
    assert captured.err.endswith("two")


def test_of_what_a_hook_says_the_end_is_kept(capfd):
    command = f'{sys.executable} -c \'print("x" * 10**6); print("the end")\''
    ended = run_hook("post_command", command, {})
    assert ended.output.endswith("x\nthe end\n")
    assert len(ended.output) == KEPT
    assert len(capfd.readouterr().err) == 10**6 + len("\nthe end\n")


def test_a_program_that_a_hook_leaves_running_holds_nobody_up(caplog):
    caplog.set_level("WARNING", "backup")
    logger_propagates = pytest.MonkeyPatch()
    logger_propagates.setattr("collective.recipe.backup.process.logger.propagate", True)
    began = monotonic()
    ended = run_hook("post_command", "sleep 30 & echo $!", {})
    logger_propagates.undo()
    assert monotonic() - began < 15
    os.kill(int(ended.output), 15)
    # more than one handler may listen to the logger
    assert set(caplog.messages) == {
        "post_command left a process running that keeps its output open: redirect that output to "
        "a file"
    }


def test_a_process_is_running_until_it_has_ended():
    assert is_running(os.getpid())
    assert is_running(1)
    gone = run_hook("post_command", "echo $$", {})
    assert not is_running(int(gone.output))
    assert not is_running(2**70)
    assert is_running(os.getpid(), birth_of(os.getpid()))
    assert not is_running(os.getpid(), "another boot 17")
    assert birth_of(2**70) == ""


ECHO = """\\
import sys
def main():
    if sys.stdin.buffer.read() == b"die":
        sys.exit(1)
    sys.stdout.buffer.write(b"heard")
"""


@pytest.fixture
def echo(tmp_path, monkeypatch):
    """The name of a module that answers."""
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "echo.py").write_text(ECHO)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a b"), *sys.path])
    return "echo"


class TestComputing:
    def test_a_second_process_answers_what_it_is_told(self, echo):
        with process.computing(echo, b"say") as answer:
            assert answer.read() == b"heard"

    def test_a_process_that_fails_has_no_answer(self, echo):
        with process.computing(echo, b"die") as answer:
            assert answer.read() == b""

    def test_a_module_that_is_not_there_has_no_answer(self, echo, capfd):
        with process.computing("nowhere", b"x" * 10**7) as answer:
            assert answer.read() == b""
        assert capfd.readouterr() == ("", "")

    def test_a_process_that_cannot_be_started_has_no_answer(self, echo, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/nonexistent")
        with process.computing(echo, b"say") as answer:
            assert answer is None

    def test_a_caller_that_does_not_wait_leaves_no_process_running(self, tmp_path, monkeypatch):
        (tmp_path / "endless.py").write_text("import time\ndef main():\n    time.sleep(1000)\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        before = monotonic()
        raises = pytest.raises(KeyboardInterrupt)
        with none_left(), raises, process.computing("endless", b""):
            raise KeyboardInterrupt
        assert monotonic() - before < 100

    @pytest.mark.parametrize(("processors", "can"), [({0}, False), ({0, 5}, True)])
    def test_one_processor_is_not_enough(self, monkeypatch, processors, can):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _process: processors)
        assert process.can_compute() is can


FILLING = """
import os, sys
def main():
    for line in sys.stdin.buffer:
        open(line.strip(), "x").close()
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


@pytest.fixture
def filling(tmp_path, monkeypatch):
    """The name of a module that makes files in its working directory."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "filling.py").write_text(FILLING)
    (tmp_path / "where").mkdir()
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "modules"), *sys.path])
    return "filling"


class TestHelping:
    def test_a_helper_fills_a_directory_and_says_so(self, filling, tmp_path):
        with none_left(), process.helping(filling, tmp_path / "where") as helper:
            for name in (b"one\n", b"two\n"):
                helper.asked.write(name)
                helper.asked.flush()
                assert helper.answers.readline() == name
        assert sorted(os.listdir(tmp_path / "where")) == ["one", "two"]

    def test_nothing_is_imported_from_where_it_works(self, filling, tmp_path):
        (tmp_path / "where" / "filling.py").write_text("def main():\n    print('strange')\n")
        with process.helping(filling, tmp_path / "where") as helper:
            helper.asked.close()
            assert helper.answers.read() == b""

    def test_once_it_was_ended_it_does_nothing_more(self, filling, tmp_path):
        with process.helping(filling, tmp_path / "where") as helper:
            helper.end()
            with pytest.raises(BrokenPipeError):
                helper.asked.write(b"one\n" * 10**6)
            assert helper.answers.read() == b""
        assert os.listdir(tmp_path / "where") == []

    def test_a_program_that_cannot_be_started_gives_none(self, filling, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/nonexistent")
        with process.helping(filling, tmp_path / "where") as helper:
            assert helper is None
