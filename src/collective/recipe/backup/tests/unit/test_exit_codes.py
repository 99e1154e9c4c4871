"""Each error of the tree, met by a real script."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from unittest.mock import patch

import pytest

from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.errors import (
    DONE,
    BackupError,
    BrokenOff,
    CommandFailed,
    ConfigurationError,
    IntegrityError,
    Interrupted,
    InUse,
    NoRestorePoint,
    ObjectArchived,
    RequestsSpent,
    StoreRefused,
    StoreUnreachable,
    UsageError,
)
from collective.recipe.backup.restoring import journal
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.servers import answer, proxied
from collective.recipe.backup.tests.smallfiles import rewrite
from collective.recipe.backup.tests.unit.test_errors import tree

SCRIPT = """
import sys
from collective.recipe.backup.cli import main
sys.exit(main(*sys.argv[1:4], sys.argv[4:]))
"""


class Scripts:
    """The scripts of a site, run as processes of their own."""

    def __init__(self, site, **options):
        self.operated = Operated(site, **options)
        self.site = site

    def __call__(self, verb, *arguments):
        path = self.operated.config_path
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, verb, STANDARD, path, "--no-prompt", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def without_a_blobstorage(site, _stack):
    site.blobstorage.rename(site.blobstorage.with_name("elsewhere"))
    return Scripts(site)("backup")


def with_a_damaged_configuration(site, _stack):
    scripts = Scripts(site)
    scripts.operated.config_path.write_text("{")
    return scripts("backup")


def with_an_unknown_flag(site, _stack):
    return Scripts(site)("backup", "--fulll")


def without_a_filestorage_in_the_file(site, _stack):
    site.filestorage.write_bytes(b"something else")
    return Scripts(site)("backup")


def without_a_backup(site, _stack):
    return Scripts(site)("restore")


def while_the_filestorage_is_open(site, stack):
    scripts = Scripts(site)
    assert scripts("backup").returncode == DONE
    stack.enter_context(site.opened())
    return scripts("restore")


def without_the_disk_of_the_repository(site, _stack):
    line = f"repository {site.directory / 'disk'}"
    return Scripts(site, repository=(line,), locationprefix=site.directory / "var")("backup")


def with_a_credential_that_may_do_nothing(site, stack):
    return with_a_store_that_says(site, stack, "AccessDenied")


def with_all_in_cold_storage(site, stack):
    return with_a_store_that_says(site, stack, "InvalidObjectState")


def with_a_store_that_says(site, stack, code):
    proxy = stack.enter_context(proxied(0))
    proxy.fault = lambda *_request: answer(403, code)
    line = f"repository s3://bucket/a?endpoint=http://127.0.0.1:{proxy.port}"
    credential = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    stack.enter_context(patch.dict(os.environ, credential))
    return Scripts(site, repository=(line,), locationprefix=site.directory / "var")("backup")


def with_few_requests(site, _stack):
    lines = tuple(f"{name} {site.directory / name}" for name in ("near", "far"))
    scripts = Scripts(site, repository=lines, locationprefix=site.directory / "var")
    for name in ("near", "far"):
        assert scripts("repository", "init", name, "--unencrypted").returncode == DONE
    return scripts("backup", "--max-requests", "20")


def with_a_hook_that_fails(site, _stack):
    return Scripts(site, pre_command="false")("backup")


def after_a_restore_that_was_broken_off(site, _stack):
    scripts = Scripts(site)
    assert [scripts(verb).returncode for verb in ("backup", "restore")] == [DONE] * 2
    rewrite(journal_path(site.filestorage), journal.FORM, state=journal.SWAPPING)
    return scripts("backup")


def with_control_c(site, _stack):
    return Scripts(site, pre_command="kill -INT $PPID; exec sleep 10")("backup")


MEETINGS = {
    BackupError: without_a_blobstorage,
    ConfigurationError: with_a_damaged_configuration,
    UsageError: with_an_unknown_flag,
    IntegrityError: without_a_filestorage_in_the_file,
    NoRestorePoint: without_a_backup,
    InUse: while_the_filestorage_is_open,
    ObjectArchived: with_all_in_cold_storage,
    StoreRefused: with_a_credential_that_may_do_nothing,
    RequestsSpent: with_few_requests,
    StoreUnreachable: without_the_disk_of_the_repository,
    CommandFailed: with_a_hook_that_fails,
    BrokenOff: after_a_restore_that_was_broken_off,
    Interrupted: with_control_c,
}


@pytest.mark.parametrize("error", tree(), ids=lambda error: error.__name__)
def test_an_error_is_an_exit_code_and_words_with_a_hint(tmp_path, error):
    site = Site(tmp_path / "site")
    site.commit({"page": 1}, {"file": b"data"})
    with ExitStack() as stack:
        done = MEETINGS[error](site, stack)
    assert done.returncode == error.exit_code, done.stderr
    assert done.stderr.startswith(("ERROR: ", "INFO: "))
    assert "ERROR: hint: " in done.stderr or error is Interrupted
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_script_that_succeeds_ends_with_0(site):
    site.commit({"page": 1}, {"file": b"data"})
    scripts = Scripts(site)
    assert [scripts(verb).returncode for verb in ("backup", "list", "restore")] == [DONE] * 3


def test_a_changed_blob_is_3_until_it_is_accepted(site):
    site.commit({"page": 1}, {"file": b"data"})
    scripts = Scripts(site)
    assert scripts("backup").returncode == DONE
    [blob] = site.blobstorage.rglob("*.blob")
    blob.chmod(0o600)
    blob.write_bytes(b"")
    for arguments in (["--full"], []):
        done = scripts("backup", "-q", *arguments)
        assert done.returncode == IntegrityError.exit_code
        assert "not as it was backed up once" in done.stderr
        assert "--accept-changed-blobs" in done.stderr
    listed = scripts("list")
    assert "whole; 1 blob of the site" in listed.stdout
    assert scripts("backup", "--accept-changed-blobs").returncode == DONE
    assert scripts("backup", "--full").returncode == DONE
