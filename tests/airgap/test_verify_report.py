"""The standalone verifier: RFC 8032's vectors, cryptography and RFC 8785 agree with it, and nothing altered, old or untrusted is valid."""

import ast
import base64
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airgap import ed25519, verify_report
from airgap.verify_report import NotValid, as_markdown, canonical, is_signed, read_age, read_public_key, verify
from tests.conftest import ROOT

# RFC 8032, section 7.1: public key, message, signature
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
KEY = ed25519.read_key(base64.urlsafe_b64encode(b"k" * 32).decode())
OTHER = ed25519.read_key(base64.urlsafe_b64encode(b"o" * 32).decode())


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(public: str, message: str, signature: str) -> None:
    assert is_signed(bytes.fromhex(public), signature, bytes.fromhex(message))
    assert not is_signed(bytes.fromhex(public), signature, bytes.fromhex(message) + b"x")


def test_it_agrees_with_cryptography_on_good_and_damaged_signatures() -> None:
    for number in range(8):
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        public, message = private.public_key().public_bytes_raw(), bytes(range(number * 9))
        good = private.sign(message)
        assert is_signed(public, good.hex(), message)
        for bit in (0, 100, 255, 256, 300, 511):
            damaged = bytearray(good)
            damaged[bit // 8] ^= 1 << bit % 8
            assert is_signed(public, damaged.hex(), message) is ed25519.is_signed(public, damaged.hex(), message) is False


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "00",
        "zz" * 64,
        VECTORS[0][2][:64] + (int.from_bytes(bytes.fromhex(VECTORS[0][2])[32:], "little") + verify_report._L).to_bytes(32, "little").hex(),
        "ff" * 32 + VECTORS[0][2][64:],
    ],
)
def test_what_is_no_canonical_signature_is_refused(signature: str) -> None:
    public = bytes.fromhex(VECTORS[0][0])
    assert is_signed(public, signature, b"") is False
    assert ed25519.is_signed(public, signature, b"") is False


def test_canonical_json_is_what_rfc8785_says() -> None:
    value = {"b": [1, -5, 2**53 - 1, True, None], "a": {"z": 'ü\u2028\x1f\x7f"\\/\n\U0001f600', "A": ""}, "_": {}}
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [1.5, {"ü": 1}, 2**53, "\ud800", [[]] * 1 + [object()]])
def test_what_readers_would_write_differently_is_not_canonical(value: Any) -> None:
    with pytest.raises(NotValid):
        canonical({"a": value})


# ── Reports ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def head(day: str, first: int, last: int, start: str, digest: str, key: ed25519.SigningKey = KEY, kind: str = "aisoc-trail-day") -> dict[str, Any]:
    content = {"attempts": 1, "day": day, "digest": digest, "first": first, "kind": kind, "last": last, "start": start}
    return {**content, "signature": key.sign(canonical(content)), "key": key.fingerprint}


FIRST, SECOND = head("2026-01-29", 1, 3, "0" * 64, "a" * 64), head("2026-01-30", 4, 9, "a" * 64, "b" * 64)


def report(**changed: Any) -> dict[str, Any]:
    item = {
        "id": "api_airgap", "title": "The API reports | on", "verdict": "OK", "evidence": "1 of 1", "next_step": "", "details": ["OK: on (a:1)"], "accepted": None,
    }  # fmt: skip
    content = {
        "kind": "aisoc-airgap-audit", "version": 1, "generated_at": "2026-01-31T11:00:00Z", "since": "2026-01-30T11:00:00Z", "verdict": "OK",
        "sentence": "1 of 1 done", "deployment": {"node": "soc-1", "service": "api", "version": "1", "policy_digest": "abc", "key": KEY.fingerprint},
        "policy": {"enabled": True, "allowlist": [], "policy": "All outbound HTTP is blocked."}, "processes": [], "checklist": [item], "attestations": [],
        "trail": {"rows": 9, "position": 9, "digest": "b" * 64, "days": [FIRST, SECOND], "open": None},
    }  # fmt: skip
    return {**content, **changed}


