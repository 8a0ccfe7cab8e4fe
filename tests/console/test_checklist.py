"""Audit checklist: results as the API has them, what an operator may do, and what changed since a sign-off."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from airgap import attest
from airgap.audit import audit
from airgap.models import Attestation, ProcessBeat, SignOff
from console import checklist
from tests.airgap.fleet import silent
from tests.airgap.trail import drained, event
from threatintel.models import FeedRun

URL = "/settings/checklist/"
Text = Callable[[Any], str]
Deployment = Callable[..., list[ProcessBeat]]
pytestmark = pytest.mark.django_db
PROBED = "aisoc-probe 1\nat 2026-11-26T00:00:00Z\nhost soc-1\ntarget 1.1.1.1:443 denied TimeoutError\nresult denied 1 of 1\n"


@pytest.fixture(autouse=True)
def _counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checklist, "_count", (0.0, ""))


def polled() -> None:
    now = timezone.now()
    FeedRun.objects.create(feed="kev", slot="1.1", state="ok", not_before=now, started_at=now, finished_at=now)


def row(page: Any, item: str) -> str:
    """The HTML of one item."""
    body: str = page.content.decode()
    return body.split(f'<tbody id="item-{item}">')[1].split("</tbody>")[0]


# ── What is shown ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_every_item_is_a_row_with_its_result_and_the_navigation_counts_them(deployment: Deployment, auditor: Client, text: Text) -> None:
    deployment(OPENAI_API_KEY="k")
    polled()
    page = auditor.get(URL)
    told = text(page)
    assert "FAILING 12 of 15 done · 1 failing · 1 asks for attention · 1 waits for you." in told
    assert "Audit checklist 12 of 15 done" in told
    assert "to attest" in text(page)
    assert "OPENAI_API_KEY is set for api.openai.com" in row(page, "no_public_llm_keys")
    assert "Unset OPENAI_API_KEY" in row(page, "no_public_llm_keys")
    by_api = auditor.get("/api/v1/airgap/checklist").json()
    assert [one["verdict"] for one in by_api["items"]] == [one.row.verdict for one in page.context["page"].rows]
    assert json.loads(auditor.get(f"{URL}checklist.json").content)["items"][0]["verdict"] == by_api["items"][0]["verdict"]
    assert "| 5 | No OpenAI or Anthropic key for a public host | FAILING |" in auditor.get(f"{URL}checklist.md").content.decode()


def test_a_silent_process_makes_its_items_unknown(deployment: Deployment, auditor: Client, text: Text) -> None:
    web, *_others = deployment()
    silent(web)
    page = auditor.get(URL)
    assert page.context["page"].banner.verdict == "UNKNOWN"
    assert "UNKNOWN" in row(page, "api_airgap")


def test_the_span_is_the_readers(deployment: Deployment, auditor: Client) -> None:
    deployment()
    moment = timezone.now() - timedelta(hours=30)
    drained(event(minute=moment.replace(second=0, microsecond=0)), now=timezone.now())
    assert "No attempt was refused in the last 24 h." in row(auditor.get(URL), "no_blocks")
    assert "1 attempt was refused in the last 7 d." in row(auditor.get(URL, {"span": "7d"}), "no_blocks")
    assert "in the last 24 h." in row(auditor.get(URL, {"span": "rubbish", "against": "x"}), "no_blocks")


def test_with_the_air_gap_off_the_page_says_what_would_be_refused_and_the_line_for_each(deployment: Deployment, auditor: Client, text: Text) -> None:
    deployment(AISOC_AIRGAPPED="0", CISA_KEV_URL="")
    told = text(auditor.get(URL))
    assert "Before switching the air gap on 1 of 2 targets would be refused." in told
    assert "www.cisa.gov:443" in told


def test_an_auditor_sees_everything_and_can_change_nothing(deployment: Deployment, auditor: Client) -> None:
    deployment(OPENAI_API_KEY="k")
    body = auditor.get(URL).content.decode()
    assert "settings/checklist/firewall/attest/" not in body
    assert "accept/" not in body
    assert "sign-off/" not in body
    for path in ("firewall/attest/", "no_public_llm_keys/accept/", "sign-off/"):
        assert auditor.post(URL + path, {"note": "x", "days": "9"}).status_code == 403
    assert not Attestation.objects.exists()
    assert not SignOff.objects.exists()


@pytest.mark.parametrize("path", ["firewall/attest/", "api_airgap/accept/", "sign-off/"])
def test_a_get_after_a_login_goes_to_the_page_and_an_anonymous_post_to_the_login(path: str, operator: Client) -> None:
    assert operator.get(URL + path).headers["Location"] == URL
    assert Client().post(URL + path).headers["Location"].startswith("/login/")


def test_without_the_csrf_token_nothing_is_written(operator: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(f"{URL}firewall/attest/", {"note": "x", "days": "9"}).status_code == 403
    assert not Attestation.objects.exists()


def test_the_database_away_is_a_clear_503(deployment: Deployment, auditor: Client, database_away: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment()
    with database_away():
        assert auditor.get(URL).status_code == 503


# ── Attest and accept ────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_operator_attests_the_firewall_with_the_probes_output(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment()
    page = operator.get(URL)
    assert "airgap_probe | sh" in row(page, "firewall")
    done = operator.post(f"{URL}firewall/attest/", {"note": "rule 12", "ticket": "CHG-1", "days": "30", "evidence": PROBED}, follow=True)
    assert "The item is attested, until" in text(done)
    assert "Attested by operator-1" in row(done, "firewall")
    assert "target 1.1.1.1:443 denied TimeoutError" in row(done, "firewall")


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"note": "", "days": "9"}, "note"),
        ({"note": "<b>x</b>", "days": "0"}, "days"),
        ({"note": "<b>x</b>", "days": "many"}, "days"),
        ({"note": "<b>x</b>", "days": "9", "evidence": "it was fine"}, "evidence"),
    ],
)
def test_what_cannot_be_taken_is_said_at_its_field_and_what_was_typed_stays(
    typed: dict[str, str], field: str, deployment: Deployment, operator: Client
) -> None:
    deployment()
    page = operator.post(f"{URL}firewall/attest/", typed)
    assert page.status_code == 422
    html = row(page, "firewall")
    assert '<details id="details-firewall" open>' in html
    assert 'aria-invalid="true"' in html.split(f'name="{field}"')[1].split(">")[0]
    if typed["note"]:
        assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert not Attestation.objects.exists()


def test_an_automatic_item_has_no_box_to_tick_and_a_post_says_why(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment()
    assert "<form" not in row(operator.get(URL), "api_airgap")
    page = operator.post(f"{URL}api_airgap/attest/", {"note": "x", "days": "9"})
    assert (page.status_code, "cannot be ticked by hand" in text(page)) == (422, True)
    assert operator.post(f"{URL}rubbish/attest/", {"note": "x", "days": "9"}).status_code == 404


def test_a_failing_item_accepted_with_a_reason_stays_failing(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment(OPENAI_API_KEY="k")
    done = operator.post(f"{URL}no_public_llm_keys/accept/", {"note": "goes with CHG-2", "days": "14"}, follow=True)
    assert "FAILING" in row(done, "no_public_llm_keys")
    assert "Accepted by operator-1" in row(done, "no_public_llm_keys")
    assert "<form" not in row(done, "no_public_llm_keys")
    assert "1 accepted with a reason" in text(done)


# ── Sign-off ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_sign_off_waits_until_nothing_is_open_and_says_for_what(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment()
    polled()
    page = operator.get(URL)
    assert "It cannot be signed off yet: The egress firewall denies the SOC subnet." in text(page)
    assert '<button class="button" disabled>Sign off</button>' in page.content.decode()
    refused = operator.post(f"{URL}sign-off/", {"note": "x"})
    assert (refused.status_code, "The egress firewall" in text(refused)) == (422, True)
    assert not SignOff.objects.exists()


def signed(operator: Client) -> SignOff:
    attest.attest("firewall", by="alice", note="rule 12", ticket="CHG-1")
    polled()
    assert operator.post(f"{URL}sign-off/", {"note": "before the move"}).status_code == 302
    return SignOff.objects.get()


def test_a_sign_off_keeps_the_whole_snapshot_and_its_digest(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment()
    row_ = signed(operator)
    assert (row_.by, row_.verdict, row_.note) == ("operator-1", "ATTENTION", "before the move")
    assert len(row_.snapshot["items"]) == 15
    told = text(operator.get(URL))
    assert row_.digest[:12] in told
    assert "Nothing: every verdict, attestation and the policy are as they were signed off." in told


def test_what_changed_since_is_named(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment()
    signed(operator)
    deployment(OPENAI_API_KEY="k", AISOC_AIRGAP_ALLOWLIST="mirror.example")
    page = operator.get(URL)
    assert [change.what for change in page.context["page"].changes] == ["No OpenAI or Anthropic key for a public host", "Air-gap policy"]
    assert "allowlist mirror.example" in text(page)
    assert "FAILING: 3 of 3 processes: OPENAI_API_KEY is set" in operator.get(f"{URL}checklist.md").content.decode()


def test_an_acceptance_for_another_reason_is_a_change(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment()
    attest.accept("production", by="alice", note="a pilot of two weeks")
    signed(operator)
    attest.accept("production", by="alice", note="nobody has time")
    page = operator.get(URL)
    assert [change.what for change in page.context["page"].changes] == ["Every process runs with production settings"]
    assert "Accepted by alice: a pilot of two weeks" in text(page)
    assert "Accepted by alice: nobody has time" in text(page)


def test_a_sign_off_that_was_altered_is_not_genuine_and_cannot_be_by_the_product(deployment: Deployment, operator: Client, text: Text) -> None:
    deployment()
    row_ = signed(operator)
    with pytest.raises(TypeError):
        SignOff.objects.update(verdict="OK")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE airgap_signoff SET verdict = 'OK'")
    forged = SignOff(
        at=row_.at, by="alice", note="", verdict="OK", digest=row_.digest, snapshot=row_.snapshot, signature=row_.signature, key=row_.key
    )
    forged.save(force_insert=True)
    page = operator.get(URL)
    assert "not genuine" in text(page)
    assert [one.genuine for one in page.context["page"].signed] == [False, True]


def test_the_tally_counts_in_words() -> None:
    assert audit().tally.endswith("1 waits for you")
