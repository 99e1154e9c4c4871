from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from collective.recipe.backup.errors import CommandFailed
from collective.recipe.backup.process import run, run_hook

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
    run_hook("pre_command", f'cd "{tmp_path}"\necho "$GIVEN $VERB" > out', {"VERB": "backup"})
    assert (tmp_path / "out").read_text() == "before backup\n"


def test_a_hook_fails_with_its_first_failing_line(tmp_path):
    with pytest.raises(CommandFailed) as caught:
        run_hook("pre_command", f"false\ntouch '{tmp_path}/reached'", {})
    assert str(caught.value) == "pre_command failed: exit status 1"
    assert "pre_command" in caught.value.hint
    assert not (tmp_path / "reached").exists()


def test_a_hook_that_was_killed_says_so():
    with pytest.raises(CommandFailed, match="post_command failed: ended by signal 9"):
        run_hook("post_command", "kill -9 $$", {})


def test_nothing_waits_for_input():
    run([sys.executable, "-c", "import sys; assert sys.stdin.read() == ''"], what="try")
    run_hook("pre_command", "! read line", {})
