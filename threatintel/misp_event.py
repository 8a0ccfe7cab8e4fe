"""Reads MISP events, as they are exported and as restSearch answers them, into Records. Pure.

Source: the MISP core format (draft-dulaunoy-misp-core-format) and its list of attribute types (describeTypes).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from threatintel.canonical import NotCanonical, typed
from threatintel.normalise import timestamp
from threatintel.specs import Record, Tally, Tlp, Unread
from threatintel.stix import stix_json, tlp_named

# MISP's word -> ours. Of a composite type, one entry for each part, None for a part that is no indicator (a port, a text).
TYPES: Final[Mapping[str, tuple[str | None, ...]]] = {
    "ip-src": ("ipv4-addr",),
    "ip-dst": ("ipv4-addr",),
    "ip-src|port": ("ipv4-addr", None),
    "ip-dst|port": ("ipv4-addr", None),
    "domain": ("domain-name",),
    "hostname": ("domain-name",),
    "onion-address": ("domain-name",),
    "hostname|port": ("domain-name", None),
    "domain|ip": ("domain-name", "ipv4-addr"),
    "url": ("url",),
    "uri": ("url",),
    "email": ("email-addr",),
    "email-src": ("email-addr",),
    "email-dst": ("email-addr",),
    "email-reply-to": ("email-addr",),
    "whois-registrant-email": ("email-addr",),
    "dns-soa-email": ("email-addr",),
    "md5": ("file-hash:md5",),
    "sha1": ("file-hash:sha1",),
    "sha224": ("file-hash:sha224",),
    "sha256": ("file-hash:sha256",),
    "sha384": ("file-hash:sha384",),
    "sha512": ("file-hash:sha512",),
    "ssdeep": ("file-hash:ssdeep",),
    "tlsh": ("file-hash:tlsh",),
    "imphash": ("file-hash:imphash",),
    "filename": ("file-name",),
    "filename|md5": ("file-name", "file-hash:md5"),
    "filename|sha1": ("file-name", "file-hash:sha1"),
    "filename|sha224": ("file-name", "file-hash:sha224"),
    "filename|sha256": ("file-name", "file-hash:sha256"),
    "filename|sha384": ("file-name", "file-hash:sha384"),
    "filename|sha512": ("file-name", "file-hash:sha512"),
    "filename|ssdeep": ("file-name", "file-hash:ssdeep"),
    "filename|tlsh": ("file-name", "file-hash:tlsh"),
    "filename|imphash": ("file-name", "file-hash:imphash"),
    "filename|authentihash": ("file-name", None),
    "filename|vhash": ("file-name", None),
    "filename|impfuzzy": ("file-name", None),
    "filename|pehash": ("file-name", None),
    "filename|sha512/224": ("file-name", None),
    "filename|sha512/256": ("file-name", None),
    "filename|sha3-224": ("file-name", None),
    "filename|sha3-256": ("file-name", None),
    "filename|sha3-384": ("file-name", None),
    "filename|sha3-512": ("file-name", None),
    "malware-sample": ("file-name", "file-hash:md5"),
    "attachment": ("file-name",),
    "email-attachment": ("file-name",),
    "vulnerability": ("vulnerability",),
    "AS": ("autonomous-system",),
    "mac-address": ("mac-addr",),
    "mutex": ("mutex",),
    "regkey": ("windows-registry-key",),
    "regkey|value": ("windows-registry-key", None),
    "user-agent": ("user-agent",),
}
# Every other type of MISP's list, with why it is no indicator here.
LEFT_OUT: Final[Mapping[str, str]] = {
    type: reason
    for reason, types in {
        "a hash that no other source gives": (
            "authentihash vhash impfuzzy pehash telfhash cdhash sha512/224 sha512/256 sha3-224 sha3-256 sha3-384 sha3-512 dom-hash"
        ),
        "a fingerprint of a protocol or certificate": (
            "ja3-fingerprint-md5 jarm-fingerprint hassh-md5 hasshserver-md5 favicon-mmh3 ssh-fingerprint"
            " x509-fingerprint-sha1 x509-fingerprint-md5 x509-fingerprint-sha256 community-id pgp-public-key pgp-private-key"
        ),
        "a rule or pattern for another engine": (
            "snort suricata bro zeek yara sigma gene kusto-query cortex stix2-pattern"
            " pattern-in-file pattern-in-traffic pattern-in-memory filename-pattern"
        ),
        "a part of a mail that many share": (
            "email-subject email-body email-header email-x-mailer email-mime-boundary email-thread-index email-message-id"
            " email-dst-display-name email-src-display-name dkim dkim-signature"
        ),
        "who or what was attacked": "target-user target-email target-machine target-org target-location target-external",
        "an account or a key of a person or a payment": (
            "eppn github-username github-repository github-organisation jabber-id twitter-id git-commit-id btc dash xmr iban bic bank-account-nr"
            " aba-rtn bin cc-number prtn phone-number"
        ),
        "about a person": (
            "first-name middle-name last-name full-name date-of-birth place-of-birth gender identity-card-number passport-number passport-country"
            " passport-expiration redress-number nationality visa-number issue-date-of-the-visa primary-residence country-of-residence"
            " special-service-request frequent-flyer-number travel-details payment-details place-port-of-original-embarkation"
            " place-port-of-clearance place-port-of-onward-foreign-destination passenger-name-record-locator-number"
        ),
        "a name that analysts give": "threat-actor campaign-name campaign-id malware-type",
        "a record of a registration": "whois-registrant-phone whois-registrant-name whois-registrant-org whois-registrar whois-creation-date",
        "an artefact that is not compared here": (
            "pdb mime-type cookie named\u00a0pipe windows-scheduled-task windows-service-name windows-service-displayname process-state"
            " mobile-application-id azure-application-id chrome-extension-id edge-extension-id mac-eui-64 http-method"
        ),
        "a reference or a text": "link comment text hex other cpe weakness anonymised",
        "a number, a time or a flag": "float size-in-bytes counter integer datetime port boolean uuid",
    }.items()
    for type in (word.replace("\u00a0", " ") for word in types.split(" "))
}
_ORDER = tuple(Tlp)
_CONFIDENCE = {  # the MISP taxonomy's confidence-level, and the words of estimative language
    "completely-confident": 100,
    "usually-confident": 75,
    "fairly-confident": 50,
    "rarely-confident": 25,
    "unconfident": 0,
    "almost-certain": 95,
    "very-likely": 85,
    "likely": 70,
    "roughly-even-chance": 50,
    "unlikely": 30,
    "very-unlikely": 15,
    "almost-no-chance": 5,
}
_TLP_TAG = re.compile(r"\s*tlp\s*:(.*)", re.IGNORECASE | re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
DEFAULT_CONFIDENCE: Final = 50
DEFAULT_TLP: Final = Tlp.AMBER
MAX_ATTRIBUTES: Final = 200_000  # of one event
MAX_LABELS: Final = 40


def events_in(document: Any) -> Iterator[Mapping[str, Any]]:
    """The events of an exported file or an answer: bare, in {"Event": …}, in {"response": […]}, in a list."""
    if isinstance(document, list):
        for one in document:
            yield from events_in(one)
    elif isinstance(document, dict):
        if "response" in document:
            yield from events_in(document["response"])
        elif isinstance(document.get("Event"), dict):
            yield document["Event"]
        elif "Attribute" in document or "Object" in document or "info" in document:
            yield document


def event_objects(event: Mapping[str, Any], tally: Tally, *, server: str = "") -> Iterator[Unread]:
    """The attributes of an event and of its objects, not read yet. server: the MISP's URL, for a reference to the event."""
    head = {name: event[name] for name in ("uuid", "info", "date", "threat_level_id", "Orgc") if name in event}
    event_tags = _tags(event)
    tlp = _tlp_of(event_tags)
    reference = f"{server.rstrip('/')}/events/view/{event.get('uuid')}" if server and _UUID.fullmatch(str(event.get("uuid", "")).lower()) else ""
    for number, (attribute, gone) in enumerate(_attributes(event)):
        if number >= MAX_ATTRIBUTES:
            tally.skip("attributes beyond the bound of one event")
            return
        owner = str(attribute.get("uuid", "")).lower()
        if not _UUID.fullmatch(owner):
            tally.skip("attribute without a UUID")
            continue
        tags = (*event_tags, *_tags(attribute))
        raw = stix_json({**{name: value for name, value in attribute.items() if name not in ("data", "Galaxy", "ShadowAttribute")}, "Event": head})
        state = f"{raw}{gone}{reference}{chr(31).join(tags)}"
        yield Unread(
            owner,
            state,
            lambda attribute=attribute, owner=owner, tags=tags, raw=raw, gone=gone: list(  # type: ignore[misc]
                _records(attribute, owner, tags, tlp, raw, gone, str(event.get("info", "")), reference, tally)
            ),
        )


