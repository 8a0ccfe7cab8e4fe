"""The MISP feed: events that changed, whole; deletions are followed; the cursor moves with the data; every fault ends as a reason."""

import json
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.misp_double import KEY, Answer, Asked, MispDouble, answer
from tests.plugins.misp_server import MispServer
from tests.threatintel.misp_samples import STAMP, attribute, event, misp_uuid, tags
from threatintel import poll as poll_module
from threatintel import runs
from threatintel.feeds import misp as feed
from threatintel.models import FeedCursor, FeedRun, IndicatorSource
from threatintel.poll import poll
from threatintel.registry import feed_named

pytestmark = pytest.mark.django_db(transaction=True)
Environment = Callable[..., object]
Poll = Callable[[], FeedRun]


def once() -> FeedRun:
    spec = feed_named("misp")
    assert spec is not None
    slot = runs.manual_slot()
    runs.open_run("misp", slot)
    assert poll(spec, slot, retry=False) is not None
    return FeedRun.objects.get(slot=slot)


@pytest.fixture
def misp(environment: Environment, misp_double: MispDouble) -> MispDouble:
    environment(AISOC_AIRGAPPED="1", MISP_URL=misp_double.url, MISP_API_KEY=KEY)
    return misp_double


def cursor() -> dict[str, str]:
    return dict(FeedCursor.objects.get(feed="misp").data)


def rows() -> list[Any]:
    return list(IndicatorSource.objects.order_by("pk").values_list("pk", "updated_at", "revoked", "digest"))


def test_an_event_becomes_indicators_and_the_cursor_its_timestamp(misp: MispDouble) -> None:
    misp.searched = [event(attribute(), attribute("192.0.2.7", "ip-dst", to_ids=False), Tag=tags("tlp:green"))]
    run = once()
    assert (run.state, run.added, run.reason) == ("ok", 2, "")
    found = {source.indicator.value: source for source in IndicatorSource.objects.select_related("indicator")}
    assert (found["evil.example"].tlp, found["evil.example"].context, found["192.0.2.7"].context) == ("green", False, True)
    assert found["evil.example"].url == f"{misp.url}/events/view/{misp_uuid('event 1')}"
    assert cursor() == {"timestamp": str(STAMP)}
    (asked,) = misp.requests
    assert (asked.method, asked.path, asked.headers["authorization"]) == ("POST", "/events/restSearch", KEY)
    assert (asked.body["timestamp"], asked.body["deleted"], asked.body["returnFormat"]) == ("0", [0, 1], "json")


def test_the_second_poll_asks_from_the_timestamp_and_writes_nothing(misp: MispDouble) -> None:
    misp.searched = [event(attribute())]
    once()
    before = rows()
    run = once()
    assert (run.state, run.added, run.changed, run.retired) == ("ok", 0, 0, 0)
    assert misp.requests[-1].body["timestamp"] == str(STAMP)
    assert rows() == before


def test_an_empty_answer_keeps_the_cursor(misp: MispDouble) -> None:
    misp.searched = [event(attribute())]
    once()
    misp.searched = []
    assert once().state == "ok"
    assert cursor() == {"timestamp": str(STAMP)}


def test_deletions_changes_and_returns_are_followed(misp: MispDouble) -> None:
    misp.searched = [event(attribute(), attribute("b.example"))]
    once()
    misp.searched = [event(attribute(deleted=True, timestamp=str(STAMP + 5)), attribute("b.example"), timestamp=str(STAMP + 5))]
    run = once()
    assert (run.added, run.changed + run.retired) == (0, 1)
    assert {one.indicator.value: one.revoked for one in IndicatorSource.objects.select_related("indicator")} == {
        "evil.example": True,
        "b.example": False,
    }
    misp.searched = [event(attribute(timestamp=str(STAMP + 9)), timestamp=str(STAMP + 9))]
    once()
    assert not IndicatorSource.objects.filter(revoked=True).exists()


def test_an_event_whose_tlp_changes_changes_its_attributes(misp: MispDouble) -> None:
    misp.searched = [event(attribute(), Tag=tags("tlp:green"))]
    once()
    misp.searched = [event(attribute(), Tag=tags("tlp:red"), timestamp=str(STAMP + 5))]
    once()
    assert IndicatorSource.objects.get().tlp == "red"


def many(count: int) -> list[Any]:
    return [event(attribute(f"d{n}.example"), number=n, timestamp=str(STAMP + n)) for n in range(count)]


