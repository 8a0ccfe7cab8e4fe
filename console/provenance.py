"""Where a value comes from: the variable that sets it, and whether the environment or the default did."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from django.conf import settings


class Source(StrEnum):
    ENVIRONMENT = "environment"
    DEFAULT = "default"
    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Origin:
    """A variable and its source. A value equal to the default counts as the default. Never the value itself."""

    variable: str
    source: Source

    def __str__(self) -> str:
        return f"{self.variable} ({self.source})"

    @property
    def word(self) -> str:
        """As a list of variables says it: set, unset or default."""
        return "set" if self.source is Source.ENVIRONMENT else self.source.value


def origin_of(variable: str, *, in_use: bool = False) -> Origin:
    """The origin of one variable of settings.ENV; in_use: there is a value, so an unset variable means the default.

    Raises KeyError for a name that settings.ENV does not know.
    """
    spec = _specs()[variable]
    if getattr(settings.ENV, spec.name) != spec.default:
        return Origin(variable, Source.ENVIRONMENT)
    unset = spec.default in ("", (), None) and not in_use
    return Origin(variable, Source.UNSET if unset else Source.DEFAULT)


def _specs() -> dict[str, Any]:
    return {spec.metadata["name"]: spec for spec in fields(settings.ENV)}