def event_date(event: Mapping[str, Any]) -> datetime | None:
    """When the event was last changed."""
    return _seconds(event.get("timestamp"))


def _records(
    attribute: Mapping[str, Any],
    owner: str,
    tags: tuple[str, ...],
    tlp: Tlp | None,
    raw: str,
    gone: bool,
    info: str,
    reference: str,
    tally: Tally,
) -> Iterator[Record]:
    kinds = TYPES.get(str(attribute.get("type")))
    if kinds is None or not any(kinds):
        type = str(attribute.get("type"))
        tally.skip(f"MISP type {type}: {LEFT_OUT[type]}" if type in LEFT_OUT else f"MISP type {_word(type)} is not known")
        return
    value = str(attribute.get("value", "")).replace("\0", "")
    parts = [value] if len(kinds) == 1 else value.rsplit("|", 1) if kinds[0] == "file-name" else value.split("|", 1)  # a file's name may hold one
    changed = _seconds(attribute.get("timestamp"))
    own = _tlp_of(_tags(attribute))
    marks = [one for one in (own, tlp) if one is not None]
    stated = dict.fromkeys(pair for kind, part in zip(kinds, parts, strict=False) if kind for pair in _typed(kind, part, tally))
    comment = attribute.get("comment")
    for pair in stated:
        yield Record(
            type=pair[0],
            value=pair[1],
            external_id=owner,
            confidence=_confidence(tags),
            tlp=max(marks, key=_ORDER.index, default=DEFAULT_TLP),
            labels=_labels(attribute, tags),
            description=_text(f"{info}: {comment}" if comment and comment != info else info),
            url=reference,
            references=(reference,) if reference else (),
            first_seen=timestamp(attribute.get("first_seen")) or changed,
            last_seen=timestamp(attribute.get("last_seen")) or changed,
            modified=changed,
            revoked=gone,
            context=not _is_true(attribute.get("to_ids")),
            raw=raw,
        )


