"""The pages as people use them: keyboard alone, without JavaScript, on plain HTTP, with their own theme and zone."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.airgap.trail import drained, event
from tests.console.connections import GATEWAY, KEY, tenant
from tests.console.test_feed_pages import bundle
from tests.plugins.model_server import ModelServer

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("sealed", "healthy")]
Visit = Callable[..., Page]
PAGES = [
    "/settings/deployment/?host=api.openai.com",
    "/settings/feeds/",
    "/settings/egress/",
    "/settings/indicators/",
    "/settings/feeds/kev/",
    "/settings/tenants/acme/",
    "/assist/",
]
FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"


@pytest.fixture
def blocked(transactional_db: None) -> None:
    """Attempts of two callers, on two pages of events; and a tenant with a connection of its own."""
    tenant(provider="openai", api_key=KEY)
    minute = timezone.now().replace(second=0, microsecond=0)
    drained(event(minute=minute, purpose="guard", host="b.example"), *(event(minute=minute - timedelta(minutes=2 * n)) for n in range(60)))


# ── Keyboard ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("path", PAGES)
def test_tab_reaches_everything_in_reading_order_with_visible_focus(path: str, visit: Visit, blocked: None) -> None:
    page = visit(path, role="operator")
    for summary in page.locator("summary").all():
        summary.click()
    page.reload()
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    wanted = page.evaluate(
        """selector => [...document.querySelectorAll(selector)].filter(one => one.checkVisibility({visibilityProperty: true}))
            .map((one, index) => { one.dataset.index = index; return index; })""",
        FOCUSABLE,
    )
    reached: list[int] = []
    for _ in wanted:
        page.keyboard.press("Tab")
        index, outline = page.evaluate("[document.activeElement.dataset.index, getComputedStyle(document.activeElement).outlineStyle]")
        assert outline != "none", index
        reached.append(int(index))
    assert reached == wanted


def test_the_skip_link_is_first_and_leads_to_the_content(visit: Visit) -> None:
    page = visit("/settings/feeds/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("path", [*PAGES, "/login/"])
def test_every_target_measures_24_px(path: str, visit: Visit, blocked: None) -> None:
    page = visit(path, role="anonymous" if path == "/login/" else "operator")
    small = page.evaluate(
        """[...document.querySelectorAll("button, input:not([type=hidden]):not([type=checkbox]), label:has(input), select, summary, nav a, header a, a.button")]
            .filter(one => one.checkVisibility() && !one.classList.contains("skip"))
            .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
            .filter(([, box]) => box.width < 24 || box.height < 24).map(([html]) => html)"""
    )
    assert small == []


def test_a_row_opens_by_keyboard_and_a_host_is_tried_by_keyboard(visit: Visit) -> None:
    page = visit("/settings/feeds/")
    page.get_by_text("Details of CISA KEV").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("CISA_KEV_POLL_INTERVAL", exact=True)).to_be_visible()
    page = visit("/settings/deployment/")
    page.get_by_label("Host or URL").focus()
    page.keyboard.type("https://api.openai.com/v1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST.")).to_be_visible()


# ── Without JavaScript ───────────────────────────────────────────────────────────────────────────────────────────────
def test_without_javascript_everything_but_comfort_works(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threatintel.api.poll_task.apply_async", lambda **_: None)
    page = visit("/settings/feeds/", role="operator", java_script_enabled=False)
    for name in ("Copy as Markdown", "Print", "Times: UTC", "Theme: auto"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.get_by_text("Details of AlienVault OTX").click()
    expect(page.get_by_text("never: it is not registered with the scheduler")).to_be_visible()
    page.get_by_label("State").select_option("REFUSED")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("rowheader", name="AlienVault OTX")).to_be_visible()
    expect(page.get_by_role("rowheader", name="CISA KEV")).to_have_count(0)
    page.get_by_role("link", name="Show all").click()
    page.get_by_role("button", name="Poll now CISA KEV").click()
    expect(page.get_by_text("Poll of CISA KEV asked for")).to_be_visible()
    page.get_by_role("link", name="Deployment & AI").click()
    page.get_by_label("Host or URL").fill("ollama:11434")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("yes → allowed")).to_be_visible()
    page.get_by_role("link", name="Open as Markdown").click()
    expect(page.get_by_text("# Deployment & AI")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_without_javascript_blocked_egress_filters_opens_and_pages(visit: Visit, blocked: None) -> None:
    page = visit("/settings/egress/", java_script_enabled=False)
    expect(page.get_by_role("button", name="Copy link")).to_have_count(0)
    expect(page.get_by_text("/settings/egress/?span=24h", exact=False).first).to_be_visible()
    page.get_by_text("Show as table").click()
    expect(page.get_by_role("region", name="Blocked attempts per hour, table")).to_be_visible()
    page.get_by_text("Why and what to do about api.openai.com:443").click()
    expect(page.get_by_text("The feed kev asked").first).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("heading", name="Older events")).to_be_visible()
    page.get_by_role("link", name="Newest").click()
    page.get_by_label("Purpose").select_option("guard")
    page.get_by_label("Span").select_option("1h")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Filtered: purpose guard.")
    expect(page.get_by_role("rowheader", name="api.openai.com:443")).to_have_count(0)
    page.get_by_role("link", name="Show all").click()
    page.get_by_role("link", name="Open as Markdown").click()
    expect(page.get_by_text("# Blocked egress")).to_be_visible()


def test_without_javascript_a_tenant_admin_brings_a_connection_by_keyboard_and_removes_it(visit: Visit) -> None:
    page = visit("/settings/tenants/", role="tenant_admin acme", java_script_enabled=False)
    page.get_by_role("link", name="acme", exact=True).click()
    page.get_by_label("Base URL").fill(GATEWAY)
    page.get_by_label("Base URL").press("Tab")
    page.keyboard.type("llama3.1:70b")
    page.keyboard.press("Tab")
    page.keyboard.type("sk-planted-typed-3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="If it were saved")).to_be_visible()
    expect(page.get_by_label("API key", exact=True)).to_have_value("")
    expect(page.get_by_label("Model")).to_have_value("llama3.1:70b")
    page.get_by_label("API key", exact=True).fill("sk-planted-typed-3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="In use now")).to_contain_text("http://litellm.internal:4000/v1")
    assert "sk-planted-typed-3" not in page.content()
    page.get_by_text("Remove this connection").click()
    page.get_by_label("Yes, remove it, key and all").check()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("it inherits the operator's now")).to_be_visible()
    page.get_by_role("link", name="Tenants & keys 0 refused").click()
    page.get_by_role("link", name="Open as Markdown").click()
    expect(page.get_by_text("# Tenants & keys")).to_be_visible()


def test_an_operator_forgets_a_silent_process_by_keyboard_and_without_javascript(visit: Visit, heard: Callable[..., object]) -> None:
    heard()
    heard("worker-8:31", seconds_ago=600)
    page = visit("/settings/deployment/", role="operator", java_script_enabled=False)
    page.get_by_role("button", name="Forget worker-8:31").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("worker-8:31 is forgotten: it is off the list.")).to_be_visible()
    expect(page.get_by_role("rowheader", name="worker-8:31")).to_have_count(0)
    expect(visit("/settings/deployment/", role="auditor").get_by_role("button", name="Forget")).to_have_count(0)


def test_without_javascript_a_file_is_previewed_then_imported_and_its_indicator_found(visit: Visit) -> None:
    page = visit("/settings/feeds/", role="operator", java_script_enabled=False)
    file = {"name": "bundle.json", "mimeType": "application/json", "buffer": bundle("a", "b")}
    page.get_by_label("Kind").select_option("stix")
    page.get_by_label("File, plain or gzip").set_input_files(file)
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("Nothing was changed. To import, choose the same file again")).to_be_visible()
    expect(page.get_by_label("SHA-256 of the file")).to_have_value(sha256(file["buffer"]).hexdigest())
    page.get_by_label("File, plain or gzip").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("bundle.json is imported: 2 records read, 2 new")).to_be_visible()
    page.get_by_role("link", name="Its indicators").click()
    page.get_by_label("Value").fill("b[.]example")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="Details of b[.]example").click()
    expect(page.get_by_role("heading", name="b[.]example")).to_be_visible()
    page.get_by_role("link", name="Show the object as it came").click()
    expect(page.get_by_text("[domain-name:value = 'b.example']")).to_be_visible()


def test_without_javascript_an_alert_is_explained_and_investigated(visit: Visit) -> None:
    page = visit("/assist/", role="operator", java_script_enabled=False)
    page.get_by_label("Alert", exact=True).fill('{"title": "Odd log-in", "source": "okta", "tags": ["T1078"]}')
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("heading", name="Answer")).to_be_visible()
    expect(page.get_by_text("Fallback: by rule")).to_be_visible()
    expect(page.get_by_role("row", name="T1078 Valid Accounts")).to_be_visible()
    page.get_by_role("link", name="Investigate").click()
    page.get_by_label("Alert", exact=True).fill("powershell.exe on WS-1")
    page.get_by_role("button", name="Investigate").click()
    expect(page.get_by_role("row", name="E1 OCSF class")).to_be_visible()


@pytest.mark.parametrize("tool", ["", "investigate/", "query/", "detection/", "tuning/", "phishing/", "translation/"])
def test_no_part_of_an_answer_shows_before_something_was_asked(tool: str, visit: Visit) -> None:
    page = visit(f"/assist/{tool}", role="operator")
    shown = page.evaluate("[...document.querySelectorAll('[hidden]')].filter(one => one.checkVisibility()).map(one => one.outerHTML.slice(0, 200))")
    assert shown == []
    expect(page.locator("main").get_by_role("heading", name="Answer")).to_have_count(0)


def test_who_waits_for_a_model_is_told_so(visit: Visit, environment: Callable[..., object], model_server: ModelServer) -> None:
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    model_server.fault = "stall"
    page = visit("/assist/", role="operator")
    page.get_by_label("Alert", exact=True).fill('{"title": "Odd log-in", "tags": ["T1078"]}')
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("row", name="T1078 Valid Accounts")).to_be_visible()
    expect(page.get_by_text("Not complete yet.")).to_be_visible()
    model_server.release.set()
    expect(page.get_by_text("Fallback: by rule")).to_be_visible()
    expect(page.get_by_text("Not complete yet.")).to_be_hidden()
    page.get_by_role("link", name="Ask for a query").click()
    note = page.get_by_text("Asked. Where a model is needed")
    expect(note).to_be_hidden()
    page.evaluate(
        "document.querySelector('[data-asked]').addEventListener('submit', () =>"
        " sessionStorage.setItem('told', document.querySelector('[data-waiting]').checkVisibility()))"
    )  # Playwright itself waits for the page that comes
    page.get_by_label("Question").fill("what is the weather")
    page.get_by_role("button", name="Translate").click()
    expect(page.get_by_role("heading", name="Answer")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('told')") == "true"
    expect(note).to_be_hidden()


@pytest.mark.parametrize("kept", [[], ["csrftoken"]], ids=["no cookie at all", "the session is over"])
def test_who_is_no_longer_signed_in_is_told_so_and_loses_nothing(kept: list[str], visit: Visit) -> None:
    page = visit("/assist/", role="operator", expected=True)
    page.get_by_label("Alert", exact=True).fill("powershell.exe on WS-1")
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.context.add_cookies([cookie for cookie in cookies if cookie["name"] in kept])  # type: ignore[misc]  # playwright's own two types
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("alert")).to_contain_text("Not answered: you are no longer signed in here.")
    expect(page.get_by_label("Alert", exact=True)).to_have_value("powershell.exe on WS-1")


def test_a_file_that_is_chosen_is_not_lost_to_a_refresh(visit: Visit) -> None:
    page = visit("/settings/feeds/", role="operator", locale="en-GB")
    page.clock.install()
    page.reload()
    page.get_by_label("Refresh every 30 s").check()
    page.get_by_label("File, plain or gzip").set_input_files({"name": "a.json", "mimeType": "application/json", "buffer": b"{}"})
    page.evaluate("document.activeElement.blur(); window.first = true")
    page.clock.run_for(65_000)
    assert page.evaluate("window.first") is True


# ── Copy ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def pasted(page: Page) -> str:
    """What the clipboard holds."""
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), {id: 'pasted'}))")
    page.locator("#pasted").focus()
    page.keyboard.press("Control+V")
    return page.locator("#pasted").input_value()


def test_copy_works_on_plain_http_where_the_clipboard_api_is_missing(visit: Visit) -> None:
    page = visit("/settings/deployment/", host="console.internal")
    assert page.evaluate("navigator.clipboard === undefined")
    button = page.get_by_role("button", name="Copy AISOC_AIRGAP_ALLOWLIST")
    button.click()
    expect(page.get_by_role("status").filter(has_text="Copied.")).to_be_visible()
    expect(button).to_be_focused()
    assert pasted(page) == "AISOC_AIRGAP_ALLOWLIST"


def test_copy_as_markdown_gives_the_whole_page(visit: Visit) -> None:
    page = visit("/settings/deployment/", host="console.internal")
    page.get_by_role("button", name="Copy as Markdown").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert pasted(page).startswith("# Deployment & AI\n\n**UNKNOWN** No process has a heartbeat on record")


def test_a_refusal_is_copied_as_markdown(visit: Visit) -> None:
    page = visit("/settings/feeds/", host="console.internal")
    page.get_by_text("Details of AlienVault OTX").click()
    page.get_by_role("button", name="Copy refusal as Markdown").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert pasted(page).startswith("**REFUSED** AlienVault OTX (otx)")


def test_the_link_and_an_allowlist_entry_are_copied(visit: Visit, blocked: None) -> None:
    page = visit("/settings/egress/?span=7d&rule=public", host="console.internal")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert pasted(page).endswith("console.internal" + page.url.split("console.internal")[1])
    page.locator("#pasted").evaluate("area => area.remove()")
    page.get_by_text("Why and what to do about api.openai.com:443").click()
    page.get_by_role("button", name="Copy api.openai.com:443").click()
    assert pasted(page) == "api.openai.com:443"


# ── Theme, zone, refresh ─────────────────────────────────────────────────────────────────────────────────────────────
def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


WHITE, DARK = "rgb(255, 255, 255)", "rgb(20, 24, 29)"


def test_the_theme_follows_the_system_until_switched_and_the_switch_is_remembered(visit: Visit) -> None:
    page = visit("/settings/deployment/", role="operator", color_scheme="dark")
    assert background(page) == DARK
    page.get_by_role("button", name="Theme: auto").click()
    expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    assert background(page) == WHITE
    page.reload()
    assert background(page) == WHITE
    page.get_by_role("link", name="Admin", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_times_switch_to_local_and_stay_there(visit: Visit) -> None:
    page = visit("/settings/deployment/", timezone_id="Asia/Kolkata")
    clock = page.locator(".witness time .clock")
    assert clock.inner_text().endswith("Z")
    utc = page.locator(".witness time").get_attribute("datetime") or ""
    page.get_by_role("button", name="Times: UTC").click()
    assert clock.inner_text().endswith("+05:30")
    minutes = (int(utc[11:13]) * 60 + int(utc[14:16]) + 330) % 1440
    assert f"{minutes // 60:02}:{minutes % 60:02}:{utc[17:19]}+05:30" in clock.inner_text()
    page.goto(page.url.replace("deployment", "feeds"))
    assert page.locator(".witness time .clock").inner_text().endswith("+05:30")


def test_the_script_writes_times_as_the_server_does(visit: Visit, ran: Callable[..., object]) -> None:
    ran("kev", "ok", minutes_ago=47 * 60)
    ran("kev", "ok", minutes_ago=3 * 24 * 60)
    plain = visit("/settings/feeds/", java_script_enabled=False).locator(".runs time").all_inner_texts()
    assert visit("/settings/feeds/").locator(".runs time").all_inner_texts() == plain


def test_an_age_stays_true_while_the_page_is_open(visit: Visit) -> None:
    page = visit("/settings/deployment/", locale="en-GB")
    page.clock.install()
    page.reload()
    assert page.locator(".witness .ago").inner_text() == "now"
    page.clock.run_for(130_000)
    assert page.locator(".witness .ago").inner_text() == "2 min ago"


def test_refresh_is_opt_in_remembered_and_keeps_what_is_open(visit: Visit) -> None:
    page = visit("/settings/feeds/", locale="en-GB")
    page.clock.install()
    page.reload()
    page.evaluate("window.first = true")
    page.clock.run_for(65_000)
    assert page.evaluate("window.first") is True
    page.get_by_text("Details of CISA KEV").click()
    page.get_by_label("Refresh every 30 s").check()
    with page.expect_navigation():
        page.clock.run_for(31_000)
    assert page.evaluate("window.first") is None
    expect(page.get_by_label("Refresh every 30 s")).to_be_checked()
    expect(page.get_by_text("CISA_KEV_POLL_INTERVAL", exact=True)).to_be_visible()


def test_refresh_pauses_in_a_hidden_tab(visit: Visit) -> None:
    page = visit("/settings/feeds/", locale="en-GB")
    page.clock.install()
    page.reload()
    page.get_by_label("Refresh every 30 s").check()
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true}); window.first = true")
    page.clock.run_for(65_000)
    assert page.evaluate("window.first") is True


# ── The way in and out ───────────────────────────────────────────────────────────────────────────────────────────────
def test_a_reader_signs_in_and_lands_where_he_wanted(visit: Visit, cookie: Callable[[str], str]) -> None:
    cookie("auditor")
    page = visit("/settings/feeds/", role="anonymous")
    page.get_by_label("Username").fill("auditor-1")
    page.get_by_label("Password").fill("correct-horse-9")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Threat-intel feeds")).to_be_visible()
    expect(page.get_by_role("button", name="Poll now")).to_have_count(0)


def test_printing_shows_closed_details_and_hides_controls(visit: Visit) -> None:
    page = visit("/settings/feeds/")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.get_by_text("CISA_KEV_POLL_INTERVAL", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Copy as Markdown")).to_be_hidden()
    expect(page.locator(".witness .ago").first).to_be_hidden()  # on paper nothing is "now"
    said = page.locator(".witness time").first
    assert said.evaluate("time => getComputedStyle(time, '::after').content.slice(1, -1) === time.dateTime")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(page.get_by_text("CISA_KEV_POLL_INTERVAL", exact=True)).to_be_hidden()


def test_in_forced_colours_badges_keep_a_border(visit: Visit) -> None:
    page = visit("/settings/feeds/", forced_colors="active")
    assert page.locator("main .badge").first.evaluate("badge => getComputedStyle(badge).borderTopStyle") in ("solid", "dashed")
