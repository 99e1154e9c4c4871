"""The command line: what may be typed, and that nothing but words and a code comes out."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.cli import main, signals
from collective.recipe.backup.cli.arguments import HelpGiven, parse, parser_of
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.config import SNAPSHOT, STANDARD
from collective.recipe.backup.errors import DONE, UsageError
from collective.recipe.backup.operations import listing
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import Mark, Script, environment, running
from collective.recipe.backup.times import stamp, utcnow

SCRIPT = """
import sys
from collective.recipe.backup.cli import main
sys.exit(main(*sys.argv[1:4], sys.argv[4:]))
"""
ANSWERING = sorted({"list", "verify", "rehearse", "prune"})

each_verb = pytest.mark.parametrize("verb", sorted(VERBS))


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with one restore point."""
    site.commit({"page": 1}, {"file": b"data"})
    operated = Operated(site)
    operated.now = utcnow() - timedelta(days=1)
    operated.backup()
    return operated


pytestmark = pytest.mark.usefixtures("command")


def called(operated: Operated, verb: str, *arguments: str) -> int:
    return main(verb, "standard", operated.config_path, arguments)


def command(operated: Operated, verb: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT, verb, "standard", str(operated.config_path), *arguments]


@pytest.mark.parametrize(
    ("destination", "arguments", "options", "why"),
    [
        (STANDARD, [], {}, "there is no backup yet"),
        (STANDARD, ["--full"], {}, "a full backup was asked for"),
        (STANDARD, [], {"full": True}, "the option full is set"),
        (SNAPSHOT, [], {}, "a snapshot is always full"),
        (SNAPSHOT, ["--full"], {}, "a full backup was asked for"),
    ],
)
def test_a_full_backup_says_why_it_is_one(site, capsys, destination, arguments, options, why):
    operated = Operated(site, **options)
    assert main("backup", destination, operated.config_path, arguments) == DONE
    assert f" ({why});" in capsys.readouterr().err


# what may be typed


@each_verb
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_explains_and_ends_with_0(operated, verb, flag, capsys):
    assert called(operated, verb, flag) == DONE
    out = capsys.readouterr().out
    assert VERBS[verb].description.splitlines()[0][:30] in out
    assert "examples:" in out
    assert "exit codes:" in out
    assert all(f"  {code}  " in out for code in (0, 1, 2, 3, 4, 5, 7, 130))


@each_verb
def test_each_example_can_be_typed(verb):
    for arguments, meaning in VERBS[verb].examples:
        own = arguments.partition(" | ")[0]  # the rest is up to another program
        assert not parse(VERBS[verb], shlex.split(own)).ignored
        assert meaning


