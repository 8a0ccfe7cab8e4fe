"""One feed with its counts and runs, what to do about a refused one, the import of files, and the push to MISP."""

import hashlib
import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from console.day_chart import DAYS, Day, added_chart, last_days, live_chart
from threatintel.models import FeedDay, FeedRun, Indicator, MispPush

URL = "/settings/feeds/"
IMPORT = f"{URL}import/"
CVES = ("CVE-2024-10001", "CVE-2024-10002")
BASE_QUERIES = 15
QUERIES_A_FEED = 7
Text = Callable[[Any], str]
Ran = Callable[..., FeedRun]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealed")]


def bundle(*cves: str) -> bytes:
    objects = [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--00000000-0000-4000-8000-0000000000{number:02}",
            "created": "2026-05-01T00:00:00.000Z",
            "modified": "2026-05-01T00:00:00.000Z",
            "pattern": f"[domain-name:value = '{cve.lower()}.example']",
            "pattern_type": "stix",
            "valid_from": "2026-05-01T00:00:00Z",
        }
        for number, cve in enumerate(cves)
    ]
    return json.dumps({"type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000000", "objects": objects}).encode()


def form(content: bytes | None = None, **fields: str) -> dict[str, Any]:
    sent: dict[str, Any] = {"kind": "stix", "do": "preview", **fields}
    return sent if content is None else {**sent, "file": SimpleUploadedFile("carried.json", content)}


# ── One feed ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_feed_has_its_times_its_runs_and_what_they_skipped(auditor: Client, ran: Ran, text: Text) -> None:
    ran("kev", "ok", minutes_ago=4, fetched=5, added=3, skipped=2, skips={"<b>no value": 2})
    ran("kev", "failed", minutes_ago=1, reason="kev-mirror.internal: HTTP 500.", source=f"kev.json {'0' * 64}")
    page = auditor.get(f"{URL}kev/")
    words = text(page)
    assert page.status_code == 200
    assert "ATTENTION kev-mirror.internal: HTTP 500." in words
    assert "ok53002–Why skipped" in words.replace(" ", "").replace("Whyskipped", "Why skipped")
    assert "2: <b>no value" in words
    assert "<b>no value" not in page.content.decode()
    assert "import of kev.json" in words
    assert "Poll now" not in words


def test_runs_are_paged_to_the_first(auditor: Client, ran: Ran) -> None:
    for number in range(60):
        ran("kev", "ok", minutes_ago=100 - number, fetched=number)
    url, seen = f"{URL}kev/", []
    while url:
        page = auditor.get(url).context["page"]
        seen += [run.fetched for run in page.row.runs]
        url = f"{URL}kev/?before={page.older}" if page.older else ""
    assert seen == list(range(59, -1, -1))


@pytest.mark.parametrize("before", ["x", "-1", "0", "٣", "9" * 30])
def test_a_place_that_is_no_run_is_named(before: str, auditor: Client, text: Text) -> None:
    page = auditor.get(f"{URL}kev/", {"before": before})
    assert page.status_code == 200
    assert "before: this is no run of this feed. The latest runs are shown." in text(page)


def test_an_unknown_feed_is_404(auditor: Client) -> None:
    assert auditor.get(f"{URL}nothing/").status_code == 404


def test_a_refused_feed_says_what_to_do_with_the_line_for_the_allowlist(auditor: Client, text: Text) -> None:
    for page in (text(auditor.get(URL)), text(auditor.get(f"{URL}otx/"))):
        assert "Point OTX_BASE_URL" in page
        assert "Or carry its data in as a file" in page
        assert "Or add to AISOC_AIRGAP_ALLOWLIST: otx.alienvault.com" in page


