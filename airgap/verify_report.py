#!/usr/bin/env python3
"""Verifies a signed audit report offline. One file, nothing but Python's standard library (3.9 or later): carry it to any machine.

    python3 verify_report.py REPORT.json (--public-key FILE | --fingerprint HEX) [--max-age 24h] [--previous OLDER.json] [--show]

A report is valid when the key that you name signed exactly this content, when it is young enough, and when the heads of the trail in
it are signed and follow one another. Without a key or fingerprint that you trust nothing is valid: the key in the report proves
nothing, whoever wrote the report could have put it there. Exit status: 0 valid, 1 not.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

KIND = "aisoc-airgap-audit"
MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
CLOCKS = timedelta(minutes=5)  # by which two clocks may differ
NOT_TRUSTED = "No trusted key was given: name the public key or its fingerprint, from a source other than this report."
Signed = Callable[[bytes, str, bytes], bool]  # public key, signature in hexadecimal, message


class NotValid(Exception):
    """Why the report is not valid; one sentence."""


class Verified(NamedTuple):
    """A report that is valid, with its age."""

    report: dict[str, Any]
    fingerprint: str
    age: timedelta


def verify(
    content: bytes,
    *,
    fingerprint: str = "",
    public_key: bytes = b"",
    now: datetime | None = None,
    max_age: timedelta | None = timedelta(hours=24),
    previous: bytes = b"",
    signed: Signed | None = None,
) -> Verified:
    """Raises NotValid. max_age None: any age. previous: an older report, itself verified, that the trail in this one must continue."""
    signed = signed or is_signed
    if not fingerprint and not public_key:
        raise NotValid(NOT_TRUSTED)
    report, signature = _parts(content)
    key = _trusted(signature, fingerprint.replace(":", "").strip().lower(), public_key)
    if not signed(key, signature["value"], canonical(report)):
        raise NotValid("The signature does not fit the content: the report was altered, or another key signed it.")
    if report.get("kind") != KIND or not isinstance(report.get("checklist"), list):
        raise NotValid("This is signed, but it is no audit report.")
    age = _age(report, now or datetime.now(timezone.utc), max_age)
    _check_trail(report, key, signed)
    if previous:
        _check_continues(report, verify(previous, public_key=key, now=now, max_age=None, signed=signed).report)
    return Verified(report, hashlib.sha256(key).hexdigest(), age)


def _parts(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    if len(content) > MAX_BYTES:
        raise NotValid(f"The file has more than {MAX_BYTES // 2**20} MiB.")
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotValid(f"The file is not a report: {error}") from None
    if not isinstance(document, dict) or set(document) != {"report", "signature"}:
        raise NotValid("The file is not a report: it has not exactly the members report and signature.")
    report, signature = document["report"], document["signature"]
    if not isinstance(report, dict) or not isinstance(signature, dict) or not isinstance(signature.get("value"), str):
        raise NotValid("The file is not a report: its members are not what they should be.")
    if signature.get("algorithm") != "Ed25519":
        raise NotValid("The signature is not an Ed25519 signature.")
    return report, signature


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object, which readers read differently")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a whole number")


def _trusted(signature: dict[str, Any], fingerprint: str, public_key: bytes) -> bytes:
    """The key to verify with: the one given, or the report's own when it has the fingerprint given."""
    if public_key:
        if fingerprint and hashlib.sha256(public_key).hexdigest() != fingerprint:
            raise NotValid("The public key given does not have the fingerprint given.")
        return public_key
    if not re.fullmatch("[0-9a-f]{64}", fingerprint):
        raise NotValid("A fingerprint has 64 hexadecimal digits (SHA-256 of the public key).")
    try:
        own = bytes.fromhex(str(signature.get("public_key", "")))
    except ValueError:
        own = b""
    if len(own) != 32 or hashlib.sha256(own).hexdigest() != fingerprint:
        raise NotValid("The report is not signed with the key of this fingerprint.")
    return own