@each_verb
def test_no_line_of_help_is_wider_than_a_page(verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = parser_of(VERBS[verb], "backup-rehearse").format_help()
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", ["backup", "fullbackup", "nightly-verify", "my list"])
def test_a_script_goes_by_its_own_name(monkeypatch, name):
    monkeypatch.setattr(sys, "argv", [f"/srv/a site/bin/{name}"])
    with pytest.raises(HelpGiven) as given:
        parse(VERBS["backup"], ["--help"])
    assert given.value.text.startswith(f"usage: {name} [-h]")
    assert f"  {name} --full" in given.value.text


@pytest.mark.parametrize(
    ("verb", "typed", "meant"),
    [
        ("backup", "--fulll", "--full"),
        ("backup", "--follw=3", "--follow"),
        ("backup", "--quite", "--quiet"),
        ("restore", "--dryrun", "--dry-run"),
        ("restore", "--no-prom", "--no-prompt"),
        ("restore", "--only_blobs", "--only-blobs"),
        ("list", "--jsn", "--json"),
        ("verify", "--dept", "--depth"),
        ("backup", "--ful", "--full"),
        ("backup", "--foll", "--follow"),
        ("backup", "--dbeug", "--debug"),
        ("restore", "--only-file", "--only-filestorage"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest(verb, typed, meant):
    with pytest.raises(UsageError) as caught:
        parse(VERBS[verb], [typed])
    assert repr(typed) in str(caught.value)
    assert f"do you mean {meant}?" in caught.value.hint


@pytest.mark.parametrize("typed", ["--foo", "--fluffy", "--every-day", "--v", "-v"])
def test_an_option_that_is_hardly_like_another_gets_no_suggestion(typed):
    with pytest.raises(UsageError) as caught:
        parse(VERBS["backup"], [typed], "backup")
    assert caught.value.hint == "backup --help lists what can be typed"


def test_an_option_that_is_like_no_other_gets_no_suggestion():
    with pytest.raises(UsageError) as caught:
        parse(VERBS["backup"], ["--zzz", "-x"])
    assert str(caught.value) == "there is no option '--zzz', '-x'"
    assert "do you mean" not in caught.value.hint


@pytest.mark.parametrize("cluster", [["-qn"], ["-nq"], ["-q", "-n"], ["--quiet", "--no-prompt"]])
@pytest.mark.parametrize("first", [True, False])
def test_short_flags_cluster_and_the_date_comes_anywhere(cluster, first):
    date = ["2026-03-01"]
    found = parse(VERBS["restore"], date + cluster if first else cluster + date)
    assert (found.quiet, found.no_prompt, found.moment) == (True, True, ["2026-03-01"])


def test_a_date_may_stand_between_flags():
    found = parse(VERBS["restore"], ["-q", "--to", "/x", "2026-03-01", "--dry-run", "-n"])
    assert (found.moment, found.dry_run, str(found.to)) == (["2026-03-01"], True, "/x")


def test_a_word_too_many_is_an_error():
    with pytest.raises(UsageError, match=r"too many arguments: 'twelve'"):
        parse(VERBS["prune"], ["twelve"])
    with pytest.raises(UsageError, match="too many"):
        parse(VERBS["status"], ["all"])


def test_where_nobody_answers_the_error_begins_a_line(operated):
    done = subprocess.run(
        command(operated, "restore"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:-1] == [
        "Are you sure? (yes/no) [no]: ",
        "ERROR: there was no answer, so nothing was done",
    ]


def test_a_program_that_never_says_yes_or_no_is_not_asked_for_ever(operated):
    assert called(operated, "backup", "-q") == DONE
    done = subprocess.run(
        command(operated, "restore"),
        input="y\n" * 1000,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("Are you sure?") == 3
    assert "ERROR: 3 answers were neither yes nor no, so nothing was done\n" in done.stderr
    assert done.stderr.count("Type yes, the whole word, to go on") == 3


@pytest.mark.parametrize("answer", ["n", "No", ""])
def test_the_letter_n_is_a_no_like_the_word(operated, answer):
    assert called(operated, "backup", "-q") == DONE
    done = subprocess.run(
        command(operated, "restore"),
        input=f"{answer}\n",
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == DONE
    assert done.stderr.endswith("[no]: INFO: nothing was changed\n")
    assert done.stderr.count("Are you sure?") == 1


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("rehearse", ["--max-seconds", "soon"]),
        ("log", ["--last", "few"]),
        ("log", ["--large", "all"]),
        ("diff", ["--depth", "deep"]),
        ("backup", ["--max-requests", "many"]),
        ("backup", ["--every", "often"]),
        ("verify", ["--sample", "half"]),
    ],
)
def test_a_number_that_is_none_is_answered_with_what_is_taken(verb, arguments):
    with pytest.raises(UsageError, match="number|part|seconds") as caught:
        parse(VERBS[verb], arguments)
    assert f"not '{arguments[-1]}'" in caught.value.what
    assert "invalid" not in caught.value.what


def test_words_that_a_backup_never_minded_are_ignored_with_a_warning(operated, capsys):
    assert called(operated, "backup", "now", "-q", "please") == DONE
    err = capsys.readouterr().err.splitlines()
    assert err == [
        "WARNING: 'now' is no word that a backup knows, ignored",
        "WARNING: 'please' is no word that a backup knows, ignored",
    ]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("verify", ["--sample", "0"]),
        ("verify", ["--sample", "101%"]),
        ("verify", ["--sample", "1/0"]),
        ("verify", ["--sample", "some"]),
        ("verify", ["--sample", "1%", "--depth", "names"]),
        ("verify", ["--sample", "1%", "2026-03-01"]),
        ("verify", ["--depth", "deep"]),
        ("verify", ["tomorrow"]),
        ("rehearse", ["--max-seconds", "-1"]),
        ("rehearse", ["--max-seconds", "nan"]),
        ("rehearse", ["--max-seconds", "inf"]),
        ("rehearse", ["--random", "--each"]),
        ("rehearse", ["--random", "2026-03-01"]),
        ("backup", ["--follow", "--every", "0"]),
        ("backup", ["--every", "60"]),
        ("standby", ["--promote", "--every", "60"]),
        ("repository", ["collect", "--key", "first"]),
        ("restore", ["--undo", "2026-03-01"]),
        ("backup", ["--follow", "--full"]),
        ("backup", ["--follow", "--accept-changed-blobs"]),
        ("backup", ["--follow", "--max-requests", "100"]),
        ("restore", ["--all-blobs", "--only-filestorage"]),
        ("restore", ["--stdout", "--only-blobs"]),
        ("restore", ["--stdout", "--dry-run"]),
        *(
            ("restore", [after, option])
            for after in ("--undo", "--let-go", "--give-up")
            for option in ("--dry-run", "--to=x", "--stdout", "--only-blobs", "--only-filestorage")
        ),
        ("restore", ["--let-go", "--keep-caches"]),
        ("restore", ["--undo", "--all-blobs"]),
        ("restore", ["--undo", "--as-of", "yesterday"]),
        ("list", ["--content", "--long"]),
        ("log", ["--live", "--from", "directory"]),
        ("objects", ["--live", "--of", "snapshot"]),
        ("repository", ["sheet", "--html", "x.html", "--json"]),
        ("list", ["--of", "elsewhere"]),
        ("list", ["--of", "zip"]),
    ],
)
def test_what_makes_no_sense_is_2_and_words(operated, verb, arguments, capsys):
    assert called(operated, verb, *arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("ERROR: ")
    assert "Traceback" not in err
    if "--json" not in arguments:
        assert out == ""


@pytest.mark.parametrize("after", ["--undo", "--let-go"])
def test_a_dry_run_beside_an_undo_is_refused_and_nothing_is_done(operated, after, capsys):
    operated.backup()
    operated.site.commit({"after": "the backup"})
    assert called(operated, "restore", "-nq") == 0
    restored = operated.site.contents()
    replaced = operated.site.filestorage.with_name("Data.fs.replaced")
    assert replaced.exists()
    assert called(operated, "restore", after, "-n", "--dry-run") == 2
    assert operated.site.contents() == restored
    assert replaced.exists()
    said = capsys.readouterr().err
    assert f"--dry-run means nothing beside {after}" in said
    assert "hint: leave --dry-run out" in said


@pytest.mark.parametrize(
    ("verb", "contradiction"),
    [(name, each) for name, verb in VERBS.items() for each in verb.contradictions],
)
def test_each_option_that_is_refused_beside_another_is_one_of_its_verb(verb, contradiction):
    known = set(parser_of(VERBS[verb]).option_names())
    assert {*contradiction.options, *contradiction.beside} <= known
    assert contradiction.hint


def test_a_snapshot_follows_nothing(operated, capsys):
    assert main("backup", SNAPSHOT, operated.config_path, ["--follow"]) == 2
    assert "a snapshot is always full" in capsys.readouterr().err


def test_each_destination_can_be_looked_at(operated, capsys):
    operated.backup(destination="snapshot")
    assert called(operated, "list", "--of", "snapshot") == DONE
    assert stamp(operated.now) in capsys.readouterr().out


# what comes out


@pytest.mark.parametrize("verb", ["backup", *ANSWERING])
def test_quiet_says_nothing_unless_something_is_wrong(operated, verb, capsys):
    arguments = ["--json"] if verb in ANSWERING else []
    assert called(operated, verb, "-q", *arguments) == DONE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ANSWERING)
def test_an_error_is_json_where_json_was_asked_for(operated, verb, capsys):
    operated.config_path.write_text("{")
    assert called(operated, verb, "--json") == 2
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert error["kind"] == "ConfigurationError"
    assert error["exit_code"] == 2
    assert error["what"] in err
    assert error["hint"] in err


def test_a_wrong_command_line_is_json_as_well(operated, capsys):
    assert called(operated, "list", "--json", "--lnog") == 2
    assert json.loads(capsys.readouterr().out)["error"]["hint"].startswith("do you mean --long?")


@pytest.mark.parametrize("error", [RuntimeError("it broke"), RecursionError(), MemoryError()])
def test_what_was_not_foreseen_is_one_sentence(operated, monkeypatch, capsys, error):
    def broken(_run):
        raise error

    monkeypatch.setattr(listing, "list_points", broken)
    assert called(operated, "list") == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert "Traceback" not in err
    assert "ERROR: hint: " in err

    assert called(operated, "list", "--debug") == 1
    err = capsys.readouterr().err
    assert ("Traceback" in err) is True
    assert "in broken" in err


def test_a_reader_who_leaves_early_is_no_error(operated):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(operated, "list", "--json"),
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (DONE, "")


def test_a_reader_of_problems_who_leaves_does_not_make_them_good(operated):
    next(operated.place().filestorage.glob("*.fsz")).unlink()
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(operated, "verify", "-q"),
        stdout=writer,
        stderr=subprocess.DEVNULL,
        env=environment(),
        check=False,
    )
    os.close(writer)
    assert done.returncode == 3


def test_an_answer_that_cannot_be_stored_is_an_error(operated):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(operated, "list"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(operated, closed):
    line = f"{shlex.join(command(operated, 'list'))} {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == DONE
    assert "Traceback" not in done.stderr


def test_a_path_that_is_no_text_can_be_shown(tmp_path):
    site = Site(tmp_path / os.fsdecode(b"a\xff\x1b[31m"))
    operated = Operated(site)
    done = subprocess.run(
        command(operated, "list"),
        env=environment(PYTHONIOENCODING="ascii:strict"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == DONE
    assert b"\\udcff" in done.stdout
    assert b"\x1b" not in done.stdout


# the polite request to end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_backup_with_nothing_half(operated, number):
    operated.site.commit({"page": "x" * 100_000}, {"other": b"more"})
    before = files_below(operated)
    script = Script(operated.config_path, "backup", mark=Mark("fsync", "*.partial"))
    with running(script):
        script.wait_for_mark()
        script.process.send_signal(number)
        assert script.wait() == 130
    assert "ERROR: " in script.output
    assert "Traceback" not in script.output
    ignored = (".backup.lock", ".backup-history.jsonl")
    assert [path for path in files_below(operated) if path.name not in ignored] == [
        path for path in before if path.name not in ignored
    ]
    operated.backup()
    assert [point.whole for point in operated.points()] == [True, True]


def files_below(operated: Operated) -> list[Path]:
    place = operated.place()
    return sorted(
        path
        for directory in (place.filestorage, place.blobstorage)
        for path in Path(directory).rglob("*")
    )


def test_a_second_signal_does_not_disturb_the_cleaning():
    cleaned = False
    with pytest.raises(KeyboardInterrupt, match="ended by SIGTERM"), signals.as_interrupts():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned = True
    assert cleaned


def test_handlers_are_as_before_where_nobody_asked_for_the_end():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with signals.as_interrupts():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_kill_the_process_while_it_ends(first: int, second: int):
    with pytest.raises(KeyboardInterrupt), signals.as_interrupts():
        os.kill(os.getpid(), first)
    os.kill(os.getpid(), second)


ASKED_TO_END_AGAIN = """
import os, signal
from collective.recipe.backup.cli.signals import as_interrupts
from collective.recipe.backup.following import Pace

class Gone:
    def __del__(self, kill=os.kill, me=os.getpid()):
        kill(me, signal.SIGTERM)

try:
    with as_interrupts():
        {body}
except KeyboardInterrupt:
    pass
kept = Gone()  # until Python takes its modules apart
"""


@pytest.mark.parametrize(
    "body",
    [
        "os.kill(os.getpid(), signal.SIGTERM)",
        "with Pace(9).ended_by_signals() as pace: os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
def test_a_second_signal_does_not_kill_an_interpreter_that_is_going(body: str):
    code = ASKED_TO_END_AGAIN.format(body=body)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.as_interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


# the question


@pytest.mark.parametrize(
    ("answers", "code", "restored"),
    [
        ("yes\n", 0, True),
        ("YES\n", 0, True),
        ("y\nmaybe\nyes\n", 0, True),
        ("no\n", 0, False),
        ("\n", 0, False),
        ("y\n", 1, False),
        ("", 1, False),
    ],
)
def test_only_a_literal_yes_is_one(operated, answers, code, restored):
    operated.site.lose()
    done = subprocess.run(
        command(operated, "restore"),
        input=answers,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert operated.site.filestorage.exists() is restored
    assert ("ERROR: hint: run it in a terminal, or with --no-prompt" in done.stderr) is (code == 1)
