"""This process as its pages show it: who it is, what it enforces, and the health checks that its /health gives."""

import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import resolve

from airgap.snapshot import GuardSnapshot, airgap_snapshot, guard_snapshot, policy_digest


@dataclass(frozen=True, slots=True)
class Witness:
    """Who computed a page, so that a copy of it can be held against another. `digest` is of the air-gap policy."""

    node: str
    version: str
    digest: str
    guard: GuardSnapshot


@dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """What this process knows of itself. `process` is host:pid; `checks`: name to "ok" or the reason why not."""

    process: str
    node: str
    service: str
    role: str
    version: str
    airgapped: bool
    guard: GuardSnapshot
    digest: str
    checks: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def node_name() -> str:
    return socket.gethostname()


def process_name() -> str:
    """host:pid, as the heartbeat of this process and the trail have it."""
    return f"{node_name()[:120]}:{os.getpid()}"


def witness() -> Witness:
    return Witness(node_name(), settings.VERSION, policy_digest(airgap_snapshot()), guard_snapshot())


def process_snapshot() -> ProcessSnapshot:
    snapshot = airgap_snapshot()
    return ProcessSnapshot(
        process=process_name(),
        node=node_name(),
        service=settings.SERVICE,
        role=settings.ROLE.value,
        version=settings.VERSION,
        airgapped=snapshot.enabled,
        guard=guard_snapshot(),
        digest=policy_digest(snapshot),
        checks=health_checks(),
    )


def health_checks() -> dict[str, str]:
    """The checks of the last round, as /health answers them. That view lives above this app and is reached by its address."""
    match = resolve("/health")
    probe = HttpRequest()
    probe.method = "GET"
    checks: dict[str, str] = match.func(probe, *match.args, **match.kwargs).data["checks"]
    return checks