def _attributes(event: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Each attribute with whether it, or the object that holds it, was deleted."""
    for attribute in _dicts(event.get("Attribute")):
        yield attribute, _is_true(attribute.get("deleted"))
    for holder in _dicts(event.get("Object")):
        for attribute in _dicts(holder.get("Attribute")):
            yield attribute, _is_true(attribute.get("deleted")) or _is_true(holder.get("deleted"))


def _typed(kind: str, text: str, tally: Tally) -> Iterator[tuple[str, str]]:
    try:
        yield typed(kind, text)
    except NotCanonical:
        tally.skip(f"a value that is no {kind}")


def _tags(holder: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for tag in _dicts(holder.get("Tag")) if isinstance(name := tag.get("name"), str))


def _tlp_of(tags: tuple[str, ...]) -> Tlp | None:
    """The most restrictive of the TLP tags. Of MISP's two own words `ex:chr` says nothing of how far, and `unclear` is as good as none."""
    words = [match[1].strip().lower() for tag in tags if (match := _TLP_TAG.match(tag))]
    return max((DEFAULT_TLP if word == "unclear" else tlp_named(word) for word in words if word != "ex:chr"), key=_ORDER.index, default=None)


def _confidence(tags: tuple[str, ...]) -> int:
    found = [
        _CONFIDENCE[word]
        for tag in tags
        if "confidence" in tag or "estimative" in tag
        for word in re.findall(r'="([a-z-]+)"', tag)
        if word in _CONFIDENCE
    ]
    return min(found, default=DEFAULT_CONFIDENCE)


def _labels(attribute: Mapping[str, Any], tags: tuple[str, ...]) -> tuple[str, ...]:
    warnings = attribute.get("warnings")
    lists = [str(one.get("warninglist_name", one.get("name", ""))) for one in _dicts(warnings)]
    named = (*(tag for tag in tags if not _TLP_TAG.match(tag)), *(f"warning-list:{name}" for name in lists if name))
    return tuple(dict.fromkeys(_text(label, 120) for label in named))[:MAX_LABELS]


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_true(value: object) -> bool:
    return value in (True, 1, "1", "true")


def _seconds(value: object) -> datetime | None:
    """MISP writes Unix seconds as text."""
    try:
        moment = datetime.fromtimestamp(int(str(value)), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if 1970 < moment.year < 2200 else None


def _word(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9|_-]{1,40}", value) else "(unreadable)"


def _text(value: str, length: int = 2000) -> str:
    text = value.replace("\0", "").strip()[:length]
    return text if text.isascii() else text.encode(errors="replace").decode()
