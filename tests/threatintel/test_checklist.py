"""The freshness of feeds, as an auditor reads it."""

import pytest
from django.utils import timezone

from airgap import checklist
from airgap.checklist import ChecklistItem, Finding, Verdict
from threatintel.checklist import FEEDS_FRESH, feeds_fresh
from threatintel.models import FeedRun
from threatintel.registry import feed_named

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _mirrored(environment: object) -> None:
    """KEV and a TAXII collection on mirrors, OTX with a key and a public URL."""
    environment(  # type: ignore[operator]
        AISOC_AIRGAPPED="1",
        CISA_KEV_URL="http://mirror.corp/kev.json",
        TAXII_URL="http://taxii.corp/taxii2/",
        TAXII_COLLECTION_IDS="one",
        OTX_API_KEY="k",
    )


def ran(feed: str, *, periods_ago: float, state: str = "ok", reason: str = "") -> None:
    spec = feed_named(feed)
    assert spec is not None
    when = timezone.now() - periods_ago * spec.every
    FeedRun.objects.create(feed=feed, slot=f"1.{periods_ago}{state}", state=state, reason=reason, not_before=when, started_at=when, finished_at=when)


def test_every_polled_feed_fresh_is_ok_and_the_refused_one_is_told() -> None:
    ran("kev", periods_ago=0.5)
    ran("taxii:one", periods_ago=0.5)
    found = feeds_fresh(checklist.look())
    assert (found.verdict, found.next_step) == (Verdict.OK, "")
    assert "Refused by the gate: otx." in found.evidence


def test_one_that_is_stale_for_three_periods_fails_it() -> None:
    ran("kev", periods_ago=3.1)
    ran("taxii:one", periods_ago=0.5)
    found = feeds_fresh(checklist.look())
    assert found.verdict is Verdict.FAILING
    assert "kev: FAILING" in found.evidence
    assert found.next_step


def test_a_failure_since_the_last_success_asks_for_attention() -> None:
    ran("kev", periods_ago=1)
    ran("kev", periods_ago=0.5, state="failed", reason="HTTP 500")
    ran("taxii:one", periods_ago=0.5)
    assert feeds_fresh(checklist.look()).verdict is Verdict.ATTENTION


def test_one_that_was_never_polled_is_unknown() -> None:
    ran("kev", periods_ago=0.5)
    assert feeds_fresh(checklist.look()).verdict is Verdict.UNKNOWN


def test_the_item_is_registered_and_a_check_that_breaks_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_seen: checklist.Look) -> Finding:
        raise ZeroDivisionError

    monkeypatch.setitem(checklist._items, "broken", ChecklistItem("broken", "Broken", breaks))
    found = {one.item.id: one.finding.verdict for one in checklist.run_all(checklist.look())}
    assert found["broken"] is Verdict.UNKNOWN
    assert found["feeds_fresh"] in set(Verdict)
    with pytest.raises(ValueError, match="feeds_fresh"):
        checklist.register(ChecklistItem("feeds_fresh", "Another", feeds_fresh))
    checklist.register(FEEDS_FRESH)
