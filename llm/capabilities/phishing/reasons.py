"""What speaks for and against phishing, each with its weight, and the verdict that they add up to. Pure.

The weights were set by hand on the tuned cases of evals/phishing.jsonl; the held-out ones measure them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    PHISHING = "phishing"
    SUSPICIOUS = "suspicious"
    BENIGN = "benign"


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding. weight: what it adds to the score; below zero it speaks against phishing."""

    name: str
    weight: float
    detail: str


@dataclass(frozen=True, slots=True)
class Triage:
    verdict: Verdict
    confidence: float  # 0 to 1, that the verdict is right
    reasons: tuple[Reason, ...]


KNOWN_BAD: Final = "known_bad_indicator"
NOT_READ: Final = "not_read_whole"
MODEL: Final = "model"  # a name that begins so is the model's
PHISHING_FROM: Final = 0.6
SUSPICIOUS_FROM: Final = 0.3
WEIGHTS: Final = {
    KNOWN_BAD: 1.0,
    # sender
    "dmarc_fail": 0.3,
    "spf_fail": 0.15,
    "dkim_fail": 0.15,
    "authenticated": -0.2,
    "unauthenticated": 0.05,
    "reply_to_differs": 0.25,
    "display_name_impersonates": 0.45,
    "display_name_is_address": 0.35,
    "sender_lookalike": 0.6,
    "sender_is_recipient_domain_without_auth": 0.3,
    # links
    "link_lookalike": 0.6,
    "link_brand_outside_domain": 0.45,
    "link_text_mismatch": 0.4,
    "brand_other_suffix": 0.3,
    "link_to_address": 0.35,
    "link_user_info": 0.45,
    "link_homograph": 0.5,
    "link_shortener": 0.2,
    "link_many_labels": 0.15,
    "link_hosting_platform": 0.25,
    "link_cheap_suffix": 0.2,
    "link_credential_path": 0.25,
    "link_recipient_in_query": 0.25,
    "link_hidden_target": 0.25,
    "link_executable": 0.4,
    "link_plain_http": 0.1,
    "link_odd_port": 0.15,
    "random_name": 0.2,
    # attachments
    "attachment_executable": 0.55,
    "attachment_double_extension": 0.6,
    "attachment_macro": 0.35,
    "attachment_html": 0.4,
    "attachment_disk_image": 0.45,
    "attachment_archive": 0.15,
    # text
    "asks_for_credentials": 0.25,
    "urgency": 0.15,
    "threat": 0.15,
    "money": 0.2,
    "prize": 0.3,
    "gift_cards": 0.4,
    "payment_details_changed": 0.35,
    "secrecy": 0.2,
    "archive_password": 0.45,
    "generic_greeting": 0.1,
    "credential_form": 0.35,
    NOT_READ: 0.3,
    # against
    "known_site": -0.25,
    "own_sender_domain_links": -0.15,
    "mailing_list": -0.1,
}


def reason(name: str, detail: str, *, times: float = 1.0) -> Reason:
    return Reason(name, round(WEIGHTS[name] * times, 2), detail[:300])


def judged(reasons: Iterable[Reason]) -> Triage:
    """The verdict: each name counts once, at its heaviest; a known-bad indicator decides alone."""
    best: dict[str, Reason] = {}
    for one in reasons:
        if one.name not in best or abs(one.weight) > abs(best[one.name].weight):
            best[one.name] = one
    ordered = tuple(sorted(best.values(), key=lambda one: (-abs(one.weight), one.name)))
    score = sum(one.weight for one in ordered)
    if KNOWN_BAD in best:
        return Triage(Verdict.PHISHING, 0.99, ordered)
    if score >= PHISHING_FROM:
        return Triage(Verdict.PHISHING, round(min(0.97, 0.6 + (score - PHISHING_FROM) * 0.5), 2), ordered)
    if score >= SUSPICIOUS_FROM or NOT_READ in best:  # nobody can call benign what was not read
        return Triage(Verdict.SUSPICIOUS, 0.5, ordered)
    return Triage(Verdict.BENIGN, round(max(0.55, min(0.95, 0.9 - max(score, 0.0) + min(0.0, score) * -0.2)), 2), ordered)
