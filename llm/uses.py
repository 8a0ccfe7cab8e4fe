"""How often each capability answered live and by its fallback, counted in the database, so that every process shows the same."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import DatabaseError
from django.db.models import F
from django.utils import timezone

from llm.models import CapabilityUse
from llm.resolver import Path

USE_NOT_COUNTED = "llm.use_not_counted"

log = structlog.stdlib.get_logger("llm")


@dataclass(frozen=True, slots=True)
class Use:
    """One capability. path, cause and last_at are those of its latest answer; cause is a word of llm.outcome.Cause, "" for a live one."""

    capability: str
    path: Path
    cause: str
    last_at: datetime
    live: int
    fallback: int


def count(capability: str, path: Path, cause: str) -> None:
    """Count an answer. That it cannot be counted takes nothing from the answer; it is logged."""
    try:
        now = timezone.now()
        changed = CapabilityUse.objects.filter(capability=capability, path=path.value).update(answers=F("answers") + 1, cause=cause, last_at=now)
        if not changed:
            use, created = CapabilityUse.objects.get_or_create(
                capability=capability, path=path.value, defaults={"answers": 1, "cause": cause, "last_at": now}
            )
            if not created:
                CapabilityUse.objects.filter(pk=use.pk).update(answers=F("answers") + 1, cause=cause, last_at=now)
    except DatabaseError as error:
        log.warning(USE_NOT_COUNTED, capability=capability, path=path.value, error=type(error).__name__)


def uses() -> list[Use]:
    """Every capability that has answered, by name."""
    rows: dict[str, dict[str, CapabilityUse]] = {}
    for row in CapabilityUse.objects.order_by("capability"):
        rows.setdefault(row.capability, {})[row.path] = row
    shown: list[Use] = []
    for capability, by_path in rows.items():
        latest = max(by_path.values(), key=lambda row: row.last_at)
        counts = {path: by_path[path.value].answers if path.value in by_path else 0 for path in Path}
        shown.append(Use(capability, Path(latest.path), latest.cause, latest.last_at, counts[Path.LIVE], counts[Path.FALLBACK]))
    return shown