def test_a_page_too_large_for_one_answer_is_read_event_by_event(misp: MispDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few long lists beside each other, or one that is too long, must not keep every later event out for good."""
    monkeypatch.setattr(poll_module, "MAX_BYTES", 60_000)
    misp.searched = many(feed.LIMIT + 3)
    for number, size in ((4, 40_000), (5, 40_000), (7, 70_000)):
        misp.searched[number]["Event"]["info"] = "x" * size
    run = once()
    assert (run.state, run.added, run.skips) == ("ok", feed.LIMIT + 2, {feed.TOO_LARGE: 1})
    assert cursor() == {"timestamp": str(STAMP + feed.LIMIT + 2)}


def test_pages_are_read_to_the_end(misp: MispDouble) -> None:
    misp.searched = many(2 * feed.LIMIT + 3)
    run = once()
    assert (run.state, run.added) == ("ok", 2 * feed.LIMIT + 3)
    assert [(one.body["page"], one.body["timestamp"]) for one in misp.requests] == [(1, "0"), (2, "0"), (3, "0")]
    assert cursor() == {"timestamp": str(STAMP + 2 * feed.LIMIT + 2)}


def test_a_full_last_page_is_followed_by_an_empty_one(misp: MispDouble) -> None:
    misp.searched = many(feed.LIMIT)
    assert once().state == "ok"
    assert cursor() == {"timestamp": str(STAMP + feed.LIMIT - 1)}


def test_a_poll_that_breaks_off_keeps_what_it_has_and_goes_on_there(misp: MispDouble) -> None:
    misp.searched = many(3 * feed.LIMIT + 1)
    misp.rules.append(lambda asked: answer({}, 500) if asked.body["page"] == 3 else None)
    run = once()
    assert (run.state, IndicatorSource.objects.count()) == ("failed", 2 * feed.LIMIT)
    assert (cursor()["timestamp"], cursor()["page"]) == ("0", "3")
    misp.rules.clear()
    misp.requests.clear()
    assert once().state == "ok"
    assert [one.body["page"] for one in misp.requests] == [2, 3, 4]
    assert IndicatorSource.objects.count() == 3 * feed.LIMIT + 1
    assert cursor() == {"timestamp": str(STAMP + 3 * feed.LIMIT)}


def test_a_change_during_a_poll_is_found_by_the_next(misp: MispDouble) -> None:
    """An event of page 1 changes while page 2 is read, and one of page 2 changes later still: the cursor must not pass the first."""

    def changing(asked: Asked) -> Answer:
        start = {"Date": formatdate(STAMP + 100 + 10 * asked.body["page"], usegmt=True)}
        page = many(2 * feed.LIMIT - 1)[(asked.body["page"] - 1) * feed.LIMIT : asked.body["page"] * feed.LIMIT]
        if asked.body["page"] == 2:
            page[0] = event(attribute("late.example"), number=feed.LIMIT, timestamp=str(STAMP + 118))
        return answer({"response": page}, headers=start)

    misp.rules.append(changing)
    once()
    assert cursor() == {"timestamp": str(STAMP + 110)}


def test_an_event_from_the_future_does_not_blind_the_feed(misp: MispDouble) -> None:
    misp.searched = [event(attribute(), timestamp="4000000000")]
    once()
    assert int(cursor()["timestamp"]) < 3_900_000_000


def test_an_event_of_many_attributes_is_stored_in_parts(misp: MispDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_OBJECTS", 10)
    misp.searched = [event(*(attribute(f"d{n}.example") for n in range(35)))]
    assert once().added == 35
    assert once().changed == 0


def test_objects_and_warning_lists_are_read(misp: MispDouble) -> None:
    flagged = attribute("8.8.8.8", "ip-dst", warnings=[{"warninglist_name": "Public DNS"}])
    misp.searched = [event(flagged, Object=[{"name": "file", "Attribute": [attribute("a.exe", "filename")]}])]
    once()
    assert IndicatorSource.objects.get(indicator__value="8.8.8.8").labels == ["warning-list:Public DNS"]
    assert IndicatorSource.objects.filter(indicator__value="a.exe").exists()


@pytest.mark.parametrize(
    "given",
    [
        answer({"message": "x"}, 401),
        answer({"message": "x"}, 403),
        answer({}, 500),
        answer({}, 302, headers={"Location": "/users/login"}),
        Answer(200, b"<html>", "text/html"),
        Answer(200, b'{"response": [{"Event": {"uuid": "'),
        Answer(200, b"[" * 100_000),
        Answer(200, b'{"response": [' + b'{"Event":{"x":' * 5000),
        Answer(200, b""),
        answer({}, 422),
    ],
    ids=["401", "403", "500", "redirect", "a page", "cut off", "deep", "deep events", "empty", "422 twice"],
)
def test_a_fault_of_the_server_stores_nothing_and_quotes_nothing(given: Answer, misp: MispDouble) -> None:
    misp.searched = [event(attribute())]
    once()
    before, at = rows(), cursor()
    misp.always(given)
    run = once()
    assert run.state == "failed"
    assert KEY not in run.reason
    assert (rows(), cursor()) == (before, at)


def test_an_answer_that_is_no_search_result_is_read_as_nothing(misp: MispDouble) -> None:
    misp.always(answer({"response": [1, "x", None, {"a": 1}, {"Event": {}}, {"Event": {"Attribute": 7, "Object": {}}}]}))
    assert once().added == 0


def test_a_server_that_pages_for_ever_is_a_reason(misp: MispDouble) -> None:
    misp.always(answer({"response": many(feed.LIMIT)}))
    run = once()
    assert run.state == "failed"
    assert len(misp.requests) == 2


def test_without_a_key_the_feed_is_off(environment: Environment, misp_double: MispDouble) -> None:
    environment(MISP_URL=misp_double.url)
    spec = feed_named("misp")
    assert spec is not None
    assert spec.url == ""


# ── A real server ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def real(environment: Environment, misp_server: MispServer) -> MispServer:
    environment(AISOC_AIRGAPPED="1", MISP_URL=misp_server.url, MISP_API_KEY=misp_server.key)
    return misp_server


def loaded(server: MispServer, source: dict[str, Any], every: int) -> list[dict[str, Any]]:
    """Put an event with every so manieth attribute of it on the server. Its date is left out: this server fails at one on SQLite."""
    made = server.call("POST", "events/add", {name: source[name] for name in ("uuid", "info", "threat_level_id", "analysis")})["Event"]
    attributes = source["Attribute"][::every]
    for one in attributes:
        wanted = {name: one[name] for name in ("uuid", "type", "category", "value", "to_ids", "comment", "timestamp") if name in one}
        server.call("POST", f"attributes/add/{made['id']}", {**wanted, "distribution": 5})
    return list(attributes)


def test_a_real_event_is_pulled_from_a_real_server(real: MispServer, shared_data: Path) -> None:
    source = json.loads((shared_data / "misp_event_370.json").read_text())["Event"]
    attributes = loaded(real, source, 9)
    run = once()
    assert (run.state, run.reason) == ("ok", "")
    assert run.added > 30
    assert set(IndicatorSource.objects.values_list("external_id", flat=True)) <= {one["uuid"] for one in attributes}
    detecting = {one["uuid"] for one in attributes if one["to_ids"]}
    assert set(IndicatorSource.objects.filter(context=False).values_list("external_id", flat=True)) <= detecting
    kept = real.event(source["uuid"])
    assert cursor() == {"timestamp": str(kept["timestamp"])}

    before = rows()
    run = once()
    assert (run.state, run.added, run.changed, run.retired) == ("ok", 0, 0, 0)
    assert rows() == before

    stored = set(IndicatorSource.objects.values_list("external_id", flat=True))
    gone = next(one for one in kept["Attribute"] if one["uuid"] in stored)
    real.call("DELETE", f"attributes/delete/{gone['id']}")
    once()
    assert IndicatorSource.objects.filter(revoked=True).values_list("external_id", flat=True).distinct().get() == gone["uuid"]


def test_a_real_server_is_read_page_by_page(real: MispServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LIMIT", 2)
    for number in range(5):
        made = real.call("POST", "events/add", {"uuid": misp_uuid(f"event {number}"), "info": f"Event {number}"})["Event"]
        real.call("POST", f"attributes/add/{made['id']}", {"type": "domain", "value": f"d{number}.example", "to_ids": True, "distribution": 5})
    run = once()
    assert (run.state, run.added) == ("ok", 5)


def test_a_real_server_refuses_a_wrong_key(real: MispServer, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", MISP_URL=real.url, MISP_API_KEY="x" * 40)
    run = once()
    assert run.state == "failed"
    assert "401" in run.reason
