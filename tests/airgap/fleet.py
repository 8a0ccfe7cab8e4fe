"""Processes of a deployment as they say it of themselves: through the heartbeat itself, under the environment of the moment."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airgap.checklist import Finding, found, items, look
from airgap.fleet import Heartbeat
from airgap.models import ProcessBeat
from airgap.snapshot import GuardSnapshot

SEALED = {"AISOC_AIRGAPPED": "1", "LLM_BASE_URL": "http://ollama:11434/v1", "CISA_KEV_URL": "https://kev-mirror.corp/kev.json"}


def started(service: str = "api", role: str = "web", **fields: Any) -> ProcessBeat:
    """A process that has started under the settings of now and beaten once. fields: what sets its row apart, as silence does."""
    from django.conf import settings

    before, settings.SERVICE = settings.SERVICE, service
    try:
        heart = Heartbeat(role)
        heart.beat()
    finally:
        settings.SERVICE = before
    rows = ProcessBeat.objects.filter(instance=heart.instance)
    rows.update(pid=4000 + ProcessBeat.objects.count(), pid_space="", **fields)
    return rows.get()


def silent(beat: ProcessBeat) -> None:
    ProcessBeat.objects.filter(instance=beat.instance).update(beat_at=beat.beat_at - timedelta(minutes=11))


def checked(item_id: str) -> Finding:
    (item,) = [item for item in items() if item.id == item_id]
    return found(item, look())


@pytest.fixture
def deployment(environment: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[ProcessBeat]]:
    """deployment(LLM_BASE_URL=…) starts web, worker and beat under SEALED with these variables; guard: what each process reports."""

    def start(*, guard: str = "", **variables: str) -> list[ProcessBeat]:
        ProcessBeat.objects.all().delete()
        set_to = {name: value for name, value in {**SEALED, **variables}.items() if value}
        on = environment(**set_to).airgapped
        mode = guard or ("enforce" if on else "inactive")
        for place in ("fleet", "report"):
            monkeypatch.setattr(f"airgap.{place}.guard_snapshot", lambda: GuardSnapshot(mode, active=mode == "enforce", selftest=mode == "enforce"))
        return [started(), started("threatintel", "worker"), started("threatintel", "beat")]

    return start
