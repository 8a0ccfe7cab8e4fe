"""Every page in every state: no violation that axe knows, light and dark; no horizontal scroll at 320 px; no way out."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python import base as axe_package
from django.db import OperationalError
from django.utils import timezone
from playwright.sync_api import Page, expect

from airgap import attest, contacts
from airgap.models import ProcessBeat
from airgap.policy import EgressPolicy
from llm.credentials import Wanted, save_credential
from tenants.models import Tenant
from tests.airgap.fleet import silent as silenced
from tests.airgap.trail import drained, event
from tests.console.connections import GATEWAY, KEY, one_of_each, tenant
from tests.console.intel import HOSTILE, SEEN, address_of, record, stored
from tests.plugins.model_server import ModelServer
from threatintel.models import FeedDay, IndicatorSource

pytestmark = pytest.mark.browser
AXE = (Path(axe_package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
KEV = (
    b'{"catalogVersion": "2026.11.20", "dateReleased": "2026-11-20T14:00:00Z", "count": 1, "vulnerabilities": [{"cveID": "CVE-2024-12345", '
    b'"vendorProject": "V", "product": "P", "vulnerabilityName": "N", "dateAdded": "2026-11-20", "shortDescription": "D", "requiredAction": "A", '
    b'"dueDate": "2026-12-11", "knownRansomwareCampaignUse": "Unknown", "notes": ""}]}'
)
ALERT = json.dumps(
    {
        "title": "Encoded PowerShell on a workstation",
        "source": "edr",
        "severity": "high",
        "tags": ["attack.t1059.001"],
        "raw": {"user": "jdoe", "host": "WS-0042", "dest_ip": "198.51.100.7", "cmdline": "powershell.exe -enc " + "QUJD" * 60},
    }
)
PROBED = "aisoc-probe 1\nat 2026-11-26T00:00:00Z\nhost soc-1\ntarget 1.1.1.1:443 denied TimeoutError\nresult denied 1 of 1\n"
RULE = "title: T\nlogsource: {product: windows, service: security}\ndetection:\n  sel: {a: x}\n  condition: sel\n"
Visit = Callable[..., Page]
State = Callable[[], Page]


@pytest.fixture
def states(
    visit: Visit,
    sealed: None,
    healthy: None,
    agreeing: None,
    heard: Callable[..., object],
    guarded: Callable[..., None],
    environment: Callable[..., object],
    deployment: Callable[..., list[ProcessBeat]],
    ran: Callable[..., object],
    indicators: Callable[[str, int], None],
    model_server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, State]:
    """Each state by name, as a function that brings it about and opens it."""

    def ok() -> Page:
        guarded("enforce")
        return visit("/settings/deployment/")

    def attention() -> Page:
        monkeypatch.setattr("aisoc_admin.health._health.checks", {"database": "ok", "broker": "away (ConnectionError)", "spool": "ok"})
        return visit("/settings/deployment/", role="operator")

    def failing() -> Page:
        guarded("enforce", selftest=False)
        return visit("/settings/deployment/")

    def drifting() -> Page:
        guarded("enforce")
        heard("beat-9:12", service="threatintel", role="beat", airgapped=False, guard="inactive", digest="0" * 12, skew=7.4)
        heard("worker-8:31", service="agents", role="worker", digest="1" * 12)
        return visit("/settings/deployment/")

    def silent() -> Page:
        guarded("enforce")
        heard("worker-8:31", service="agents", role="worker", seconds_ago=660)
        return visit("/settings/deployment/", role="operator")

    def forgotten() -> Page:
        page = silent()
        page.get_by_role("button", name="Forget worker-8:31").click()
        expect(page.get_by_text("worker-8:31 is forgotten")).to_be_visible()
        expect(page.get_by_role("button", name="Forget worker-8:31")).to_have_count(0)
        return page

    def reporting() -> Page:
        guarded("report")
        page = visit("/settings/deployment/")
        expect(page.locator("header").get_by_text("Guard: report")).to_be_visible()
        return page

    def unheard() -> Page:
        ProcessBeat.objects.all().delete()
        return visit("/settings/deployment/")

    def fleet_away() -> Page:
        monkeypatch.setattr("console.fleet.processes", gone)
        return visit("/settings/deployment/", expected=True)

    def off() -> Page:
        environment()
        ProcessBeat.objects.all().delete()
        heard()
        return visit("/settings/deployment/?host=api.openai.com")

    def llm_refused() -> Page:
        environment(AISOC_AIRGAPPED="1", OPENAI_API_KEY="sk-planted-7777")
        return visit("/settings/deployment/")

    def opened(page: Page) -> Page:
        for summary in page.locator("summary").all():
            summary.click()
        return page

    def trail() -> None:
        minute = timezone.now().replace(second=0, microsecond=0)
        heard("old:1", service="x", started_at=minute - timedelta(days=3), ended_at=minute, digest="a" * 12)
        heard("new:1", service="x", started_at=minute - timedelta(hours=4))
        drained(
            event(minute=minute - timedelta(hours=4), count=11, purpose="llm.explain", layer="llm", tenant="acme", caller="llm.client"),
            event(minute=minute - timedelta(hours=2), host="2606:4700::1111", purpose="guard", layer="connect", caller="vendor_sdk.telemetry.upload"),
            event(minute=minute, host="134744072", port=80, rule="malformed", purpose="feed.otx"),
            event(minute=minute, host="misp.intern.corp", rule="private_name_public_answer", layer="connect"),
            event(minute=minute, host="a-rather-long-name.of-a-public-host.example.com", purpose="actions.slack", process="worker-1:9"),
            event(minute=minute, host="(other)", port=0, count=70, purpose="", caller=""),
        )

    def egress_attention() -> Page:
        guarded("enforce")
        trail()
        return opened(visit("/settings/egress/"))

    def egress_ok() -> Page:
        guarded("enforce")
        return opened(visit("/settings/egress/"))

    def egress_silent() -> Page:
        guarded("enforce")
        heard("worker-8:31", service="agents", role="worker", seconds_ago=660)
        return visit("/settings/egress/")

    def egress_reporting() -> Page:
        guarded("report")
        trail()
        return visit("/settings/egress/?span=1h")

    def egress_off() -> Page:
        trail()
        environment()
        return visit("/settings/egress/?span=30d")

    def egress_away() -> Page:
        monkeypatch.setattr("console.egress.overview", gone)
        return visit("/settings/egress/", expected=True)

    def egress_filtered() -> Page:
        guarded("enforce")
        trail()
        return visit("/settings/egress/?span=nonsense&purpose=feed.gone&node=worker-1&host=" + "x" * 300)

    def checklist_failing() -> Page:
        web, *_others = deployment(OPENAI_API_KEY="sk-planted-7777", CISA_KEV_URL="http://kev-mirror.internal/feed.json")
        silenced(web)
        trail()
        attest.attest("firewall", by="alice", note="Rule 12 of fw-1 denies the subnet. " * 8, ticket="CHG-1", evidence=PROBED)
        attest.accept("no_public_llm_keys", by="bob", note="It goes with CHG-2.", ticket="CHG-2", days=14)
        return opened(visit("/settings/checklist/", role="operator"))

    def checklist_off() -> Page:
        deployment(
            AISOC_AIRGAPPED="0",
            CISA_KEV_URL="",
            OPENAI_API_KEY="sk-planted-7777",
            EMAIL_URL="smtp+tls://a-rather-long-name.of-a-relay.example.com:587",
        )
        contacts.note(EgressPolicy(False, ()), "a-rather-long-name.of-a-public-host.example.com", 8443, "actions.slack")
        contacts.flush()
        return opened(visit("/settings/checklist/"))

    def signed_off() -> Page:
        deployment()
        ran("kev", "ok", minutes_ago=4)
        attest.attest("firewall", by="alice", note="Rule 12 of fw-1.", ticket="CHG-1")
        page = visit("/settings/checklist/", role="operator")
        page.get_by_label("Note for the sign-off").fill("Before the move.")
        page.get_by_role("button", name="Sign off as operator-1").click()
        expect(page.get_by_text("Signed off as ATTENTION.")).to_be_visible()
        return page

    def checklist_changed() -> Page:
        page = signed_off()
        deployment(LLM_BASE_URL="https://api.openai.com/v1", AISOC_AIRGAP_ALLOWLIST="mirror.example.internal")
        page.reload()
        expect(page.get_by_role("region", name="Changes, table")).to_be_visible()
        return page

    def attested_wrongly() -> Page:
        deployment()
        page = opened(visit("/settings/checklist/", role="operator", expected=True))
        page.get_by_label("What was seen, and where").fill("It is fine.")
        page.get_by_label("The whole output of the probe").fill("target 1.1.1.1:443 denied")
        page.get_by_role("button", name="Attest The egress firewall").click()
        expect(page.get_by_role("alert")).to_be_visible()
        return page

    def feeds_ok() -> Page:
        indicators("kev", 12)
        ran("kev", "ok", minutes_ago=4, fetched=12, added=12)
        return opened(visit("/settings/feeds/", role="operator"))

    def feeds_attention() -> Page:
        ran("kev", "ok", minutes_ago=60)
        ran("kev", "failed", minutes_ago=1, reason="kev-mirror.internal: HTTP 500.")
        return opened(visit("/settings/feeds/"))

    def feeds_failing() -> Page:
        ran("kev", "failed", minutes_ago=1, reason="kev-mirror.internal: no connection; is the mirror up, and the name right?")
        return opened(visit("/settings/feeds/"))

    def feeds_off() -> Page:
        environment(AISOC_AIRGAPPED="1")
        return visit("/settings/feeds/")

    def feeds_away() -> Page:
        monkeypatch.setattr("console.feeds.feeds_snapshot", gone)
        return visit("/settings/feeds/", expected=True)

    def polled() -> Page:
        monkeypatch.setattr("threatintel.api.poll_task.apply_async", lambda **_: None)
        page = visit("/settings/feeds/", role="operator")
        page.get_by_role("button", name="Poll now CISA KEV").click()
        expect(page.get_by_text("Poll of CISA KEV asked for")).to_be_visible()
        return page

    def feed() -> Page:
        for day in range(9):
            FeedDay.objects.create(feed="kev", day=timezone.now().date() - timedelta(days=2 * day), added=9 * day, changed=1, live=1400 - 40 * day)
        indicators("kev", 12)
        ran("kev", "failed", minutes_ago=90, reason="kev-mirror.internal: HTTP 500.", skipped=3, skips={"no CVE id": 2, "a word" * 30: 1})
        for number in range(40):
            ran("kev", "ok", minutes_ago=44 - number, fetched=12, added=12)
        return opened(visit("/settings/feeds/kev/", role="operator"))

    def pushing() -> Page:
        environment(AISOC_AIRGAPPED="1", MISP_URL="https://misp.internal", MISP_API_KEY="planted-9999", MISP_PUSH_AUTO="true")
        return opened(visit("/settings/feeds/", role="operator"))

    def intel() -> None:
        long = "https://a-rather-long-name.of-a-hostile-host.example.com/" + "gate/" * 40
        say = {
            "labels": ("apt1", "a-rather-long-label-" * 4, *HOSTILE),
            "description": "Line one.\n" * 3,
            "references": (long, *HOSTILE),
            "raw": '{"a": [1]}',
        }
        stored(record(**say), record("url", long, "indicator--2"), record("file-hash:sha512", "ab" * 64, "indicator--3", last_seen=SEEN))
        stored(record(**say | {"labels": ("c2",)}, confidence=10, modified=timezone.now()), record("ipv4-addr", "198.51.100.0/24", "indicator--4"))
        stored(*(record(value=f"h{number}.example", external_id=f"indicator--9{number}") for number in range(60)), feed="misp")

    def list_of_indicators() -> Page:
        intel()
        return visit("/settings/indicators/", role="operator")

    def indicators_filtered() -> Page:
        intel()
        return visit("/settings/indicators/?type=url&label=" + "x" * 300)

    def indicator() -> Page:
        intel()
        raw = IndicatorSource.objects.get(external_id="indicator--1").pk.hex
        return visit(f"{address_of()}?raw={raw}")

    def many() -> Page:
        intel()
        page = visit("/settings/indicators/many/")
        page.get_by_label("Values, a line each").fill("evil[.]example\n198.51.100.7\nnothing.example\n" + "no observable " * 12)
        page.get_by_role("button", name="Look up").click()
        expect(page.get_by_role("heading", name="Answer")).to_be_visible()
        return opened(page)

    def many_of_nothing() -> Page:
        page = visit("/settings/indicators/many/", expected=True)
        page.get_by_label("Values, a line each").fill("  \n ")
        page.get_by_role("button", name="Look up").click()
        expect(page.get_by_role("alert")).to_be_visible()
        return page

    def asked(path: str, *, button: str = "Explain", paste: str = ALERT) -> Page:
        page = visit(path, role="operator", expected=not paste.strip())
        page.get_by_label("Alert", exact=True).fill(paste)
        page.get_by_role("button", name=button).click()
        return page

    def explained() -> Page:
        page = asked("/assist/")
        expect(page.get_by_text("Fallback: by rule")).to_be_visible()
        expect(page.get_by_role("row", name="T1059.001 PowerShell")).to_be_visible()
        expect(page.get_by_text("Encoded PowerShell on a workstation. edr reported it")).to_be_visible()
        return page

    def explained_live() -> Page:
        environment(AISOC_AIRGAPPED="1", LLM_BASE_URL=model_server.url, LLM_MODEL="m")
        model_server.say = "The account USER_1 ran an encoded PowerShell command on the workstation HOST_1."
        page = asked("/assist/")
        expect(page.get_by_text("Live: by the model")).to_be_visible()
        expect(page.get_by_text("The account jdoe ran an encoded PowerShell command on the workstation WS-0042.")).to_be_visible()
        return page

    def broken_off() -> Page:
        environment(AISOC_AIRGAPPED="1", LLM_BASE_URL=model_server.url, LLM_MODEL="m")
        model_server.say, model_server.fault = "Half a sentence about the account and", "break"
        page = asked("/assist/")
        expect(page.get_by_text("Fallback: by rule")).to_be_visible()
        expect(page.get_by_text("Half a")).to_have_count(0)
        return page

    def not_explained() -> Page:
        page = asked("/assist/", paste=" ")
        expect(page.get_by_role("alert")).to_contain_text("Paste an alert")
        return page

    def investigated() -> Page:
        intel()
        page = asked("/assist/investigate/", button="Investigate")
        expect(page.get_by_text("Fallback: by rule")).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="T1059.001 PowerShell")).to_have_count(1)
        return page

    def answered(path: str, button: str, **typed: str) -> Page:
        environment()
        page = visit(path, role="operator", expected=not all(typed.values()))
        for label, text in typed.items():
            page.get_by_label(label.replace("_", " "), exact=True).fill(text)
        page.get_by_role("button", name=button).click()
        expect(page.get_by_text("Fallback: by rule")).to_be_visible()
        return page

    def question_refused() -> Page:
        environment()
        page = visit("/assist/translation/", role="operator", expected=True)
        page.get_by_label("Sigma rule", exact=True).fill("title: [")
        page.get_by_role("button", name="Translate").click()
        expect(page.get_by_role("alert")).to_contain_text("Sigma rule: The rule is not valid YAML")
        return page

    def sent(page: Page, *, kind: str, digest: str = "") -> Page:
        page.get_by_label("Kind").select_option(kind)
        page.get_by_label("File, plain or gzip").set_input_files({"name": "carried.json", "mimeType": "application/json", "buffer": KEV})
        page.get_by_label("SHA-256 of the file").fill(digest)
        page.get_by_role("button", name="Preview").click()
        return page

    def previewed() -> Page:
        page = sent(visit("/settings/feeds/", role="operator"), kind="kev")
        expect(page.get_by_role("heading", name="What it would change")).to_be_visible()
        return page

    def import_refused() -> Page:
        page = sent(visit("/settings/feeds/import/", role="operator", expected=True), kind="kev", digest="12")
        expect(page.get_by_role("alert")).to_be_visible()
        return page

    def wrong_password() -> Page:
        page = visit("/login/", role="anonymous")
        page.get_by_label("Username").fill("alice")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        return page

    def away() -> Page:
        monkeypatch.setattr("console.access.acting", gone)
        return visit("/settings/deployment/", expected=True)

    def connections() -> Page:
        one_of_each()
        return opened(visit("/settings/tenants/"))

    def connections_of_nobody() -> Page:
        return visit("/settings/tenants/", role="operator")

    def connection_typed(expected: str, **typed: str) -> Page:
        tenant(provider="local-litellm", base_url=GATEWAY, model="llama3.1:70b", api_key=KEY)
        page = visit("/settings/tenants/acme/", role="tenant_admin acme", expected=True)
        for label, words in {"Base URL": "", "Model": "", "API key": "", **typed}.items():
            if words:
                page.get_by_label(label, exact=True).fill(words)
        if "Provider" in typed:
            page.get_by_label("Provider").select_option(typed["Provider"])
        return page if not expected else sent_off(page, expected)

    def sent_off(page: Page, button: str) -> Page:
        page.get_by_role("button", name=button, exact=True).click()
        return page

    def connection_refused() -> Page:
        one_of_each()
        return opened(visit("/settings/tenants/acme/", role="tenant_admin acme"))

    def connection_failing() -> Page:
        one_of_each()
        return visit("/settings/tenants/umbrella/", role="operator")

    def connection_of_an_analyst() -> Page:
        one_of_each()
        return visit("/settings/tenants/globex/", role="analyst globex")

    def connection_wrong() -> Page:
        page = connection_typed("Save", **{"Base URL": "http://169.254.169.254/" + "x" * 200, "API key": "sk-planted-typed-1"})
        expect(page.get_by_role("alert")).to_contain_text("type it again")
        return page

    def connection_previewed() -> Page:
        page = connection_typed("Preview", **{"Base URL": "https://llm.example.com", "API key": "sk-planted-typed-2"})
        expect(page.get_by_role("heading", name="If it were saved")).to_be_visible()
        return page

    def connection_changed_meanwhile() -> Page:
        page = connection_typed("", Model="mine")
        save_credential(Tenant.objects.get(slug="acme"), Wanted(model="theirs", version=1), by="bob")
        sent_off(page, "Save")
        expect(page.get_by_role("alert")).to_contain_text("bob, ")
        return page

    def connection_tested() -> Page:
        one_of_each()
        page = sent_off(visit("/settings/tenants/acme/", role="tenant_admin acme"), "Test")
        expect(page.get_by_text("Test: blocked. api.openai.com is a public name")).to_be_visible()
        return page

    def tenants(*, chosen: str = "") -> Page:
        page = visit("/settings/indicators/", role="analyst acme, tenant_admin globex", expected=True)
        if chosen:
            page.get_by_label("Act for").select_option(chosen)
            page.get_by_role("button", name="Switch").click()
            expect(page.get_by_role("heading", name="Indicators", exact=True)).to_be_visible()
        return page

    return {
        "deployment OK": ok,
        "deployment ATTENTION": attention,
        "deployment FAILING": failing,
        "deployment OFF": off,
        "deployment with a refused LLM": llm_refused,
        "deployment UNKNOWN": away,
        "processes drifting": drifting,
        "a silent process": silent,
        "a silent process forgotten": forgotten,
        "guard reporting": reporting,
        "no heartbeat": unheard,
        "heartbeats away": fleet_away,
        "egress OK": egress_ok,
        "egress ATTENTION": egress_attention,
        "egress with a silent process": egress_silent,
        "egress with a reporting guard": egress_reporting,
        "egress OFF": egress_off,
        "egress UNKNOWN": egress_away,
        "egress filtered by rubbish": egress_filtered,
        "a host refused": lambda: visit("/settings/deployment/?host=https://a-rather-long-name.of-a-public-host.example.com:8443/v1"),
        "a host allowed": lambda: visit("/settings/deployment/?host=misp.intel.corp"),
        "checklist FAILING": checklist_failing,
        "checklist with the air gap off": checklist_off,
        "checklist UNKNOWN": lambda: visit("/settings/checklist/"),
        "checklist signed off": signed_off,
        "checklist changed since": checklist_changed,
        "checklist attested wrongly": attested_wrongly,
        "feeds OK": feeds_ok,
        "feeds ATTENTION": feeds_attention,
        "feeds FAILING": feeds_failing,
        "feeds REFUSED and OFF": feeds_off,
        "feeds UNKNOWN": feeds_away,
        "feeds filtered to nothing": lambda: visit("/settings/feeds/?q=nothing&state=OK"),
        "feeds polled": polled,
        "one feed": feed,
        "one feed REFUSED": lambda: opened(visit("/settings/feeds/otx/")),
        "push to MISP": pushing,
        "a file previewed": previewed,
        "a file refused": import_refused,
        "indicators": list_of_indicators,
        "no indicators": lambda: visit("/settings/indicators/"),
        "indicators filtered by rubbish": indicators_filtered,
        "a value that nobody knows": lambda: visit("/settings/indicators/?q=hxxp://nothing[.]example/"),
        "one indicator": indicator,
        "many values": many,
        "many values of nothing": many_of_nothing,
        "connections": connections,
        "connections of nobody": connections_of_nobody,
        "connections filtered to nothing": lambda: (one_of_each(), visit("/settings/tenants/?q=nobody"))[1],
        "a connection REFUSED": connection_refused,
        "a connection FAILING": connection_failing,
        "a connection as an analyst sees it": connection_of_an_analyst,
        "a connection with a problem": connection_wrong,
        "a connection previewed": connection_previewed,
        "a connection changed meanwhile": connection_changed_meanwhile,
        "a connection tested": connection_tested,
        "nothing to explain yet": lambda: visit("/assist/", role="operator"),
        "an alert explained": explained,
        "an alert explained live": explained_live,
        "a live answer that broke off": broken_off,
        "an alert that is none": not_explained,
        "an alert investigated": investigated,
        "a query written": lambda: answered("/assist/query/", "Translate", Question="failed logins per hour by user"),
        "a detection written": lambda: answered("/assist/detection/", "Write the rule", Behaviour="Encoded PowerShell"),
        "a detection tuned": lambda: answered(
            "/assist/tuning/", "Tune the rule", Sigma_rule=RULE, False_positive=json.dumps({"a": "x", "User": "svc", "ParentImage": "p.exe"})
        ),
        "phishing judged": lambda: answered(
            "/assist/phishing/", "Judge", Content="From: x <x@paypa1.com>\nSubject: <b>act now</b>\n\nhttp://1.2.3.4/login"
        ),
        "a rule translated": lambda: answered("/assist/translation/", "Translate", Sigma_rule=RULE),
        "a rule that is none": question_refused,
        "an assistant for readers": lambda: visit("/assist/"),
        "login": lambda: visit("/login/", role="anonymous"),
        "login with a wrong password": wrong_password,
        "no role": lambda: visit("/settings/deployment/", role="nobody", expected=True),
        "tenants to choose from": tenants,
        "a tenant chosen": lambda: tenants(chosen="globex"),
        "a page not for this role": lambda: visit("/settings/egress/", role="analyst acme", expected=True),
        "no such page": lambda: visit("/nowhere/", role="anonymous", expected=True),
    }


def gone(*_args: Any) -> None:
    raise OperationalError("gone")


def violations(page: Page, scheme: Literal["light", "dark"], only: list[str] | None = None) -> list[str]:
    """What axe finds wrong, a line a rule with the elements."""
    page.emulate_media(color_scheme=scheme)
    found: list[str] = page.evaluate(
        """async options => (await axe.run(document, options)).violations
            .map(one => `${one.id}: ${one.nodes.map(node => node.html).join(" | ")}`)""",
        {"resultTypes": ["violations"], **({"runOnly": only} if only else {})},
    )
    return found


VERDICTS = {
    "deployment OK": "OK",
    "deployment ATTENTION": "ATTENTION",
    "deployment FAILING": "FAILING",
    "deployment OFF": "OFF",
    "deployment with a refused LLM": "ATTENTION",
    "deployment UNKNOWN": "UNKNOWN",
    "processes drifting": "FAILING",
    "a silent process": "UNKNOWN",
    "a silent process forgotten": "OK",
    "guard reporting": "ATTENTION",
    "no heartbeat": "UNKNOWN",
    "heartbeats away": "UNKNOWN",
    "egress OK": "OK",
    "egress ATTENTION": "ATTENTION",
    "egress with a silent process": "UNKNOWN",
    "egress with a reporting guard": "ATTENTION",
    "egress OFF": "OFF",
    "egress UNKNOWN": "UNKNOWN",
    "egress filtered by rubbish": "ATTENTION",  # without the filter there are some
    "checklist FAILING": "FAILING",
    "checklist with the air gap off": "FAILING",
    "checklist UNKNOWN": "UNKNOWN",
    "checklist signed off": "ATTENTION",
    "checklist changed since": "FAILING",
    "feeds OK": "OK",
    "feeds ATTENTION": "ATTENTION",
    "feeds FAILING": "FAILING",
    "feeds REFUSED and OFF": "REFUSED",
    "feeds UNKNOWN": "UNKNOWN",
    "one feed": "OK",
    "one feed REFUSED": "REFUSED",
    "connections": "FAILING",
    "connections of nobody": "OFF",
    "a connection REFUSED": "REFUSED",
    "a connection FAILING": "FAILING",
    "a connection as an analyst sees it": "OK",
    "a connection with a problem": "UNKNOWN",
    "a connection previewed": "UNKNOWN",
    "a connection changed meanwhile": "UNKNOWN",
    "a connection tested": "REFUSED",
}
NAMES = [
    *VERDICTS,
    "a host refused",
    "a host allowed",
    "feeds filtered to nothing",
    "feeds polled",
    "push to MISP",
    "a file previewed",
    "a file refused",
    "indicators",
    "no indicators",
    "indicators filtered by rubbish",
    "a value that nobody knows",
    "one indicator",
    "many values",
    "many values of nothing",
    "connections filtered to nothing",
    "nothing to explain yet",
    "an alert explained",
    "an alert explained live",
    "a live answer that broke off",
    "an alert that is none",
    "an alert investigated",
    "a query written",
    "a detection written",
    "a detection tuned",
    "phishing judged",
    "a rule translated",
    "a rule that is none",
    "an assistant for readers",
    "checklist attested wrongly",
    "login",
    "login with a wrong password",
    "no role",
    "tenants to choose from",
    "a tenant chosen",
    "a page not for this role",
    "no such page",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_state_says_its_verdict_and_holds_in_light_dark_and_at_400_percent(name: str, states: dict[str, State]) -> None:
    page = states[name]()
    if name in VERDICTS:
        expect(page.get_by_role("region", name="Verdict").locator(".badge")).to_have_text(VERDICTS[name])
    page.evaluate(AXE)
    assert violations(page, "light") == []
    assert violations(page, "dark", only=["color-contrast"]) == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_every_state_is_tested(states: dict[str, State], visit: Visit) -> None:
    visit("/login/", role="anonymous")
    assert set(states) == set(NAMES)
