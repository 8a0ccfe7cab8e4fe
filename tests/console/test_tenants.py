"""Tenants & keys: the list as each role sees it, one tenant's connection with its reason, the form, and that a key goes in and never comes out."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.utils import timezone

from aisoc_admin import env
from console.nav import NAVIGATION
from console.tenant_rows import refused_note
from llm.config import Secret
from llm.credentials import Wanted, preview_credential, save_credential
from llm.models import CredentialChange, EndpointOutcome, TenantCredential
from llm.probe import Probe, ProbeOutcome
from llm.resolver import resolved_for
from tenants.acting import Acting
from tenants.models import Tenant
from tenants.roles import Role
from tenants.scope import all_tenants, tenant_scope
from tests.airgap.test_transport import spooled
from tests.console.connections import GATEWAY, KEY, edit, one_of_each, stored, tenant

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealed")]
URL = "/settings/tenants/"
ACME = f"{URL}acme/"
OTHER = "sk-planted-page-4472"
FORM = {"provider": "local-litellm", "base_url": GATEWAY, "model": "llama3.1:70b", "api_key": "", "enabled": "on", "version": "", "do": "save"}
Text = Callable[[Any], str]
Reader = Callable[..., Client]


def said(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


@pytest.fixture
def admin(reader: Reader) -> Client:
    return reader("tenant_admin acme")


@pytest.fixture
def many() -> dict[str, Tenant]:
    return one_of_each()


# ── The list ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_operators_and_auditors_see_every_tenant_with_its_reason(role: str, reader: Reader, many: dict[str, Tenant], text: Text) -> None:
    response = reader(role).get(URL)
    page = text(response)
    for row in (
        "acme Acme tenant row api.openai.com gpt-4o-mini set REFUSED api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST. FALLBACK the gate",
        "globex Globex tenant row litellm.internal:4000 llama3.1:70b set OK private suffix LIVE Local LLM in use; air-gap policy is satisfied. Answered last",
        "hooli Hooli environment ollama:11434 llama3.1:8b set OK single label LIVE, not tried yet",
        "initech Initech tenant row vllm.corp – set OK private suffix LIVE, but failing vllm.corp: no connection. Failing since",
        "umbrella Umbrella tenant row gw.corp – set, does not open OK private suffix FALLBACK The stored key is sealed with a vault key that is not here",
        "wayne Wayne environment own row is off ollama:11434",
    ):
        assert row in page
    assert "FAILING 2 tenants inherit the operator's connection · 4 bring their own: 3 allowed, 1 refused." in page
    assert "umbrella has a row that cannot be used." in page
    assert "Tenants & keys 1 refused" in page
    assert KEY not in response.content.decode()


def test_a_hosted_service_without_a_key_is_told_from_one_that_is_refused(
    operator: Client, text: Text, environment: Callable[..., env.Environment]
) -> None:
    environment(LLM_BASE_URL="http://ollama:11434", LLM_API_KEY="sk-planted-operators-1")
    edit(tenant("initech", provider="custom", base_url="https://llm.example.com", api_key=KEY), sealed_key="")
    page = text(operator.get(URL))
    assert "initech Initech tenant row llm.example.com – unset OFF air-gap mode is off FALLBACK The API key is missing" in page
    assert "The operator's key is not used for a tenant's URL." in page


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("gate=refused", ["acme"]),
        ("source=environment", ["hooli", "wayne"]),
        ("path=live", ["globex"]),
        ("path=failing", ["initech"]),
        ("path=fallback&source=tenant", ["acme", "umbrella"]),
        ("q=LITELLM", ["globex"]),
        ("gate=refused&path=live", []),
        ("gate=x&source=y&path=z", ["acme", "globex", "hooli", "initech", "umbrella", "wayne"]),
    ],
)
def test_filters_leave_what_they_say(query: str, slugs: list[str], operator: Client, many: dict[str, Tenant]) -> None:
    assert re.findall(rf'href="{URL}([a-z]+)/"', operator.get(f"{URL}?{query}").content.decode()) == slugs
    assert [one["tenant"] for one in operator.get(f"{URL}tenants.json?{query}").json()["tenants"]] == slugs


def test_a_long_list_has_pages(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.tenants.PAGE", 2)
    Tenant.objects.bulk_create(Tenant(slug=f"t{number}", name="T") for number in range(5))
    first = operator.get(f"{URL}?source=environment").content.decode()
    assert 'href="?source=environment&amp;after=t1"' in first
    last = operator.get(f"{URL}?source=environment&after=t3").content.decode()
    assert re.findall(rf'href="{URL}(t\d)/"', last) == ["t4"]
    assert "Next page" not in last
    assert len(operator.get(f"{URL}tenants.json").json()["tenants"]) == 5


@pytest.mark.parametrize(("role", "sees_changes"), [("tenant_admin acme", True), ("analyst acme", False)])
def test_a_tenants_roles_see_their_own_tenant_alone(role: str, sees_changes: bool, reader: Reader, many: dict[str, Tenant], text: Text) -> None:
    client = reader(role)
    others = {*many, "vllm.lan", "gw.corp"} - {"acme"}
    for path in (URL, f"{URL}tenants.json", f"{URL}tenants.md", ACME, f"{URL}?path=live", f"{URL}?after=acme"):
        assert not [word for word in others if word in client.get(path).content.decode()], path
    assert ("alice" in text(client.get(URL))) is sees_changes
    assert ("alice" in client.get(f"{URL}tenants.json").content.decode()) is sees_changes
    assert ("History" in text(client.get(ACME))) is sees_changes
    assert "Tenants & keys 1 refused" in text(client.get(URL))
    for other in ("globex", "nobody", "ACME", "acme%20", "1"):
        assert client.get(f"{URL}{other}/").status_code == 404


def test_an_admin_of_several_tenants_acts_for_the_chosen_one_alone(reader: Reader, many: dict[str, Tenant]) -> None:
    client = reader("tenant_admin acme, tenant_admin globex")
    assert client.get(URL).status_code == 403
    client.post("/act-for/", {"tenant": "globex"})
    assert client.get(f"{URL}globex/").status_code == 200
    assert client.post(ACME, FORM).status_code == 404
    assert client.get(ACME).status_code == 404


def test_json_and_markdown_say_what_the_page_says_and_no_secret(operator: Client, many: dict[str, Tenant]) -> None:
    answer = operator.get(f"{URL}tenants.json")
    by_slug = {one["tenant"]: one for one in answer.json()["tenants"]}
    assert by_slug["acme"] | {"changed_at": None} == {
        "tenant": "acme", "source": "tenant", "own_row": True, "provider": "openai", "host": "api.openai.com", "base_url": "https://api.openai.com/v1",
        "model": "gpt-4o-mini", "key": "set", "gate": "refused", "rule": "public", "path": "fallback", "verdict": "REFUSED",
        "reason": "api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST.", "since": None, "changed_at": None, "changed_by": "alice",
    }  # fmt: skip
    assert 'filename="tenants.json"' in answer.headers["Content-Disposition"]
    markdown = operator.get(f"{URL}tenants.md").content.decode()
    assert "| globex | tenant row | litellm.internal:4000 | llama3.1:70b | set | OK: private suffix | LIVE |" in markdown
    for body in (answer.content.decode(), markdown):
        assert KEY not in body
        assert "sealed_key" not in body
        assert "v1." not in body


def test_the_count_beside_the_title_never_raises(many: dict[str, Tenant], database_away: Callable[[], Any]) -> None:
    assert [entry.title for entry in NAVIGATION if entry.note_for] == ["Tenants & keys"]
    assert refused_note(Acting(Role.OPERATOR, None)) == "1 refused"
    assert refused_note(Acting(Role.ANALYST, many["globex"])) == "0 refused"
    with database_away():
        assert refused_note(Acting(Role.OPERATOR, None)) == "unknown"


def test_no_tenant_yet_says_what_will_appear(operator: Client, text: Text) -> None:
    page = text(operator.get(URL))
    assert "OFF There is no tenant yet." in page
    assert "Each tenant appears here as soon as it is made" in page


def test_the_page_costs_the_same_queries_for_one_tenant_and_for_many(operator: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(12):
        tenant(f"t{number}", provider="local-vllm", base_url=f"http://vllm{number}.corp", api_key=KEY)
    with django_assert_max_num_queries(24):
        operator.get(URL)


# ── The form ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_tenant_admin_brings_a_key_that_never_comes_back(admin: Client, text: Text) -> None:
    answer = admin.post(ACME, {**FORM, "api_key": KEY})
    assert answer.headers["Location"] == ACME
    assert said(answer) == ["Saved."]
    owner = Tenant.objects.get(slug="acme")
    assert resolved_for(owner).key.reveal() == KEY
    page = admin.get(ACME)
    assert "UNKNOWN Configured, and nothing was asked of litellm.internal:4000 yet." in text(page)
    assert "on, version 1, changed by tenant_admin-1" in text(page)
    assert "sealed with the newest vault key; last replaced" in text(page)
    assert re.findall(r'<input id="api_key"[^>]*>', page.content.decode())[0].count("value") == 0
    for response in (answer, page, admin.get(URL), admin.get(f"{URL}tenants.json")):
        assert KEY not in response.content.decode()
        assert (stored(owner) or {})["sealed_key"] not in response.content.decode()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"base_url": "ftp://gw.corp"}, "base_url", "Base URL:"),
        ({"base_url": ""}, "base_url", "needs a base URL"),
        ({"base_url": "http://169.254.169.254/latest"}, "base_url", "metadata"),
        ({"base_url": "http://127.0.0.1:6379"}, "base_url", "127.0.0.1"),
        ({"provider": "nonsense"}, "provider", "The provider is one of"),
        ({"provider": "openai"}, "base_url", "choose custom"),
        ({"provider": "openai", "base_url": ""}, "api_key", "needs a key"),
        ({"model": "x" * 300}, "model", "at most 200"),
        ({"api_key": "two words"}, "api_key", "no blank"),
        ({"api_key": KEY, "drop_key": "on"}, "api_key", "not both"),
    ],
)
@pytest.mark.parametrize("do", ["save", "preview"])
def test_a_problem_stands_beside_its_field_and_what_was_typed_stays(
    changes: dict[str, str], field: str, words: str, do: str, admin: Client, text: Text
) -> None:
    typed = {**FORM, "model": "typed-model", **changes, "do": do}
    answer = admin.post(ACME, typed)
    body = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="{field}-problem"' in body
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', body)
    assert words in text(answer)
    for name in ("base_url", "model"):
        assert f'value="{typed[name]}"' in body
    assert KEY not in body
    assert ("type it again" in text(answer)) is bool(typed["api_key"])
    assert stored(Tenant.objects.get(slug="acme")) is None


@pytest.mark.parametrize(
    "url", [f"http://u:{KEY}@gw.corp/v1", f"http://gw.corp/v1?key={KEY}", f"http://gw.corp/v1#{KEY}", f"http://u:a/{KEY}?#/@gw.corp/v1"]
)
def test_a_key_that_was_typed_into_the_url_does_not_come_back_either(url: str, admin: Client) -> None:
    for do in ("save", "preview"):
        answer = admin.post(ACME, {**FORM, "base_url": url, "do": do})
        assert answer.status_code == 422
        assert 'value="http://gw.corp/v1"' in answer.content.decode()
        assert KEY not in answer.content.decode()


@pytest.mark.parametrize("url", ["//" * 100_000, "http://" + "a@" * 100_000, "?" * 200_000])
def test_a_url_of_any_length_is_refused_at_once(url: str, admin: Client) -> None:
    """The work grew with the square: two megabytes of slashes, which a form may have, would have held the process and all its threads for half an hour."""
    begun = time.process_time()
    assert admin.post(ACME, {**FORM, "base_url": url}).status_code == 422
    assert time.process_time() - begun < 4


@pytest.mark.parametrize("key", ["", OTHER])
def test_a_preview_is_what_saving_gives_and_records_nothing(key: str, admin: Client, text: Text, spool_dir: Any) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    before = stored(owner)
    answer = admin.post(ACME, {**FORM, "version": "1", "api_key": key, "model": "other", "do": "preview"})
    page = text(answer)
    assert answer.status_code == 200
    assert "If it were saved Preview Nothing was saved, sent or recorded." in page
    assert ("type it again" in page) is bool(key)
    assert "Explain takes LIVE, not tried yet" in page
    assert stored(owner) == before
    refused = admin.post(ACME, {**FORM, "provider": "openai", "base_url": "", "api_key": OTHER, "version": "1", "do": "preview"})
    assert "Gate REFUSED api.openai.com is a public name" in text(refused)
    assert "A saved row does not open the gate." in text(refused)
    with all_tenants():
        assert CredentialChange.across_tenants.count() == 1
    assert (spooled(spool_dir), EndpointOutcome.objects.count()) == ([], 0)
    for response in (answer, refused):
        assert KEY not in response.content.decode()
        assert OTHER not in response.content.decode()


@pytest.mark.parametrize(
    "wanted",
    [
        {"provider": "local-litellm", "base_url": GATEWAY},
        {"model": "other"},
        {"enabled": False},
        {"base_url": "http://litellm.internal:4000/other"},
        {"base_url": "http://elsewhere.corp", "api_key": OTHER},
        {"provider": "openai", "base_url": "", "api_key": OTHER},
        {"drop_key": True},
        {"base_url": "http://elsewhere.corp", "drop_key": True},
    ],
)
@pytest.mark.parametrize("enabled", [True, False])
def test_what_a_preview_resolves_is_what_the_runtime_resolves_once_saved(wanted: dict[str, Any], enabled: bool) -> None:
    from console.tenant_rows import rows_of

    owner = tenant(provider="local-litellm", base_url=GATEWAY, model="m", api_key=KEY, enabled=enabled)
    values = Wanted(version=1, api_key=Secret(wanted.get("api_key", "")), **{name: value for name, value in wanted.items() if name != "api_key"})
    (row,) = rows_of([(owner, None, preview_credential(owner, values))])
    save_credential(owner, values, by="alice")
    assert row.resolved == resolved_for(owner)


def test_a_refused_host_is_saved_with_a_warning_and_shown_refused(admin: Client, text: Text) -> None:
    answer = admin.post(ACME, {**FORM, "provider": "openai", "base_url": "", "api_key": KEY})
    (warning,) = said(answer)
    assert warning.startswith("Saved, and REFUSED now: api.openai.com is a public name")
    assert "ask the operator for an allowlist entry" in warning
    assert "REFUSED api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST. Answers are deterministic." in text(admin.get(ACME))


def test_a_conflict_says_what_the_other_changed_and_a_second_save_writes_over_it(admin: Client, text: Text) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY, model="first", api_key=KEY)
    save_credential(owner, Wanted(model="second", version=1), by="bob")
    save_credential(owner, Wanted(base_url="http://vllm.corp", api_key=Secret(OTHER), version=2), by="carol")
    typed = {**FORM, "base_url": "http://vllm.corp/v1", "model": "mine", "version": "1"}
    answer = admin.post(ACME, typed)
    page = text(answer)
    assert answer.status_code == 409
    assert "Nothing was saved: somebody else has changed this connection since you opened the page." in page
    assert re.search(
        r"bob, [^:]+:\d\d:\d\dZ: Changed model .*carol, .*Changed base URL, replaced the key \(litellm.internal:4000 → vllm.corp\)", page
    )
    assert (stored(owner) or {})["model"] == "second"
    assert 'name="version" value="3"' in answer.content.decode()
    assert 'value="mine"' in answer.content.decode()
    assert admin.post(ACME, {**typed, "version": "3"}).status_code == 302
    assert (stored(owner) or {})["model"] == "mine"


@pytest.mark.parametrize("version", ["", "x", "9" * 20, "-1", "²"])
def test_a_version_that_is_none_changes_nothing(version: str, admin: Client) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY)
    assert admin.post(ACME, {**FORM, "version": version}).status_code in (409, 422)
    assert (stored(owner) or {})["version"] == 1


def test_a_row_that_was_removed_meanwhile_is_a_conflict_too(admin: Client, text: Text) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY)
    admin.post(f"{ACME}remove/", {"sure": "on"})
    answer = admin.post(ACME, {**FORM, "version": "1"})
    assert answer.status_code == 409
    assert "Removed the connection, key and all" in text(answer)
    assert admin.post(ACME, FORM).status_code == 302
    assert stored(owner)


def test_a_key_does_not_follow_the_base_url_until_it_is_sent_again_or_dropped(admin: Client, text: Text) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    moved = {**FORM, "base_url": "http://evil.corp", "version": "1"}
    answer = admin.post(ACME, moved)
    assert (answer.status_code, "send the key again" in text(answer)) == (422, True)
    assert admin.post(ACME, {**moved, "drop_key": "on"}).status_code == 302
    assert (stored(owner) or {})["sealed_key"] == ""
    assert "Changed base URL and model, removed the key" in text(admin.get(ACME))


# ── Test, remove, re-seal ────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("outcome", "latency"), [(ProbeOutcome.OK, 12), (ProbeOutcome.REJECTED, 9), (ProbeOutcome.UNREACHABLE, 8), (ProbeOutcome.BLOCKED, None)]
)
def test_a_test_says_its_outcome_and_is_written_down(
    outcome: ProbeOutcome, latency: int | None, admin: Client, text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant(provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    monkeypatch.setattr("llm.probe.probe", lambda _resolved: Probe(outcome, "What came of it.", "m", latency))
    answer = admin.post(f"{ACME}test/")
    assert answer.headers["Location"] == ACME
    (words,) = said(answer)
    assert words.startswith(f"Test: {outcome.value}. What came of it.")
    assert ("ms" in words) is (latency is not None)
    assert "Tested: " in text(admin.get(ACME))


def test_tests_are_limited_and_the_page_says_so(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.limits.BURST", 1)
    monkeypatch.setattr("llm.probe.probe", lambda _resolved: Probe(ProbeOutcome.OK, "x", "m", 1))
    admin.post(f"{ACME}test/")
    assert said(admin.post(f"{ACME}test/"))[-1].startswith("Not tested. At most 1 answers of test in 60 seconds.")


def test_removing_asks_first_and_leaves_the_history(admin: Client, text: Text) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    assert said(admin.post(f"{ACME}remove/")) == ["Nothing was removed: tick that you want it, then send it again."]
    assert stored(owner)
    admin.post(f"{ACME}remove/", {"sure": "on"})
    assert stored(owner) is None
    page = text(admin.get(ACME))
    assert "Removed the connection, key and all" in page
    assert "Made the connection, with a key" in page
    assert "Source environment" in page


def test_an_operator_re_seals_what_an_older_vault_key_sealed(operator: Client, text: Text, settings: Any) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    assert "Re-seal" not in text(operator.get(ACME))
    settings.CREDENTIAL_KEYS = (Fernet.generate_key().decode(), *settings.CREDENTIAL_KEYS)
    page = text(operator.get(ACME))
    assert "not sealed with the newest vault key" in page
    assert "Re-seal with the newest vault key" in page
    before = (stored(owner) or {})["sealed_key"]
    assert said(operator.post(f"{ACME}reseal/")) == ["The key of acme is sealed with the newest vault key now."]
    assert (stored(owner) or {})["sealed_key"] != before
    assert resolved_for(owner).key.reveal() == KEY
    assert "already" in said(operator.post(f"{ACME}reseal/"))[-1]


def test_a_key_that_does_not_open_is_failing_with_its_reason_and_no_other_key_steps_in(operator: Client, text: Text) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    edit(owner, sealed_key="v1.0000000000000000.AAAA")
    page = text(operator.get(ACME))
    assert "FAILING The stored key is sealed with a vault key that is not here" in page
    assert "Source tenant row" in page
    assert "was not re-sealed. The stored key is sealed with a vault key that is not here" in said(operator.post(f"{ACME}reseal/"))[-1]
    previewed = text(operator.post(ACME, {**FORM, "version": "1", "do": "preview"}))
    assert previewed.count("set, does not open") == 2
    edit(owner, sealed_key=KEY)
    plain = operator.get(ACME)
    assert "FAILING The stored key is not sealed, so it is not used." in text(plain)
    assert KEY not in plain.content.decode()


# ── History ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_history_has_pages_and_says_hosts_but_no_key(operator: Client, text: Text) -> None:
    owner = tenant(provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    save_credential(owner, Wanted(base_url="http://vllm.corp", api_key=Secret(OTHER), version=1), by="bob")
    with tenant_scope(owner):
        for _ in range(30):
            CredentialChange(tenant=owner, at=timezone.now() - timedelta(minutes=1), by="eve<b>", action="tested", note="blocked").save()
    page = operator.get(ACME)
    assert "eve<b>" not in page.content.decode()
    (older,) = re.findall(r'href="\?before=(\d+)#history"', page.content.decode())
    words = text(operator.get(f"{ACME}?before={older}"))
    assert "bob Changed base URL, replaced the key litellm.internal:4000 → vllm.corp" in words
    assert "alice Made the connection, with a key litellm.internal:4000" in words
    assert "There is nothing older." in text(operator.get(f"{ACME}?before=1"))
    for rubbish in ("x", "-1", "9" * 40, "²"):
        assert operator.get(f"{ACME}?before={rubbish}").status_code == 200


def test_an_auditor_reads_all_of_it_and_has_no_control(auditor: Client, text: Text, many: dict[str, Tenant]) -> None:
    body = auditor.get(ACME).content.decode()
    assert "History" in body
    assert re.findall(r'<form[^>]*action="([^"]+)"', body) == ["/logout/"]
    before = json.dumps(stored(many["acme"]), default=str)
    for path in (ACME, f"{ACME}test/", f"{ACME}remove/", f"{ACME}reseal/"):
        assert auditor.post(path, {**FORM, "sure": "on", "version": "1"}).status_code == 403
    assert json.dumps(stored(many["acme"]), default=str) == before


# ── The second lock ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def bound() -> Iterator[None]:
    """The rest of the test runs under a role that row-level security binds: the suite's own is a superuser, whom no policy binds."""
    if connection.vendor != "postgresql":
        pytest.skip("Row-level security is PostgreSQL's.")
    role = connection.ops.quote_name(f"pages_{connection.settings_dict['NAME']}")  # a role is the whole server's
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} NOLOGIN")
        cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        cursor.execute(f"SET ROLE {role}")
        yield
        cursor.execute("RESET ROLE")


def test_every_page_opens_what_its_reader_may_see_and_no_more(bound: None, reader: Reader, many: dict[str, Tenant], text: Text) -> None:
    assert not TenantCredential.across_tenants.exists()
    operator, admin = reader("operator", staff=True), reader("tenant_admin globex")
    assert "2 tenants inherit the operator's connection · 4 bring their own: 3 allowed, 1 refused" in text(operator.get(URL))
    assert "2 tenants inherit the operator's connection · 4 bring their own" in text(operator.get("/settings/deployment/"))
    assert "Made the connection, with a key" in text(operator.get(ACME))
    listed = text(operator.get("/admin/llm/tenantcredential/"))
    assert all(slug in listed for slug, owner in many.items() if slug != "hooli")
    assert re.findall(rf'href="{URL}([a-z]+)/"', admin.get(URL).content.decode()) == ["globex"]
    assert admin.post(f"{URL}globex/", {**FORM, "version": "1", "model": "n"}).status_code == 302
    assert "Changed model" in text(admin.get(f"{URL}globex/"))
    admin.post(f"{URL}globex/remove/", {"sure": "on"})
    assert "Source environment" in text(admin.get(f"{URL}globex/"))