def test_the_button_of_a_feed_comes_back_to_it(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threatintel.api.poll_task.apply_async", lambda **_: None)
    assert "Poll now" in operator.get(f"{URL}kev/").content.decode()
    assert operator.post(f"{URL}kev/poll/", {"from": "feed"}).headers["Location"] == f"{URL}kev/"


def test_the_pages_ask_no_more_with_more_runs_and_days(operator: Client, ran: Ran) -> None:
    for number in range(40):
        ran("kev", "ok", minutes_ago=number)
        FeedDay.objects.create(feed="kev", day=date.today() - timedelta(days=number), added=1)
    for path in (URL, f"{URL}kev/"):
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(path).status_code == 200
        assert len(queries) <= BASE_QUERIES + 5 * QUERIES_A_FEED


# ── Counts by day ────────────────────────────────────────────────────────────────────────────────────────────────────
TODAY = date(2026, 11, 24)


def test_what_is_live_stays_so_on_days_without_a_count() -> None:
    found = {TODAY - timedelta(days=3): Day(TODAY - timedelta(days=3), 5, 1, 0, 90)}
    days = last_days(found, TODAY, 40)
    assert len(days) == DAYS
    assert [day.live for day in days[-5:]] == [40, 90, 90, 90, 90]
    assert days[-1].day == TODAY
    assert [day.added for day in days[-5:]] == [0, 5, 0, 0, 0]


@pytest.mark.parametrize(("counts", "said"), [([0, 0], "No new records."), ([3, 1], "4 new records in all, the most (3) on 2026-11-23.")])
def test_the_picture_says_in_words_what_it_shows(counts: list[int], said: str) -> None:
    days = last_days(
        {TODAY - timedelta(days=1 - number): Day(TODAY - timedelta(days=1 - number), count) for number, count in enumerate(counts)}, TODAY
    )
    chart = added_chart(days)
    assert said in chart.description
    assert len(chart.bars) == DAYS
    assert chart.bars[-1].title == f"2026-11-24: {counts[1]} new record{'' if counts[1] == 1 else 's'}"


def test_a_bar_of_one_beside_a_million_is_seen() -> None:
    chart = live_chart([Day(TODAY, live=1), Day(TODAY, live=1_000_000)], "STIX files")
    assert float(chart.bars[0].height) == 3
    assert chart.ticks[-1].text == "1 M"


def test_pages_draw_the_counts_with_their_table(auditor: Client, text: Text) -> None:
    assert "Nothing new in the last 30 days" in text(auditor.get(URL))
    assert "Nothing is counted yet" in text(auditor.get(f"{URL}kev/"))
    today = timezone.now().date()
    FeedDay.objects.create(feed="kev", day=today - timedelta(days=2), added=1400, changed=2, live=1400)
    FeedDay.objects.create(feed="stix", day=today, added=7, retired=1, live=7)
    page = text(auditor.get(URL))
    assert "1,407 new records in all" in page
    assert f"{today - timedelta(days=2):%Y-%m-%d}1,40020" in page
    page = text(auditor.get(f"{URL}kev/"))
    assert "0 live indicators on the first day, 1,400 now." in page
    assert f"{today - timedelta(days=2):%Y-%m-%d}1,400201,400" in page


# ── Import ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_preview_says_what_would_change_and_changes_nothing(operator: Client, text: Text) -> None:
    content = bundle(*CVES)
    page = operator.post(IMPORT, form(content))
    words = text(page)
    assert page.status_code == 200
    assert "Nothing was changed. To import, choose the same file again" in words
    assert "Records read2New2Changed0Retired0" in words.replace(" Skipped", "Skipped").replace(" New", "New").replace(" Changed", "Changed").replace(
        " Retired", "Retired"
    )
    assert f'value="{hashlib.sha256(content).hexdigest()}"' in page.content.decode()
    assert not Indicator.objects.exists()
    assert not FeedRun.objects.exists()


def test_an_import_stores_the_file_and_goes_to_its_feed(operator: Client) -> None:
    content = bundle(*CVES)
    answer = operator.post(IMPORT, form(content, do="import", sha256=hashlib.sha256(content).hexdigest().upper()))
    assert answer.headers["Location"] == f"{URL}stix/"
    assert [str(one) for one in get_messages(answer.wsgi_request)] == [
        "carried.json is imported: 2 records read, 2 new, 0 changed, 0 retired, 0 skipped."
    ]
    assert Indicator.objects.count() == 2
    assert FeedRun.objects.get().state == "ok"


def test_an_import_of_the_same_file_changes_nothing(operator: Client, text: Text) -> None:
    operator.post(IMPORT, form(bundle(*CVES), do="import"))
    assert "All of it is stored already: an import would change nothing." in text(operator.post(IMPORT, form(bundle(*CVES))))


@pytest.mark.parametrize(
    ("content", "fields", "problem"),
    [
        (None, {}, "File: Choose the file"),
        (b"", {}, "File: The file is empty"),
        (b"no JSON", {}, "File: "),
        (b'{"type": "bundle"}', {"do": "import"}, "File: The file holds nothing that a stix file has."),
        (b"{}", {"kind": ""}, "Kind: Choose one of kev, stix, misp, otx."),
        (b"{}", {"kind": "<b>"}, "Kind: '<b>' is no kind"),
        (b"{}", {"sha256": "12"}, "SHA-256: It has 64 hexadecimal digits"),
        (b"{}", {"sha256": "0" * 64}, "SHA-256: The file's SHA-256 is 44136fa355b3"),
        (b"{}", {"sha256": "0" * 64, "do": "import"}, "SHA-256: The file's SHA-256 is 44136fa355b3"),
    ],
)
def test_what_cannot_be_imported_names_the_field_and_the_fix(
    content: bytes | None, fields: dict[str, str], problem: str, operator: Client, text: Text
) -> None:
    page = operator.post(IMPORT, form(content, **fields))
    assert page.status_code == 400
    assert "Nothing was changed." in text(page)
    assert text(page).count(problem) == 2, "once on top, once beside the field"
    assert 'aria-invalid="true"' in page.content.decode()
    assert not Indicator.objects.exists()


def test_only_operators_import_and_only_with_a_token(auditor: Client, operator: Client) -> None:
    assert "Import a file" not in auditor.get(URL).content.decode()
    assert auditor.get(IMPORT).status_code == 403
    assert auditor.post(IMPORT, form(bundle(*CVES), do="import")).status_code == 403
    assert Client().post(IMPORT, form(bundle(*CVES))).headers["Location"] == "/login/?next=/"
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(IMPORT, form(bundle(*CVES), do="import")).status_code == 403
    assert not Indicator.objects.exists()


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(operator: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.feed_views.MOST_BYTES", 100)
    page = operator.post(IMPORT, form(bundle(*CVES)))
    assert page.status_code == 413
    assert "bring it in with manage.py import_feed KIND FILE on the host." in text(page)


# ── Push to MISP ─────────────────────────────────────────────────────────────────────────────────────────────────────
MISP = {"AISOC_AIRGAPPED": "1", "MISP_URL": "https://misp.internal", "MISP_API_KEY": "misp-planted-9999"}


def pushed(state: str, **more: Any) -> MispPush:
    now = timezone.now()
    values = {"object_id": f"indicator--{MispPush.objects.count()}", "state": state, "not_before": now, "created_at": now, "updated_at": now}
    return MispPush.objects.create(**{**values, **more})


@pytest.mark.parametrize(
    ("variables", "rows", "state", "reason"),
    [
        ({"AISOC_AIRGAPPED": "1"}, [], "OFF", "Not configured. Set MISP_URL and MISP_API_KEY."),
        (MISP, [], "OFF", "MISP_PUSH_AUTO is false: on request only."),
        ({**MISP, "MISP_PUSH_AUTO": "true"}, [], "OK", ""),
        ({**MISP, "MISP_URL": "https://misp.example.com"}, [], "REFUSED", "misp.example.com is a public name"),
        (MISP, [("queued", {"attempt": 2, "reason": "misp.internal: HTTP 500."})], "ATTENTION", "Tried again soon. misp.internal: HTTP 500."),
        (MISP, [("failed", {"reason": "misp.internal: HTTP 401."})], "ATTENTION", "1 given up. misp.internal: HTTP 401."),
    ],
)
def test_the_push_to_misp_is_a_row_that_asks_misp_nothing(
    variables: dict[str, str], rows: list[Any], state: str, reason: str, auditor: Client, environment: Callable[..., object], text: Text
) -> None:
    environment(**variables)
    for name, more in rows:
        pushed(name, **more)
    pushed("pushed", pushed_at=timezone.now(), claims=1)
    page = auditor.get(URL)
    push = page.context["page"].push
    assert (push.state, push.sent) == (state, 1)
    assert push.reason.startswith(reason)
    assert "MISP push" in text(page)
    assert "misp-planted-9999" not in page.content.decode()


def test_a_feed_that_was_polled_in_time_is_not_said_to_hold_fresh_data(auditor: Client, ran: Ran, text: Text) -> None:
    ran("kev", "ok", minutes_ago=4, fetched=1404, added=3)
    for page in (text(auditor.get(f"{URL}kev/")), text(auditor.get(URL))):
        assert "OK" in page
        assert "fresh" not in page.lower().replace("refresh", "")
        assert "by its own date" in page
