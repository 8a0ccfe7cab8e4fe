"""Which kind of process this is. The entry point says so before the settings are read."""

from enum import StrEnum


class Role(StrEnum):
    WEB = "web"
    WORKER = "worker"
    BEAT = "beat"
    COMMAND = "command"


_current = Role.COMMAND


def become(role: Role) -> None:
    """Called once by the entry point (wsgi.py, celery.py) before Django's settings are imported."""
    global _current
    _current = role


def current() -> Role:
    return _current


def of_celery(argv: list[str]) -> Role:
    """The role of a `celery …` command line: worker, beat, or a plain command."""
    for word in argv[1:]:
        if word in (Role.WORKER, Role.BEAT):
            return Role(word)
    return Role.COMMAND
