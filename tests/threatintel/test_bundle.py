"""Bundles of feed files: nothing of one is read before its signature, names, sizes and checksums are verified; four kinds come out as they went in."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from airgap.drain import drain
from airgap.ed25519 import public_pem, read_key
from airgap.models import EgressEvent
from aisoc_admin import keys
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror, body, redirect
from tests.plugins.misp_double import KEY, MispDouble
from tests.plugins.taxii_server import PASSWORD, REPORT, USERNAME, TaxiiServer, stix_indicator
from tests.threatintel.test_otx import KEY as OTX_KEY
from tests.threatintel.test_otx import observed, pulse
from threatintel import offline, runs
from threatintel.bundle import MANIFEST, SIGNATURE, BundledFile, Manifest, sign_manifest, verify_manifest
from threatintel.bundle_import import verified
from threatintel.feeds import otx
from threatintel.models import FeedCursor, FeedRun, ImportedBundle, Indicator, IndicatorSource
from threatintel.poll import poll
from threatintel.registry import feeds
from threatintel.specs import FeedError

Environment = Callable[..., object]
SIGNER, STRANGER = read_key(keys.new_signing_key()), read_key(keys.new_signing_key())
MADE = datetime(2026, 5, 2, tzinfo=UTC)
NAME = "00-kev.json"


def listed(name: str, content: bytes, **changes: Any) -> BundledFile:
    entry = BundledFile(
        feed="kev", kind="kev", file=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content), records=1, data_date="2024-05-01"
    )
    return replace(entry, **changes)


def write_bundle(folder: Path, content: bytes = b"", *, created: datetime = MADE, **changes: Any) -> Path:
    """A bundle of one KEV file, signed by SIGNER. changes: of its entry in the manifest."""
    content = content or catalogue([row(0)])
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(content)
    sign(folder, Manifest(created=created, product_version="1.0", files=(listed(NAME, content, **changes),)).text())
    return folder


def sign(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    (folder / SIGNATURE).write_text(sign_manifest(text, SIGNER))


@pytest.fixture
def public(tmp_path: Path) -> Path:
    path = tmp_path / "carried" / "key.pem"
    path.parent.mkdir()
    path.write_text(public_pem(SIGNER.public))
    return path


def bring_in(folder: Path, public: Path, *options: str) -> str:
    out = io.StringIO()
    call_command("import_bundle", str(folder), "--public-key", str(public), *options, stdout=out)
    return out.getvalue()


# ── What is refused before anything is parsed ────────────────────────────────────────────────────────────────────────
def longer(path: Path, more: bytes = b" ") -> None:
    path.write_bytes(path.read_bytes() + more)


def linked(folder: Path) -> None:
    (folder / NAME).rename(folder.parent / "elsewhere.json")
    (folder / NAME).symlink_to(folder.parent / "elsewhere.json")


def piped(folder: Path) -> None:
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


ATTACKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a manifest that was altered": (lambda folder: longer(folder / MANIFEST), "not signed by the given public key"),
    "a signature that was altered": (lambda folder: (folder / SIGNATURE).write_text("00" * 64), "not signed by the given public key"),
    "a signature that is no text": (lambda folder: (folder / SIGNATURE).write_bytes(b"\xff\x00"), "not signed by the given public key"),
    "a signature without end": (lambda folder: (folder / SIGNATURE).write_bytes(b"0" * 10_000), "more than 256 bytes"),
    "a manifest without end": (lambda folder: (folder / MANIFEST).write_bytes(b" " * 300_000), "more than 262144 bytes"),
    "a manifest that is a link": (lambda folder: ((folder / MANIFEST).unlink(), (folder / MANIFEST).symlink_to("/etc/hostname")), "link, not a file"),
    "no manifest": (lambda folder: without(folder, MANIFEST), f"no {MANIFEST}"),
    "no signature": (lambda folder: without(folder, SIGNATURE), f"no {SIGNATURE}"),
    "a file that was altered": (
        lambda folder: (folder / NAME).write_bytes((folder / NAME).read_bytes().replace(b"CVE-2024", b"CVE-2023")),
        "has the SHA-256",
    ),
    "a file that was cut off": (lambda folder: (folder / NAME).write_bytes((folder / NAME).read_bytes()[:-1]), "as the manifest says"),
    "a file that is longer": (lambda folder: longer(folder / NAME), "has more than"),
    "a file that is missing": (lambda folder: without(folder, NAME), "is missing"),
    "a file too many": (lambda folder: (folder / "01-kev.json").write_bytes(b"{}"), "does not list"),
    "a folder too many": (lambda folder: (folder / "more").mkdir(), "does not list"),
    "more files than are counted": (lambda folder: [(folder / f"{n}.json").touch() for n in range(300)], "more than 202 files"),
    "a file that is a link": (linked, "link, not a file"),
    "a file that is a pipe": (piped, "is no file"),
    "a file that is a folder": (lambda folder: ((folder / NAME).unlink(), (folder / NAME).mkdir()), "is no file"),
}


@pytest.mark.django_db  # whose clock it is
@pytest.mark.parametrize("name", ATTACKS)
def test_a_bundle_that_was_tampered_with_is_refused_unread(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bundle(tmp_path / "bundle")
    monkeypatch.setattr(offline.Carried, "chunks", lambda *_: pytest.fail("a file was read before the bundle was verified"))
    attack, reason = ATTACKS[name]
    attack(folder)
    with pytest.raises(FeedError, match=reason), verified(folder, SIGNER.public):
        pass


@pytest.mark.django_db
def test_an_untouched_bundle_is_verified(tmp_path: Path) -> None:
    with verified(write_bundle(tmp_path / "bundle"), SIGNER.public) as bundle:
        assert (list(bundle.files), bundle.fingerprint, bundle.manifest.created) == ([NAME], SIGNER.fingerprint, MADE)


@pytest.mark.django_db
def test_another_key_verifies_nothing(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="not signed by the given public key"), verified(write_bundle(tmp_path / "bundle"), STRANGER.public):
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "../00-kev.json"},
        {"file": "/etc/hostname"},
        {"file": "00-kev.json\n"},
        {"file": "manifest.json"},
        {"file": "00-stix.json"},  # of another kind than the entry
        {"kind": "exec"},
        {"size": -1},
        {"size": "7"},
        {"sha256": "0"},
        {"feed": None},
        {"feed": "k" * 121},
        {"records": -1},
    ],
    ids=str,
)
def test_a_signed_manifest_is_held_to_its_form_too(changes: dict[str, Any]) -> None:
    manifest = Manifest(created=MADE, product_version="1.0", files=(listed(NAME, b"x", **changes),)).text()
    with pytest.raises(FeedError, match="not a manifest of a bundle"):
        verify_manifest(manifest, sign_manifest(manifest, SIGNER).encode(), SIGNER.public, MADE)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"{", b"[" * 5000, b'{"format":1}', b'{"created":"x","files":[],"format":1,"product_version":""}'], ids=repr
)
def test_signed_text_that_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(FeedError, match="not a manifest of a bundle"):
        verify_manifest(text, sign_manifest(text, SIGNER).encode(), SIGNER.public, MADE)


def test_one_manifest_has_one_text() -> None:
    said = json.loads(Manifest(created=MADE, product_version="1.0", files=(listed(NAME, b"x"),)).text())
    text = json.dumps(said, indent=1).encode()
    with pytest.raises(FeedError, match="not written canonically"):
        verify_manifest(text, sign_manifest(text, SIGNER).encode(), SIGNER.public, MADE)


def test_what_the_key_signed_for_another_purpose_is_no_manifest() -> None:
    text = Manifest(created=MADE, product_version="1.0", files=(listed(NAME, b"x"),)).text()
    with pytest.raises(FeedError, match="not signed"):
        verify_manifest(text, SIGNER.sign(text).encode(), SIGNER.public, MADE)


def test_a_bundle_from_the_future_is_refused() -> None:
    text = Manifest(created=MADE + timedelta(days=2), product_version="1.0", files=(listed(NAME, b"x"),)).text()
    with pytest.raises(FeedError, match="lies ahead"):
        verify_manifest(text, sign_manifest(text, SIGNER).encode(), SIGNER.public, MADE)


def test_another_format_is_named() -> None:
    text = Manifest(created=MADE, product_version="1.0", files=()).text().replace(b'"format":1', b'"format":2')
    with pytest.raises(FeedError, match="format 2"):
        verify_manifest(text, sign_manifest(text, SIGNER).encode(), SIGNER.public, MADE)


# ── The command ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_without_a_public_key_nothing_is_imported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--public-key"):
        call_command("import_bundle", str(write_bundle(tmp_path / "bundle")))


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"k" * 5000], ids=["empty", "broken", "long"]
)
def test_what_is_no_public_key_is_refused(content: bytes, tmp_path: Path, public: Path) -> None:
    public.write_bytes(content)
    with pytest.raises(CommandError, match=r"public key in PEM|more than 4096 bytes"):
        bring_in(write_bundle(tmp_path / "bundle"), public)


@pytest.mark.django_db(transaction=True)
def test_the_same_bundle_twice_changes_nothing(tmp_path: Path, public: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    assert "1 new" in bring_in(folder, public)
    assert "0 new, 0 changed, 0 retired" in bring_in(folder, public)
    assert (IndicatorSource.objects.count(), ImportedBundle.objects.count()) == (1, 1)
    assert FeedRun.objects.filter(feed="kev", state="ok", source__startswith=f"{NAME} ").count() == 2


@pytest.mark.django_db(transaction=True)
def test_an_older_bundle_is_a_replay_unless_it_is_asked_for(tmp_path: Path, public: Path, caplog: pytest.LogCaptureFixture) -> None:
    later = catalogue([row(0), row(1)])
    bring_in(write_bundle(tmp_path / "new", later, created=MADE + timedelta(hours=1)), public)
    old = write_bundle(tmp_path / "old")
    with pytest.raises(CommandError, match="--allow-older"):
        bring_in(old, public)
    assert "bundle.refused" in caplog.text
    assert IndicatorSource.objects.filter(revoked=False).count() == 2
    assert "1 retired" in bring_in(old, public, "--allow-older")


@pytest.mark.django_db(transaction=True)
def test_a_file_that_fails_is_told_and_the_others_are_stored(tmp_path: Path, public: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    (folder / "01-stix.json").write_bytes(b'{"type":"bundle","objects":[{"type":"indicator"')
    broken = listed("01-stix.json", (folder / "01-stix.json").read_bytes(), feed="taxii:x", kind="stix")
    sign(folder, Manifest(created=MADE, product_version="1.0", files=(broken, listed(NAME, (folder / NAME).read_bytes()))).text())
    with pytest.raises(CommandError, match=r"taxii:x \(01-stix.json\): The JSON is not whole"):
        bring_in(folder, public)
    assert Indicator.objects.get().value == "CVE-2024-10000"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("said", "date"), [("2024-04-01T00:00:00.000000Z", datetime(2024, 4, 1, tzinfo=UTC)), ("", MADE)])
def test_a_collection_is_as_old_as_its_bundle_says_not_as_its_import(said: str, date: datetime, tmp_path: Path, public: Path) -> None:
    """STIX has no date of its own: what was carried in a month after it was fetched must not look new."""
    folder = write_bundle(tmp_path / "bundle")
    (folder / "01-stix.json").write_text(json.dumps({"type": "bundle", "objects": [stix_indicator(1)]}))
    collection = listed("01-stix.json", (folder / "01-stix.json").read_bytes(), feed="taxii:x", kind="stix", data_date=said)
    sign(folder, Manifest(created=MADE, product_version="1.0", files=(collection, listed(NAME, (folder / NAME).read_bytes()))).text())
    bring_in(folder, public)
    assert FeedCursor.objects.get(feed="stix").data_date == date


# ── Out of one site and into another ─────────────────────────────────────────────────────────────────────────────────
def otx_page(handler: Any) -> None:
    second = "page=2" in handler.path
    pulses = [pulse(1, observed(), observed("192.0.2.9", "IPv4"))] if second else [pulse(2, observed("\u0435vil\x00.example\ud800", "hostname"))]
    body(json.dumps({"results": [*pulses, pulse(3)], "next": None if second else "https://otx.alienvault.com/x"}).encode())(handler)


def stated() -> set[tuple[Any, ...]]:
    """What is held, whatever the name of the feed it came from."""
    found = IndicatorSource.objects.select_related("indicator").filter(revoked=False)
    return {(one.indicator.type, one.indicator.value, one.external_id, one.tlp, one.confidence, tuple(one.labels), one.context) for one in found}


@pytest.mark.django_db(transaction=True)
def test_all_four_kinds_come_in_as_a_poll_would_have_brought_them(
    tmp_path: Path, environment: Environment, mirror: Mirror, misp_double: MispDouble, taxii_server: TaxiiServer, shared_data: Path, settings: Any
) -> None:
    settings.AIRGAP_SIGNING_KEY = SIGNER
    mirror.answers["/kev.json"] = body((shared_data / "kev.json").read_bytes())
    mirror.answers[otx.PATH] = otx_page
    misp_double.searched = [json.loads((shared_data / "misp_event_370.json").read_bytes())["Event"]]
    environment(
        AISOC_AIRGAPPED="1", CISA_KEV_URL=f"{mirror.url}/kev.json", OTX_BASE_URL=mirror.url, OTX_API_KEY=OTX_KEY,
        MISP_URL=misp_double.url, MISP_API_KEY=KEY, TAXII_URL=taxii_server.url, TAXII_COLLECTION_IDS=REPORT, TAXII_USERNAME=USERNAME, TAXII_PASSWORD=PASSWORD,
    )  # fmt: skip
    for spec in feeds():
        if spec.url:
            slot = runs.manual_slot()
            runs.open_run(spec.name, slot)
            polled = poll(spec, slot, retry=False)
            assert polled is not None
            assert polled.state == "ok", polled.reason
    expected = stated()
    kinds = {"kev", "misp", "otx", f"taxii:{REPORT}"}
    assert set(IndicatorSource.objects.values_list("feed", flat=True)) == kinds
    for model in (IndicatorSource, Indicator, FeedRun, FeedCursor):
        model.objects.all().delete()

    folder, out = tmp_path / "out" / "bundle", io.StringIO()
    call_command("export_feeds", str(folder), stdout=out)
    assert not FeedRun.objects.exists()
    assert not FeedCursor.objects.exists()
    assert SIGNER.fingerprint in out.getvalue()
    for planted in (KEY, OTX_KEY, PASSWORD):
        assert not any(planted.encode() in path.read_bytes() for path in folder.iterdir())
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    said = json.loads((folder / MANIFEST).read_bytes())
    assert {one["feed"]: one["records"] for one in said["files"]} == {"kev": 1404, "misp": 1, "otx": 4, f"taxii:{REPORT}": len(taxii_server.objects)}
    assert all(one["data_date"] for one in said["files"])

    environment(AISOC_AIRGAPPED="1")
    told = bring_in(folder, folder.with_name("bundle.public_key.pem"))
    assert f"verified 4 files, made {said['created'][:10]}" in told
    assert stated() == expected
    assert set(IndicatorSource.objects.values_list("feed", flat=True)) == {"kev", "misp", "otx", "stix"}


@pytest.mark.django_db(transaction=True)
def test_a_feed_that_fails_or_is_refused_is_told_and_the_bundle_has_the_others(tmp_path: Path, environment: Environment, mirror: Mirror) -> None:
    mirror.answers["/kev.json"] = body(catalogue([row(0)]))
    mirror.answers[otx.PATH] = redirect("http://8.8.8.8/")
    environment(
        AISOC_AIRGAPPED="1", CISA_KEV_URL=f"{mirror.url}/kev.json", OTX_BASE_URL=mirror.url, OTX_API_KEY=OTX_KEY,
        MISP_URL="https://misp.example.com", MISP_API_KEY=KEY,
    )  # fmt: skip
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"lacks 1 of the feeds\. otx: 127\.0\.0\.1 sent the poll on to a place that is refused"):
        call_command("export_feeds", str(tmp_path / "bundle"), stdout=out)
    assert "misp: left out, refused by the gate" in out.getvalue()
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {"00-kev.json", MANIFEST, SIGNATURE}
    assert not list(tmp_path.glob(".bundle.*"))
    drain()
    assert EgressEvent.objects.get(host="8.8.8.8").purpose == "export.otx"


@pytest.mark.django_db(transaction=True)
def test_a_feed_that_has_nothing_is_no_failure_on_either_side(
    tmp_path: Path, environment: Environment, misp_double: MispDouble, settings: Any
) -> None:
    settings.AIRGAP_SIGNING_KEY = SIGNER
    environment(AISOC_AIRGAPPED="1", MISP_URL=misp_double.url, MISP_API_KEY=KEY)
    call_command("export_feeds", str(tmp_path / "bundle"), stdout=io.StringIO())
    assert "misp (00-misp.json): the feed had nothing." in bring_in(tmp_path / "bundle", tmp_path / "bundle.public_key.pem")
    assert not FeedRun.objects.exists()


def test_no_feed_no_bundle(tmp_path: Path, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1")
    with pytest.raises(CommandError, match=r"No feed is configured and permitted\. kev: "):
        call_command("export_feeds", str(tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1")
    (tmp_path / "kept").touch()
    with pytest.raises(CommandError, match="is there already"):
        call_command("export_feeds", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.name != "spool"] == ["kept"]