def document(content: dict[str, Any], key: ed25519.SigningKey = KEY) -> bytes:
    signature = {"algorithm": "Ed25519", "fingerprint": key.fingerprint, "public_key": key.public.hex(), "value": key.sign(canonical(content))}
    return json.dumps({"report": content, "signature": signature}).encode()


def why_not(content: bytes, **options: Any) -> str:
    with pytest.raises(NotValid) as caught:
        verify(content, **{"fingerprint": KEY.fingerprint, "now": NOW, **options})
    return str(caught.value)


def test_a_report_by_the_trusted_key_is_valid_with_its_age() -> None:
    for trust in ({"fingerprint": KEY.fingerprint}, {"public_key": KEY.public}, {"fingerprint": KEY.fingerprint.upper(), "public_key": KEY.public}):
        found = verify(document(report()), now=NOW, **trust)  # type: ignore[arg-type]
        assert (found.age, found.fingerprint) == (timedelta(hours=1), KEY.fingerprint)


def test_without_a_key_that_is_trusted_nothing_is_valid() -> None:
    assert "trusted key" in why_not(document(report()), fingerprint="")
    assert "not signed with the key" in why_not(document(report(), OTHER))
    assert "altered, or another key" in why_not(document(report(), OTHER), fingerprint="", public_key=KEY.public)
    assert "64 hexadecimal" in why_not(document(report()), fingerprint=KEY.fingerprint[:16])
    assert "does not have the fingerprint" in why_not(document(report()), public_key=OTHER.public)


def test_a_forger_who_puts_his_key_beside_the_trusted_fingerprint_gets_nowhere() -> None:
    forged = json.loads(document(report(verdict="OK"), OTHER))
    forged["signature"]["fingerprint"] = KEY.fingerprint
    assert "not signed with the key" in why_not(json.dumps(forged).encode())
    forged["signature"]["public_key"] = KEY.public.hex()
    assert "altered" in why_not(json.dumps(forged).encode())


def test_every_altered_part_of_a_report_shows() -> None:
    """Each leaf in turn: the verdict, an evidence, a digest, an allowlist entry."""
    whole = json.loads(document(report()))

    def leaves(value: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [leaf for name, one in inner for leaf in leaves(one, (*path, name))] if isinstance(value, dict | list) else [path]

    paths = leaves(whole["report"], ())
    assert len(paths) > 30
    for path in paths:
        altered = json.loads(json.dumps(whole))
        place = altered["report"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = "altered"
        with pytest.raises(NotValid):
            verify(json.dumps(altered).encode(), public_key=KEY.public, now=NOW, signed=ed25519.is_signed)


def test_an_old_report_that_is_shown_again_is_refused_by_its_age() -> None:
    old = document(report(generated_at="2026-01-29T11:00:00Z"))
    assert "49 h old" in why_not(old) or "2 d old" in why_not(old)
    assert verify(old, fingerprint=KEY.fingerprint, now=NOW, max_age=timedelta(days=7))
    assert verify(old, fingerprint=KEY.fingerprint, now=NOW, max_age=None)
    assert "future" in why_not(document(report(generated_at="2026-01-31T12:06:00Z")), max_age=None)
    assert "does not say when" in why_not(document(report(generated_at="yesterday")))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"report": {}, "signature": {}}', b'{"report": 1, "report": 2, "signature": {}}', b'{"report": NaN, "signature": {}}'],
)  # fmt: skip
def test_rubbish_is_not_a_report(content: bytes) -> None:
    assert why_not(content)


def test_a_signed_text_of_another_kind_is_no_report() -> None:
    assert "no audit report" in why_not(document({"kind": "aisoc-trail-day"}))


