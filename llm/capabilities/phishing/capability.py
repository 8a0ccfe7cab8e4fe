"""Triages an e-mail, a URL or a domain: our own indicators first, then the features by rule, then what a model adds within bounds."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from llm.capabilities.phishing.links import refanged, targets, url_host, url_reasons
from llm.capabilities.phishing.mail import mail_reasons, observables, read_mail
from llm.capabilities.phishing.names import host_reasons
from llm.capabilities.phishing.reasons import KNOWN_BAD, MODEL, Reason, Triage, judged, reason
from llm.grounding import repeats
from llm.lookups import known_bad
from llm.outcome import Model, Outcome, live_or_fallback
from tenants.models import Tenant

CAPABILITY: Final = "phishing"
MAX_CONTENT: Final = 256 * 1024  # characters
MAX_TOKENS: Final = 600
MODEL_MOST: Final = 0.35  # what all of a model's reasons may add
MODEL_LEAST: Final = -0.15  # and take away
_SHOWN: Final = 6000  # characters of an e-mail's text that go to a model
INSTRUCTIONS: Final = """You look for signs of phishing that rules miss: a pretext, a sender who acts out of character, a request that makes no sense, a story.
Answer with one JSON object: `reasons`, at most four, each with `evidence` (words copied letter by letter from the message), `detail` (one sentence) and
`weight`, -0.15 (speaks for a harmless message) to 0.35 (speaks for phishing). An empty list when you see nothing that `found_by_rule` does not say already."""
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["reasons"],
    "properties": {
        "reasons": {
            "type": "array",
            "maxItems": 4,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["evidence", "detail", "weight"],
                "properties": {
                    "evidence": {"type": "string", "minLength": 3, "maxLength": 200},
                    "detail": {"type": "string", "minLength": 10, "maxLength": 300},
                    "weight": {"type": "number", "minimum": MODEL_LEAST, "maximum": MODEL_MOST},
                },
            },
        }
    },
}


class Kind(StrEnum):
    """What is submitted."""

    EMAIL = "email"
    URL = "url"
    DOMAIN = "domain"


class BadContent(ValueError):
    """The content is not of its kind. str() names the fix."""


def triage(kind: Kind, content: str, *, tenant: Tenant | None) -> Outcome[Triage]:
    """The verdict with its reasons. Raises BadContent."""
    found, message = by_rule(kind, content)

    def ask(model: Model) -> Triage:
        # What feeds say, which may name a network that the message does not hold, is nothing for a model outside, whatever its marking.
        shown = [one.detail for one in found if not (model.outside and one.name == KNOWN_BAD)]
        data = {"kind": kind.value, "message": message, "found_by_rule": shown}
        answer = model.json(INSTRUCTIONS, data, SCHEMA, max_tokens=MAX_TOKENS)
        return judged([*found, *_added(answer["reasons"], message)])

    return live_or_fallback(CAPABILITY, ask, lambda: judged(found), tenant=tenant)


def by_rule(kind: Kind, content: str) -> tuple[list[Reason], str]:
    """What the rules and our own indicators find, and the text of the submission. Raises BadContent."""
    match kind:
        case Kind.EMAIL:
            mail = read_mail(content)
            if not (mail.sender or mail.subject or mail.text.strip() or mail.attachments):
                raise BadContent("This is no e-mail: paste its source, headers and body.")
            values, reasons = observables(mail), list(mail_reasons(mail))
            links = "\n".join(link.url for link in mail.links[:20])
            message = f"From: {mail.sender_name} <{mail.sender}>\nSubject: {mail.subject}\n\n{mail.text[:_SHOWN]}\n\n{links}"
        case Kind.URL:
            url = refanged(content)
            host = url_host(url)
            if host is None and ":" not in url[:12]:
                url = f"https://{url}"
                host = url_host(url)
            named = host is not None and any(mark in host for mark in ".:") and not re.search(r"\s", url)
            if not named and not url.lower().startswith(("data:", "javascript:", "vbscript:")):
                raise BadContent("This is no URL: give it whole, such as https://host/path.")
            passed = targets(url)
            values, reasons, message = [url, host or "", *passed, *(url_host(one) or "" for one in passed)], list(url_reasons(url)), url
        case Kind.DOMAIN:
            name = refanged(content).rstrip(".").lower()
            if len(name) > 253 or url_host(f"https://{name}/") is None or "/" in name or "." not in name:
                raise BadContent("This is no domain: give a name such as example.com.")
            values, reasons, message = [name], list(host_reasons(name, "link")), name
    return [*_known(values), *reasons], message


def _known(values: Iterable[str]) -> list[Reason]:
    return [reason(KNOWN_BAD, said) for said in known_bad(values).values()]


def _added(reasons: list[dict[str, Any]], message: str) -> list[Reason]:
    """The model's reasons, each with evidence that stands in the message, all together within bounds. Raises ValueError for an invented one, and for babble."""
    if any(repeats(one["detail"]) for one in reasons):
        raise ValueError("The model repeats itself.")
    said = " ".join(message.split()).casefold()
    total = 0.0
    found = []
    for number, one in enumerate(reasons, start=1):
        evidence = " ".join(one["evidence"].split())
        if evidence.casefold() not in said:
            raise ValueError("The model quotes what the message does not hold.")
        weight = max(MODEL_LEAST - min(total, 0.0), min(MODEL_MOST - max(total, 0.0), float(one["weight"])))
        total += weight
        found.append(Reason(f"{MODEL}_{number}", round(weight, 2), f"{' '.join(one['detail'].split())} (“{evidence}”)"[:300]))
    return found
