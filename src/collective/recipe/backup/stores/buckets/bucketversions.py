"""The versions of the objects in a bucket, listed with botocore: obstore cannot list them.

A name has the version that was the newest at the moment asked for; a name that had a delete marker
then is left out.  Moments of S3 have whole seconds.  Of two versions of one second the later one
counts. A version counts more than a delete marker of its second, because a user who reads the past
looks for data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from importlib.util import find_spec
from typing import Any, NamedTuple

from collective.recipe.backup.errors import BackupError, ConfigurationError, StoreUnreachable
from collective.recipe.backup.stores import StoredObject, is_name
from collective.recipe.backup.stores.buckets.bucketanswers import explained_code
from collective.recipe.backup.stores.buckets.bucketplace import BucketPlace

_WHAT = "cannot list the versions in the bucket"
_UNVERSIONED = "null"
"""The id that S3 gives to the version of an object that was put before the bucket kept versions."""


class Version(NamedTuple):
    """One object as it was."""

    entry: StoredObject  # name, size and time of the object
    version: str  # id of the version at the store


def versions_at(
    place: BucketPlace, moment: datetime, ask: Callable[[], None]
) -> dict[str, Version]:
    """Return the objects of *place* as they were at *moment*, by name; *ask* counts requests.

    Raises ConfigurationError where the bucket keeps no versions, and what the store says.
    """
    check_botocore()
    from botocore.exceptions import BotoCoreError, ClientError

    found: dict[str, Version] = {}
    gone: dict[str, datetime] = {}
    keeps_versions = False
    try:
        for page in _pages(place, ask):
            keeps_versions = keeps_versions or _has_versions(page)
            _note(page, place, moment, found)
            _note_gone(page, place, moment, gone)
    except ClientError as error:
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(answer.get("Error", {}).get("Code", status))
        raise explained_code(status, code, _WHAT, place.location) from error
    except (BotoCoreError, OSError, ValueError) as error:
        raise _away(error, place) from error
    if found and not keeps_versions:
        raise ConfigurationError(
            "this bucket keeps no versions, so only its present state can be read",
            where=place.location,
            hint="leave out --as-of; let the bucket keep versions from now on",
        )
    return {
        name: each
        for name, each in found.items()
        if name not in gone or gone[name] <= each.entry.stored
    }


def _pages(place: BucketPlace, ask: Callable[[], None]) -> Iterator[Mapping[str, Any]]:
    import botocore.session
    from botocore.config import Config

    reach = place.for_botocore()
    session = botocore.session.Session(profile=reach.pop("profile"))
    config = Config(
        connect_timeout=place.patience.connect,
        read_timeout=place.patience.silent,
        retries={"mode": "standard", "total_max_attempts": 5},
        s3={"addressing_style": "path" if reach["endpoint_url"] else "auto"},
    )
    client = session.create_client("s3", config=config, **reach)
    client.meta.events.register("before-send.s3.ListObjectVersions", lambda **_sent: ask())
    listing = client.get_paginator("list_object_versions")
    yield from listing.paginate(Bucket=place.bucket, Prefix=_above(place))


def _above(place: BucketPlace) -> str:
    return f"{place.prefix}/" if place.prefix else ""


def _has_versions(page: Mapping[str, Any]) -> bool:
    """Tell whether a page of a listing shows that the bucket keeps versions, of any moment."""
    entries = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
    return any(each["VersionId"] != _UNVERSIONED for each in entries)


def _note(
    page: Mapping[str, Any], place: BucketPlace, moment: datetime, found: dict[str, Version]
) -> None:
    """Take up the newest version of each name; those of a name come newest first."""
    for each in page.get("Versions", ()):
        name, stored = each["Key"].removeprefix(_above(place)), _utc(each["LastModified"])
        if stored > moment or not is_name(name):
            continue
        before = found.get(name)
        if before is None or before.entry.stored < stored:
            found[name] = Version(StoredObject(name, each["Size"], stored), each["VersionId"])


def _note_gone(
    page: Mapping[str, Any], place: BucketPlace, moment: datetime, gone: dict[str, datetime]
) -> None:
    for each in page.get("DeleteMarkers", ()):
        name, since = each["Key"].removeprefix(_above(place)), _utc(each["LastModified"])
        if since <= moment:
            gone[name] = max(since, gone.get(name, since))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)


def _away(error: Exception, place: BucketPlace) -> BackupError:
    return StoreUnreachable(
        f"{_WHAT} ({type(error).__name__})",
        where=place.location,
        hint="is the network up, is the endpoint right, and are there credentials?  The library "
        "botocore looks for them where the tools of AWS do",
    )


def check_botocore() -> None:
    """Raise ConfigurationError if botocore is not installed."""
    if find_spec("botocore") is None:
        raise ConfigurationError(
            "to read an earlier state of a bucket needs a library that is not installed: botocore",
            hint="pip install 'collective.recipe.backup[s3,s3-versions]'; in a buildout: eggs = "
            "collective.recipe.backup[repository,s3,s3-versions] in this part",
        )