def _age(report: dict[str, Any], now: datetime, max_age: timedelta | None) -> timedelta:
    try:
        made = datetime.strptime(str(report["generated_at"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (KeyError, ValueError):
        raise NotValid("The report does not say when it was made.") from None
    age = now - made
    if age < -CLOCKS:
        raise NotValid(f"The report is of the future ({report['generated_at']}): a clock is wrong, here or there.")
    if max_age is not None and age > max_age:
        raise NotValid(f"The report is {in_words(age)} old, made {report['generated_at']}; at most {in_words(max_age)} are accepted.")
    return age


# ── The trail in the report ──────────────────────────────────────────────────────────────────────────────────────────
def _heads(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The finished days and the open one, the oldest first; none when the deployment could not read its trail."""
    trail = report.get("trail")
    if trail is None:
        return []
    days, head = (trail.get("days"), trail.get("open")) if isinstance(trail, dict) else (None, None)
    heads = [*days, *([head] if head else [])] if isinstance(days, list) else []
    if not isinstance(days, list) or not all(isinstance(one, dict) for one in heads):
        raise NotValid("The report's trail cannot be read.")
    return heads


def _check_trail(report: dict[str, Any], key: bytes, signed: Signed) -> None:
    """Each head carries the trusted key's signature, and each day begins where the one before it ended: unless the report itself says no."""
    if any(item.get("id") == "trail_verified" and item.get("verdict") == "FAILING" for item in report["checklist"]):
        return
    fingerprint = hashlib.sha256(key).hexdigest()
    before: dict[str, Any] | None = None
    for head in _heads(report):
        content = {name: value for name, value in head.items() if name not in ("signature", "key")}
        if head.get("key") != fingerprint or not signed(key, str(head.get("signature")), canonical(content)):
            raise NotValid(f"The trail's head of {head.get('day')} is not signed with the trusted key.")
        if before is not None and (head.get("first"), head.get("start")) != (_next(before), before.get("digest")):
            raise NotValid(f"The trail's day {head.get('day')} does not continue {before.get('day')}.")
        before = head


def _next(head: dict[str, Any]) -> int:
    return int(head["last"]) + 1 if isinstance(head.get("last"), int) else -1


def _check_continues(report: dict[str, Any], older: dict[str, Any]) -> None:
    """What the older report knew of the trail is still so: its finished days unchanged, its last row not gone."""
    if older["generated_at"] > report["generated_at"]:
        raise NotValid("The previous report is the younger one.")
    heads = _heads(report)
    by_first = {head.get("first"): head for head in heads}
    end = max((_next(head) - 1 for head in heads), default=0)
    first = min((head["first"] for head in heads if isinstance(head.get("first"), int)), default=0)
    for head in _heads(older):
        is_day = head.get("kind") == "aisoc-trail-day"
        if _next(head) - 1 > end:
            raise NotValid(f"The trail has lost rows: it ended with row {_next(head) - 1} on {head.get('day')}, and ends with row {end} now.")
        if is_day and head["first"] >= first and by_first.get(head["first"]) != head:
            raise NotValid(f"The trail's day {head.get('day')} is not what it was in the previous report.")


# ── Canonical JSON ───────────────────────────────────────────────────────────────────────────────────────────────────
def canonical(value: Any) -> bytes:
    """RFC 8785 of what a report holds: texts, whole numbers up to 2^53, booleans, null, lists, and objects with ASCII names."""
    _check_canonical(value, 0)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")


def _check_canonical(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotValid("The report is nested too deep.")
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str) or not name.isascii():
                raise NotValid("A name in the report is not ASCII.")
            _check_canonical(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_canonical(inner, depth + 1)
    elif isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise NotValid("A text in the report is not Unicode.")
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 2**53:
            raise NotValid("A number in the report is too large.")
    elif value is not None and not isinstance(value, bool):
        raise NotValid("There is something in the report that no report holds.")


# ── Ed25519 (RFC 8032, section 5.1), verification alone ──────────────────────────────────────────────────────────────
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]  # extended homogeneous coordinates: X, Y, Z, T


def is_signed(public: bytes, signature: str, message: bytes) -> bool:
    """Whether `signature` (hexadecimal) over `message` was made by the holder of the public key."""
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        return False
    if len(raw) != 64 or len(public) != 32:
        return False
    point, nonce, scalar = _point(public), _point(raw[:32]), int.from_bytes(raw[32:], "little")
    if point is None or nonce is None or scalar >= _L:
        return False
    challenge = int.from_bytes(hashlib.sha512(raw[:32] + public + message).digest(), "little") % _L
    return _equal(_times(scalar, _BASE), _add(nonce, _times(challenge, point)))


def _point(raw: bytes) -> Point | None:
    """Decoding (5.1.3); None for what is no point."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _SQRT_M1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _add(one: Point, other: Point) -> Point:
    """Addition (5.1.4)."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: Point) -> Point:
    product = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            product = _add(product, point)
        point, scalar = _add(point, point), scalar >> 1
    return product


def _equal(one: Point, other: Point) -> bool:
    return (one[0] * other[2] - other[0] * one[2]) % _P == 0 and (one[1] * other[2] - other[1] * one[2]) % _P == 0


_base = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))
if _base is None:
    raise AssertionError("The base point of edwards25519 is a point.")
_BASE: Point = _base


# ── The report as text ───────────────────────────────────────────────────────────────────────────────────────────────
def as_markdown(report: dict[str, Any]) -> str:
    """The readable form of a report's content: the same facts, in the same words."""
    deployment, policy = report["deployment"], report["policy"]
    lines = [
        "# Air-gap audit",
        "",
        f"**{report['verdict']}** {report['sentence']}",
        "",
        f"Made {report['generated_at']} by {deployment['node']} ({deployment['service']}, version {deployment['version']}); "
        f"refused attempts since {report['since']}. Signed with the key {deployment['key']}.",
        "",
        "## Policy",
        "",
        f"- Air gap: {'on' if policy['enabled'] else 'OFF'}, digest {deployment['policy_digest']}",
        f"- Allowlist: {', '.join(policy['allowlist']) or '(empty)'}",
        f"- {policy['policy']}",
        "",
        "## Checklist",
        "",
        "| # | Item | Result | Evidence | Next step |",
        "| ---: | --- | --- | --- | --- |",
    ]
    for number, item in enumerate(report["checklist"], 1):
        accepted = item["accepted"]
        because = f" Accepted by {accepted['by']} until {accepted['expires_at'][:10]}: {accepted['note']}" if accepted else ""
        lines.append(f"| {number} | {_cell(item['title'])} | {item['verdict']} | {_cell(item['evidence'] + because)} | {_cell(item['next_step'])} |")
    lines += ["", "## Evidence"]
    for item in report["checklist"]:
        if item["details"]:
            lines += ["", f"### {item['title']}", "", *(f"- {_cell(line)}" for line in item["details"])]
    lines += ["", "## Processes", ""]
    if report["processes"] is None:
        lines.append("Not known: the database was away.")
    else:
        lines += [
            "| Process | Service | Air gap | Guard | Policy | Version | Last beat | State |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for one in report["processes"]:
            words = (one["process"], f"{one['service']} {one['role']}", "on" if one["airgapped"] else "OFF", one["guard"], one["digest"])
            lines.append(f"| {' | '.join(_cell(word) for word in (*words, one['version'], one['last_seen'], one['state']))} |")
    lines += ["", "## Attestations", ""]
    lines += [_attestation(one) for one in report["attestations"]] or ["None."]
    lines += ["", "## Trail", ""]
    trail = report["trail"]
    if trail is None:
        lines.append("Not known: the database was away.")
    else:
        lines.append(f"{trail['rows']} rows, the last one at position {trail['position']}; its digest {trail['digest']}.")
        if trail["days"] or trail["open"]:
            lines += ["", "| Day | Rows | Attempts | Digest at its end |", "| --- | --- | ---: | --- |"]
            for head in [*trail["days"], *([trail["open"]] if trail["open"] else [])]:
                name = f"{head['day']}{'' if head['kind'] == 'aisoc-trail-day' else ' (open)'}"
                lines.append(f"| {name} | {head['first']}-{head['last']} | {head['attempts']} | {head['digest']} |")
    return "\n".join(lines) + "\n"


def _attestation(one: dict[str, Any]) -> str:
    what = "accepted" if one["accepts"] else "attested"
    ticket = f", ticket {one['ticket']}" if one["ticket"] else ""
    doubt = "" if one["genuine"] else " NOT GENUINE: its signature does not fit."
    return _cell(f"- {one['item']} {what} by {one['by']} at {one['at']}, until {one['expires_at']}{ticket}: {one['note']}{doubt}")


def _cell(text: object) -> str:
    return re.sub(r"([\\|<`\[])", r"\\\1", " ".join(str(text).split())) or "–"


# ── The command ──────────────────────────────────────────────────────────────────────────────────────────────────────
def read_span(text: str) -> timedelta:
    """`30m`, `24h`, `7d`. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text.strip())
    if match is None:
        raise ValueError("A span is a whole number with m, h or d: 30m, 24h, 7d.")
    return int(match[1]) * {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[match[2]]


def read_age(text: str) -> timedelta | None:
    """As read_span; `any` is None."""
    return None if text == "any" else read_span(text)


def read_public_key(content: bytes) -> bytes:
    """32 bytes from PEM (SubjectPublicKeyInfo), hexadecimal, Base64 or raw. Raises NotValid."""
    if len(content) == 32:
        return content
    text = content.decode("ascii", errors="replace").strip()
    if "PRIVATE KEY" in text:
        raise NotValid("This is a private key. Give the public one.")
    body = re.fullmatch(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----", text)
    prefix = bytes.fromhex("302a300506032b6570032100")  # RFC 8410
    try:
        if body is not None:
            der = base64.b64decode("".join(body[1].split()), validate=True)
            key = der[len(prefix) :] if der.startswith(prefix) else b""
        else:
            key = bytes.fromhex(text) if re.fullmatch("[0-9a-fA-F]{64}", text) else base64.b64decode(text, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != 32:
        raise NotValid("The file holds no Ed25519 public key (PEM, hexadecimal or Base64).")
    return key


def in_words(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 1440 else f"{minutes // 1440} d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="The report.")
    parser.add_argument("--public-key", metavar="FILE", default="", help="The public key that you trust.")
    parser.add_argument("--fingerprint", metavar="HEX", default="", help="Its fingerprint: SHA-256 of the 32 bytes, in hexadecimal.")
    parser.add_argument("--max-age", metavar="SPAN", default="24h", help="The oldest report that is accepted: 30m, 24h, 7d, or any.")
    parser.add_argument("--previous", metavar="FILE", default="", help="An older report, which the trail in this one must continue.")
    parser.add_argument("--show", action="store_true", help="Print what the report says, in readable form, when it is valid.")


def run(options: dict[str, Any], say: Callable[[str], None], signed: Signed | None = None) -> int:
    """The command itself, for every caller: prints and returns its exit status."""
    try:
        found = verify(
            _read(options["file"]),
            fingerprint=options["fingerprint"],
            public_key=read_public_key(_read(options["public_key"])) if options["public_key"] else b"",
            max_age=read_age(options["max_age"]),
            previous=_read(options["previous"]) if options["previous"] else b"",
            signed=signed,
        )
    except (NotValid, ValueError) as error:
        say(f"NOT VALID  {error}")
        return 1
    report = found.report
    say(f"valid      signed with the key {found.fingerprint}")
    say(f"made       {report['generated_at']}, {in_words(found.age)} ago, by {report['deployment']['node']}")
    say(f"says       {report['verdict']}: {report['sentence']}")
    if options["show"]:
        say("")
        say(as_markdown(report))
    return 0


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotValid(f"{path} cannot be read ({type(error).__name__}).") from None


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify a signed audit report offline.")
    add_arguments(parser)
    return run(vars(parser.parse_args()), _print)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
