"""What was done to a tenant's connection, in words: who, when, which fields; of a key only that it was replaced."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from console.wording import in_words, sentence_case
from llm.credentials import KEY_REMOVED
from llm.models import CredentialChange, TenantCredential
from tenants.models import Tenant
from tenants.scope import tenant_scope

PAGE: Final = 25  # changes
_FIELDS: Final = {"provider": "provider", "base_url": "base URL", "model": "model", "enabled": "enabled or not"}
_WRITES: Final = (CredentialChange.Action.SAVED, CredentialChange.Action.ROTATED, CredentialChange.Action.REMOVED)
_OUTCOMES: Final = {
    "ok": "it answered",
    "rejected": "it answered, but did not take the key or gave no completion",
    "unreachable": "it could not be reached",
    "blocked": "blocked, nothing was sent",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change. hosts: of a change that moved the connection, old and new."""

    at: datetime
    by: str
    what: str
    old_host: str
    new_host: str

    @property
    def hosts(self) -> str:
        if self.old_host and self.new_host and self.old_host != self.new_host:
            return f"{self.old_host} → {self.new_host}"
        return self.new_host or self.old_host


@dataclass(frozen=True, slots=True)
class History:
    """One page, newest first. older: the change after which the next page begins, None on the last."""

    changes: tuple[Change, ...]
    before: int | None
    older: int | None


def history(tenant: Tenant, before_text: str = "") -> History:
    """`before_text` as the address has it; what is no number begins with the newest."""
    before = int(before_text) if before_text.isascii() and before_text.isdigit() and len(before_text) < 19 else None
    with tenant_scope(tenant):
        found = CredentialChange.objects.for_tenant(tenant).order_by("-pk")
        rows = list((found.filter(pk__lt=before) if before else found)[: PAGE + 1])
    return History(tuple(map(_change, rows[:PAGE])), before, rows[PAGE - 1].pk if len(rows) > PAGE else None)


def since_version(tenant: Tenant, seen: int) -> tuple[TenantCredential | None, tuple[str, ...]]:
    """The row as it is now, and what was done to it since that version, oldest first."""
    with tenant_scope(tenant):
        row = TenantCredential.objects.for_tenant(tenant).first()
        count = min(max(row.version - seen, 1) if row else 1, PAGE)
        rows = list(CredentialChange.objects.for_tenant(tenant).filter(action__in=_WRITES).order_by("-pk")[:count])
    return row, tuple(_sentence(_change(change)) for change in reversed(rows))


def _sentence(change: Change) -> str:
    at = f"{change.at:%Y-%m-%d %H:%M:%SZ}"
    return f"{change.by}, {at}: {change.what}" + (f" ({change.hosts})" if change.hosts else "")


def _change(row: CredentialChange) -> Change:
    return Change(row.at, row.by, _what(row), row.old_host, row.new_host)


def _what(row: CredentialChange) -> str:
    match row.action:
        case CredentialChange.Action.REMOVED:
            return "Removed the connection, key and all"
        case CredentialChange.Action.TESTED:
            return f"Tested: {_OUTCOMES.get(row.note, row.note)}"
        case CredentialChange.Action.RESEALED:
            return "Re-sealed the key with the newest vault key"
        case _:
            return _saved(row)


def _saved(row: CredentialChange) -> str:
    if not row.old_host:
        return "Made the connection" + (", with a key" if "api_key" in row.fields else ", without a key")
    names = _names(row.fields)
    said = [f"changed {in_words(names)}"] if names else []
    if "api_key" in row.fields:
        said.append("removed the key" if row.note == KEY_REMOVED else "replaced the key")
    return sentence_case(", ".join(said)) or "Saved without a change"


def _names(fields: Iterable[str]) -> list[str]:
    return [_FIELDS[name] for name in fields if name in _FIELDS]