def test_heads_of_the_trail_must_be_signed_and_follow_one_another() -> None:
    def trail(*days: dict[str, Any]) -> bytes:
        return document(report(trail={"rows": 9, "position": 9, "digest": "b" * 64, "days": list(days), "open": None}))

    assert "2026-01-30 does not continue" in why_not(trail(FIRST, head("2026-01-30", 5, 9, "a" * 64, "b" * 64)))
    assert "2026-01-30 does not continue" in why_not(trail(FIRST, head("2026-01-30", 4, 9, "c" * 64, "b" * 64)))
    assert "2026-01-30 is not signed" in why_not(trail(FIRST, head("2026-01-30", 4, 9, "a" * 64, "b" * 64, OTHER)))
    failing = report()["checklist"][0] | {"id": "trail_verified", "verdict": "FAILING"}
    assert verify(document(report(checklist=[failing], trail={"days": [{}], "open": None})), fingerprint=KEY.fingerprint, now=NOW)
    assert verify(document(report(trail=None)), fingerprint=KEY.fingerprint, now=NOW)


def test_the_trail_must_continue_that_of_an_earlier_report() -> None:
    earlier = document(report(generated_at="2026-01-30T11:00:00Z"))
    assert verify(document(report()), fingerprint=KEY.fingerprint, now=NOW, previous=earlier)

    def trail(*days: dict[str, Any]) -> bytes:
        return document(report(trail={"rows": 9, "position": 9, "digest": "b" * 64, "days": list(days), "open": None}))

    assert "lost rows" in why_not(trail(FIRST), previous=earlier)
    other = head("2026-01-30", 4, 9, "a" * 64, "c" * 64)
    assert "2026-01-30 is not what it was" in why_not(trail(FIRST, other), previous=earlier)
    assert "younger" in why_not(earlier, previous=document(report()), max_age=None)
    assert why_not(document(report()), previous=document(report(), OTHER))


@pytest.mark.parametrize("form", ["pem", "hex", "base64", "raw"])
def test_a_public_key_is_read_in_each_usual_form(form: str) -> None:
    der = bytes.fromhex("302a300506032b6570032100") + KEY.public
    forms = {
        "pem": b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n",
        "hex": KEY.public.hex().encode() + b"\n",
        "base64": base64.urlsafe_b64encode(KEY.public),
        "raw": KEY.public,
    }
    assert read_public_key(forms[form]) == KEY.public


@pytest.mark.parametrize("text", [b"", b"rubbish", b"-----BEGIN PRIV" + b"ATE KEY-----\nAA==\n"])
def test_what_is_no_public_key_is_refused(text: bytes) -> None:
    with pytest.raises(NotValid):
        read_public_key(text)


def test_the_age_may_be_any_but_not_anything() -> None:
    assert (read_age("any"), read_age("24h"), read_age("7d"), read_age("30m")) == (
        None,
        timedelta(hours=24),
        timedelta(days=7),
        timedelta(minutes=30),
    )
    for text in ("", "0h", "24", "-1d", "1w"):
        with pytest.raises(ValueError):
            read_age(text)


def test_the_readable_form_says_the_same_and_breaks_no_table() -> None:
    text = as_markdown(report())
    assert "| 1 | The API reports \\| on | OK | 1 of 1 | – |" in text
    assert "| 2026-01-30 | 4-9 | 1 | " + "b" * 64 in text


def test_it_is_one_file_with_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(verify_report.__file__).read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= set(sys.stdlib_module_names) | {"collections.abc"}


@pytest.fixture
def standalone(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """The one file, copied away, run by a Python that sees no package and no project."""
    script = tmp_path / "verify_report.py"
    script.write_bytes((ROOT / "airgap" / "verify_report.py").read_bytes())

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-I", "-S", str(script), *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout

    return run


def test_the_one_file_verifies_on_a_machine_with_nothing_else(standalone: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(document(report()))
    (tmp_path / "k").write_text(KEY.public.hex())
    status, said = standalone("r.json", "--public-key", "k", "--max-age", "any", "--show")
    assert status == 0
    assert said.startswith("valid ")
    assert "# Air-gap audit" in said
    status, said = standalone("r.json", "--fingerprint", KEY.fingerprint)
    assert (status, said.split()[:2]) == (1, ["NOT", "VALID"])
    for words in (
        ["r.json"],
        ["gone.json", "--public-key", "k"],
        ["r.json", "--public-key", "gone"],
        ["r.json", "--public-key", "k", "--max-age", "soon"],
    ):
        status, said = standalone(*words)
        assert (status, said.split()[:2]) == (1, ["NOT", "VALID"])
