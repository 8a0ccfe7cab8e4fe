"""The page of channels in every state: no violation that axe knows, light and dark; no horizontal scroll at 320 px; no way out."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from actions import tasks
from tests.actions.samples import VARIABLES, delivered
from tests.browser.test_states import AXE, gone, violations

URL = "/settings/channels/"
VERDICTS = {
    "all sent": "OK",
    "tried again": "ATTENTION",
    "failed": "FAILING",
    "refused alone": "REFUSED",
    "none configured": "OFF",
    "never used": "UNKNOWN",
    "database away": "UNKNOWN",
    "what the product tells is lost": "FAILING",
    "tested": "UNKNOWN",
    "filtered to nothing": "OK",
}
LONG = "https://evil.example/" + "a-rather-long-word" * 9
pytestmark = pytest.mark.browser


@pytest.fixture
def states(
    visit: Callable[..., Page], environment: Callable[..., object], guarded: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Callable[[], Page]]:
    """Each state by name, as a function that brings it about and opens it."""
    environment(**VARIABLES)
    guarded("enforce")

    def opened(page: Page) -> Page:
        for summary in page.locator("summary").all():
            summary.click()
        return page

    def used() -> None:
        for channel in ("slack", "webhook", "mail"):
            delivered(channel, "sent", title=LONG)

    def all_sent() -> Page:
        used()
        return opened(visit(URL, role="operator"))

    def tried_again() -> Page:
        used()
        delivered("slack", "queued", reason="HTTP 500 from slack-relay.corp.")
        return visit(URL)

    def failed() -> Page:
        used()
        delivered("teams", "refused", reason="contoso.webhook.office.com is a public name and not on AISOC_AIRGAP_ALLOWLIST.", rule="public")
        for _ in range(30):
            delivered("mail", "failed", attempts=20, reason="Given up after 20 attempts. mail.corp: no connection, or it broke off (TimeoutError).")
        return opened(visit(f"{URL}?channel=mail"))

    def refused_alone() -> Page:
        environment(AISOC_AIRGAPPED="1", SLACK_WEBHOOK_URL="https://hooks.slack.com/x")
        return opened(visit(URL))

    def none_configured() -> Page:
        environment()
        return opened(visit(URL, role="operator"))

    def away() -> Page:
        monkeypatch.setattr("console.channels.channels_snapshot", gone)
        return visit(URL, role="operator", expected=True)

    def lost() -> Page:
        used()
        environment(**VARIABLES, AISOC_NOTIFY_CHANNEL="teams")
        return visit(URL)

    def tested() -> Page:
        monkeypatch.setattr(tasks.deliver, "apply_async", lambda **_: None)
        page = visit(URL, role="operator")
        page.get_by_role("button", name="Send a test to Slack").click()
        expect(page.get_by_text("Test of Slack asked for")).to_be_visible()
        expect(page.get_by_role("region", name="Deliveries, table").get_by_text("Test of this channel")).to_be_visible()
        return page

    def filtered() -> Page:
        used()
        return visit(f"{URL}?state=refused")

    made = (all_sent, tried_again, failed, refused_alone, none_configured, lambda: visit(URL), away, lost, tested, filtered)
    return dict(zip(VERDICTS, made, strict=True))


@pytest.mark.parametrize("name", VERDICTS)
def test_a_state_says_its_verdict_and_holds_in_light_dark_and_at_400_percent(name: str, states: dict[str, Any]) -> None:
    page = states[name]()
    expect(page.get_by_role("region", name="Verdict").locator(".badge")).to_have_text(VERDICTS[name])
    page.evaluate(AXE)
    assert violations(page, "light") == []
    assert violations(page, "dark", only=["color-contrast"]) == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
