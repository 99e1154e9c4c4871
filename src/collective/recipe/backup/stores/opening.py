"""From the URL or path that a user writes for a repository to its store."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.files import Files
from collective.recipe.backup.stores import Store
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.local import LocalStore
from collective.recipe.backup.storeurls import shown_url

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")

KNOWN = (
    "a path that begins with /, file:///path, s3://BUCKET/PREFIX, sftp://USER@HOST/PATH, "
    "or tahoe:ALIAS/PATH"
)


def store_at(
    url: str,
    files: Files,
    allowance: Allowance | None = None,
    as_of: datetime | None = None,
) -> Store:
    """Return the store at *url*; nothing is sent or made yet.

    Its requests count to the *allowance* of the run; None: to one of its own.  With *as_of* it is
    the state of that moment, in which nothing can be changed.

    A path is taken as it is, whatever characters it has.  In a URL of scheme ``file`` they
    are percent-encoded.  Raises ConfigurationError.
    """
    if as_of is not None:
        return _in_the_past(url, as_of, allowance)
    return _as_it_is(url, files, allowance)


def _as_it_is(url: str, files: Files, allowance: Allowance | None) -> Store:
    if url.startswith("/"):
        return LocalStore(_absolute(url, url), files, allowance)
    scheme = _SCHEME.match(url)
    if not scheme:
        raise _refused("the place of a repository is no absolute path and no URL", url)
    elsewhere = _ELSEWHERE.get(scheme[1].lower())
    if elsewhere is not None:
        return elsewhere(url, allowance)
    if scheme[1].lower() != "file":
        raise _refused(f"this release knows no repository at {scheme[1]}: URLs", url)
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise _refused("a file: URL cannot name another machine", url)
    if parts.query or parts.fragment:
        raise _refused("a file: URL has nothing after its path; write %3F for ? and %23 for #", url)
    path = os.fsdecode(unquote_to_bytes(parts.path))
    return LocalStore(_absolute(path, url), files, allowance)


def _in_bucket(url: str, allowance: Allowance | None) -> Store:
    from collective.recipe.backup.stores.buckets.bucketplace import bucket_at
    from collective.recipe.backup.stores.buckets.bucketstore import BucketStore

    return BucketStore(bucket_at(url), allowance)


def _in_the_past(url: str, moment: datetime, allowance: Allowance | None) -> Store:
    if not url.lower().startswith("s3:"):
        raise ConfigurationError(
            "of this store only the present state can be read",
            where=shown_url(url),
            hint="leave out --as-of: earlier states are in buckets of S3 that keep versions",
        )
    from collective.recipe.backup.stores.buckets.bucketpast import PastBucket
    from collective.recipe.backup.stores.buckets.bucketplace import bucket_at

    return PastBucket(bucket_at(url), moment, allowance)


def _by_sftp(url: str, allowance: Allowance | None) -> Store:
    from collective.recipe.backup.stores.sftp.sftpplace import directory_at
    from collective.recipe.backup.stores.sftp.sftpstore import SftpStore

    return SftpStore(directory_at(url), allowance)


def _in_a_grid(url: str, allowance: Allowance | None) -> Store:
    from collective.recipe.backup.stores.tahoe.tahoeplace import tahoe_at
    from collective.recipe.backup.stores.tahoe.tahoestore import TahoeStore

    return TahoeStore(tahoe_at(url), allowance)


_ELSEWHERE = {
    "s3": _in_bucket,
    "gs": _in_bucket,
    "az": _in_bucket,
    "sftp": _by_sftp,
    "tahoe": _in_a_grid,
}
"""Function that opens the store of a URL, by scheme."""


def _absolute(text: str, url: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise _refused("the place of a repository is no absolute path", url)
    return Path(os.path.normpath(text))


def _refused(what: str, url: str) -> ConfigurationError:
    return ConfigurationError(what, where=shown_url(url), hint=f"write {KNOWN}")
