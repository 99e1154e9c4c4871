"""From the settings and the facts about the site to the configuration that the verbs know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from collective.recipe.backup.config import PART, Config
from collective.recipe.backup.config.resolve import Resolved, SiteFacts, absolute, resolve
from collective.recipe.backup.destinations.configured import all_directories
from collective.recipe.backup.errors import ConfigurationError, printable
from collective.recipe.backup.options.optionkinds import expanded, one_line
from collective.recipe.backup.options.parsing import Reading, read
from collective.recipe.backup.sitebackup.finding import Places, Site, find
from collective.recipe.backup.sitebackup.settings import OF_THE_SITE, SiteSettings

RUN_DIRECTORY = ".sitebackup"


def configured(settings: SiteSettings) -> Resolved:
    """Return the configuration that *settings* mean for the site that they lead to.

    Raises ConfigurationError that names every problem.
    """
    ours = {name: text for name, text in settings.texts.items() if name not in OF_THE_SITE}
    reading = read(ours)
    reading = reading._replace(problems=(*settings.problems, *reading.problems))
    if settings.problems:
        # the settings are wrong, so the site is unknown as well
        raise _unusable(reading.problems, settings)
    base = absolute(settings.directory, _path(settings, "base_dir") or Path())
    part = settings.texts.get("name", "").strip() or PART
    places = Places(
        base=base,
        part=part,
        zope_conf=_path(settings, "zope_conf"),
        zeo_conf=_path(settings, "zeo_conf"),
        var=_path(settings, "var_dir"),
    )
    site = find(places, datafs=reading.options.datafs)
    try:
        resolved = resolve(_facts(part, base, site), _placed(reading, site))
    except ConfigurationError as error:
        absent = (*_absent(site.main.filestorage), *site.warnings)
        raise _unusable((*absent, *error.problems), settings) from error
    _check_run_directory(resolved.config)
    return resolved._replace(warnings=(*resolved.warnings, *site.warnings))


def run_directory(config: Config) -> Path:
    """Return where the lock of a run lies: beside the directories of backups, never in one."""
    prefix = config.options.locationprefix
    assert prefix is not None  # noqa: S101  resolve has seen to it
    return prefix / f"{RUN_DIRECTORY}-{config.part}"


def _absent(filestorage: Path) -> tuple[str, ...]:
    """Return the sentence that there is no filestorage; its blobs are looked for beside it."""
    if filestorage.exists():
        return ()
    return (f"there is no filestorage {printable(str(filestorage))}: is datafs right?",)


def _facts(part: str, base: Path, site: Site) -> SiteFacts:
    return SiteFacts(
        part=part,
        base=base,
        var=site.var,
        datafs=site.main.filestorage,
        blob_storage=site.main.blobstorage,
        additional=site.sources[:-1],
        caches=site.caches,
    )


def _placed(reading: Reading, site: Site) -> Reading:
    if site.prefix is None or reading.options.locationprefix is not None:
        return reading
    return reading._replace(options=replace(reading.options, locationprefix=site.prefix))


def _path(settings: SiteSettings, name: str) -> Path | None:
    text = one_line(settings.texts.get(name, ""))
    return expanded(text) if text else None


def _check_run_directory(config: Config) -> None:
    directory = run_directory(config)
    if directory in all_directories(config):
        raise ConfigurationError(
            "the lock of the runs lies there: keep the backups elsewhere", where=directory
        )


def _unusable(problems: tuple[str, ...], settings: SiteSettings) -> ConfigurationError:
    origins = "; ".join(settings.origins)
    return ConfigurationError(
        "this site cannot be backed up as it is configured",
        problems=problems,
        hint=f"the settings come from: {origins}" if origins else "",
    )
