"""The requirements of the chosen options: programs, variables, directories."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup import process
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.options import Options

HOOKS = ("pre_command", "post_command", "failure_command")


def programs(options: Options) -> Iterator[DoctorFinding]:
    """Look for the programs that *options* need, and whether a shell understands the hooks."""
    report = Report("programs")
    if options.use_rsync:
        _look_for(report, "rsync", "use_rsync", "install it, or set use_rsync = false")
    if options.repozo is not None:
        hint = "mend the path, or leave the option out: our own engine writes the same files"
        _look_for(report, os.fspath(options.repozo), "repozo", hint)
    for name in HOOKS:
        if getattr(options, name):
            _look_at_hook(report, name, getattr(options, name))
    if not report:
        report.ok("the options need no other program")
    yield from report


def _look_for(report: Report, program: str, option: str, hint: str) -> None:
    found = shutil.which(program)
    if found:
        report.ok(f"{option} has its program", found)
    else:
        report.problem(f"the option {option} needs a program that is not there", program, hint)


def _look_at_hook(report: Report, name: str, command: str) -> None:
    try:
        # reads it without running any of it
        process.run(["/bin/sh", "-n", "-c", command], what=f"the shell does not understand {name}")
    except BackupError as error:
        report.problem(str(error), hint=f"mend {name}; what the shell says stands above")
    else:
        report.ok(f"the shell understands {name}")


def _look_at_page(report: Report, name: str, path: Path | None) -> None:
    if path is None:
        return
    if os.access(path.parent, os.W_OK | os.X_OK):
        report.ok(f"{name} can be written", path.parent)
        return
    report.problem(
        f"{name} cannot be written here",
        path.parent,
        f"make the directory, let this user write there, or correct {name}",
    )


def places_of_options(options: Options) -> Iterator[DoctorFinding]:
    """Look at the files and variables that *options* name."""
    report = Report("options")
    _look_at_page(report, "metrics_file", options.metrics_file)
    _look_at_page(report, "report_file", options.report_file)
    kind, _colon, place = options.ping_url.partition(":")
    if kind == "env" and not os.environ.get(place):
        report.problem(
            "ping_url is to come from a variable that is not set",
            place,
            "set it where the backup is started: cron and systemd have an environment of their own",
        )
    if kind == "file" and not os.access(os.path.expanduser(place), os.R_OK):
        report.problem(
            "ping_url is to come from a file that cannot be read",
            place,
            "make the file, let this user read it, or correct ping_url",
        )
    yield from report
