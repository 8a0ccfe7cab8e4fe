"""Stands for a library that somebody else wrote: it knows nothing of the air gap, and goes to addresses of its own or to those of the environment."""

import os
import socket
from dataclasses import asdict

from tests.egress.clients import tried
from tests.egress.lab import PUBLIC4S

TELEMETRY = "telemetry.vendor.example"
COLLECTOR = PUBLIC4S[-3]


def _report() -> None:
    import requests

    requests.post(f"https://{TELEMETRY}/v1/ping", json={"version": "1"}, timeout=2)


def _count() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"up 1", (COLLECTOR, 53))


def _ask_openai() -> None:
    """The library reads OPENAI_BASE_URL by itself."""
    import openai

    openai.OpenAI(max_retries=0, timeout=2).models.list()


def _ask_llm() -> None:
    import openai

    openai.OpenAI(base_url=os.environ["LLM_BASE_URL"], max_retries=0, timeout=2).models.list()


def _ask_anthropic() -> None:
    import httpx

    httpx.post(f"{os.environ['ANTHROPIC_BASE_URL']}/v1/messages", json={}, timeout=2)


def _mail() -> None:
    """By the relay of EMAIL_URL, as any application on Django would."""
    from django.core.mail import send_mail

    send_mail("up", "1", None, ["soc@example.com"])


# (what it uses, where that goes, the call)
CALLS = (
    ("requests", TELEMETRY, _report),
    ("a datagram", COLLECTOR, _count),
    ("openai", "api.openai.com", _ask_openai),
    ("openai for another server", "llm.example.com", _ask_llm),
    ("httpx for Anthropic", "api.anthropic.com", _ask_anthropic),
    ("Django's mail", "smtp.example.com", _mail),
)


def phone_home() -> list[dict[str, str]]:
    """What it tried, and how that ended."""
    return [asdict(tried(*call)) for call in CALLS]
