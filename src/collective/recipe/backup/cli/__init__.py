"""The command line of the generated scripts: arguments in, words and an exit code out.

A script has a verb, a destination and the configuration that the recipe wrote; all else is here, a
room for each subject::

    verbs/     what each verb says of itself, its arguments, and what it prints
    arguments  what may be typed; of what may not, the nearest that may
    reference  the page of all commands, made from the same parsers
    messages   what goes to stderr: ``INFO: text``, and errors with their hints
    answers    what goes to stdout: tables, plain text or JSON
    screen     a terminal with a last line that changes; bars draw on it
    signals    the polite request to end, turned into an exception

These are the only rooms that print, and this is the only one that turns an error into an
exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import messages
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.screen import Screen
from collective.recipe.backup.cli.signals import as_interrupts
from collective.recipe.backup.errors import DONE

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

    from collective.recipe.backup.config import Config
    from collective.recipe.backup.progress import Progress
    from collective.recipe.backup.stores.allowance import Allowance

__all__ = ["carry_out", "guarded", "main"]


def main(
    verb: str,
    destination: str,
    config_path: str | os.PathLike[str],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run *verb* for *destination* and return the exit code of the process."""

    def act(asked: Sequence[str], answers: Answers) -> int:
        return _script(verb, destination, Path(config_path), asked, answers)

    return guarded(act, arguments, verb=verb)


def guarded(
    act: Callable[[Sequence[str], Answers], int],
    arguments: Sequence[str] | None = None,
    *,
    verb: str | None = None,
) -> int:
    """Call *act* with *arguments* and return the exit code of the process.

    *verb* is the name of its verb, None if the first of *arguments* is that.  No exception gets
    out, whatever a user, a disk or a bug may do.
    """
    asked = sys.argv[1:] if arguments is None else list(arguments)
    verb = verb or next(iter(asked), "")
    screen = Screen(sys.stderr)
    nagios = verb == "status" and "--nagios" in asked
    answers = Answers(sys.stdout, screen, json="--json" in asked, nagios=nagios)
    messages.set_up(screen)
    try:
        with as_interrupts():
            return act(asked, answers)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the last door there is
        found = messages.in_words(error)
        if not answers.nagios:
            messages.report(found)
        return answers.error(found)


def _script(  # noqa: PLR0913  what main has
    verb: str,
    destination: str,
    config_path: Path,
    arguments: Sequence[str],
    answers: Answers,
) -> int:
    # from here on, so that even an interrupt while these are imported is met by guarded
    from collective.recipe.backup import config
    from collective.recipe.backup.cli.arguments import HelpGiven, parse
    from collective.recipe.backup.cli.verbs import VERBS

    try:
        namespace = parse(VERBS[verb], arguments)
    except HelpGiven as given:
        answers.say(given.text)
        return DONE
    messages.choose_level(quiet=namespace.quiet, debug=namespace.debug)
    namespace.destination = getattr(namespace, "destination", None) or destination
    loaded = config.load(config_path)
    prefix = "" if loaded.part == config.PART else f"{loaded.part}-"
    namespace.restore_command = f"bin/{prefix}restore"
    return carry_out(verb, namespace, loaded, config_path, answers)


def carry_out(
    verb: str, namespace: Namespace, loaded: Config, config_path: Path, answers: Answers
) -> int:
    """Do what *namespace* says, for its destination, with the configuration *loaded*."""
    from collective.recipe.backup import times
    from collective.recipe.backup.cli.questions import ask
    from collective.recipe.backup.cli.verbs import VERBS
    from collective.recipe.backup.destinations.configured import chosen, chosen_repository
    from collective.recipe.backup.files import Files
    from collective.recipe.backup.operations.run import Run

    messages.choose_level(quiet=namespace.quiet, debug=namespace.debug or loaded.options.debug)
    place, as_of = getattr(namespace, "place", None), _as_of(namespace)
    everywhere = VERBS[verb].everywhere and place is None and as_of is None
    # a place that is not there is told before anything else
    if as_of is None:
        place = chosen(loaded, namespace.destination, place, everywhere=everywhere)
    else:
        place = chosen_repository(loaded, namespace.destination, place)
    run = Run(
        config=loaded,
        config_path=config_path,
        verb=verb,
        destination=namespace.destination,
        now=times.utcnow(),
        files=Files(),
        progress=_progress(answers.screen, quiet=namespace.quiet),
        ask=None if namespace.no_prompt else ask,
        restore_command=namespace.restore_command,
        name=place,
        everywhere=everywhere,
        allowance=_allowance(verb, namespace, loaded),
        as_of=as_of,
    )
    return VERBS[verb].act(run, namespace, answers)


def _as_of(namespace: Namespace) -> datetime | None:
    """Return the moment whose state of the store is to be read; None: the present one."""
    if getattr(namespace, "as_of", None) is None:
        return None
    from collective.recipe.backup.cli.moments import moment_in

    return moment_in(namespace.as_of, local=getattr(namespace, "local", False))


def _allowance(verb: str, namespace: Namespace, loaded: Config) -> Allowance:
    """Return what this command may ask of stores."""
    from collective.recipe.backup.cli.verbs import VERBS
    from collective.recipe.backup.stores.allowance import Allowance

    limit = 0 if VERBS[verb].whole_line else loaded.options.repository_bandwidth_limit
    return Allowance(bandwidth=limit, requests=getattr(namespace, "max_requests", None))


def _progress(screen: Screen, *, quiet: bool) -> Progress:
    """Return what long work reports to."""
    if quiet:
        from collective.recipe.backup.progress import Silent

        return Silent()
    from collective.recipe.backup.cli.bars import progress_on

    return progress_on(screen)
