"""Reader of ``~/.aws/config`` and ``~/.aws/credentials``, the files of the tools for AWS.

Both are INI files with a section for each profile.  In the first one it is called
``profile NAME``, but for ``default``; in the second one ``NAME``.  The variables
``AWS_CONFIG_FILE`` and ``AWS_SHARED_CREDENTIALS_FILE`` say that they lie elsewhere.  See the
reference guide of AWS SDKs and Tools, "Shared config and credentials files".
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError, explained
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.smallfile import read_small

_ELSEWHERE = ("credential_process", "sso_session", "sso_start_url", "role_arn", "source_profile")
"""Keys of profiles whose credentials do not stand in these files."""


@dataclass(frozen=True, kw_only=True)
class AwsProfile:
    """The settings of one profile; None: the files do not have it."""

    key: str | None = None  # id of the access key
    secret: str | None = None  # the secret access key
    token: str | None = None  # of a session
    region: str | None = None  # name of the region of the bucket
    endpoint: str | None = None  # a URL


def read_profile(name: str | None, environment: Mapping[str, str]) -> AwsProfile:
    """Return the profile *name*; None: the one of ``AWS_PROFILE``, or ``default`` if it is there.

    Raises ConfigurationError for a profile that is named and missing, or one whose credentials
    another program has, and BackupError for a file that cannot be read.
    """
    wanted = name or environment.get("AWS_PROFILE")
    home = Path(environment.get("HOME") or Path.home()) / ".aws"
    config = Path(environment.get("AWS_CONFIG_FILE") or home / "config").expanduser()
    secrets = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials")
    secrets = secrets.expanduser()
    profile = wanted or "default"
    found = _section(config, "default" if profile == "default" else f"profile {profile}")
    found |= _section(secrets, profile)
    if wanted and not found:
        raise ConfigurationError(
            f"there is no profile {wanted!r} for the store",
            where=config,
            hint=f"write one into this file or into {secrets}, or name another one",
        )
    key, elsewhere = found.get("aws_access_key_id"), [each for each in _ELSEWHERE if each in found]
    # a key in the environment wins over the profile that AWS_PROFILE names
    has_key = name is None and bool(environment.get("AWS_ACCESS_KEY_ID"))
    if wanted and not key and elsewhere and not has_key:
        raise ConfigurationError(
            f"the credentials of the profile {wanted!r} are not in its file, but by {elsewhere[0]}",
            where=config,
            hint="let a program export them into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "AWS_SESSION_TOKEN, for example: aws configure export-credentials; and name no profile "
            "in the URL",
        )
    return AwsProfile(
        key=key,
        secret=found.get("aws_secret_access_key"),
        token=found.get("aws_session_token"),
        region=found.get("region"),
        endpoint=found.get("endpoint_url"),
    )


def _section(path: Path, section: str) -> dict[str, str]:
    with explained("cannot read the credentials of the store", path):
        data = read_small(path)
    if data is None:
        return {}
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        parser.read_string(data.decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError):
        # without its cause, which quotes lines that may be secrets
        raise ConfigurationError(
            "this file is no INI file", where=path, hint="AWS tools write it: aws configure"
        ) from None
    return dict(parser[section]) if parser.has_section(section) else {}
