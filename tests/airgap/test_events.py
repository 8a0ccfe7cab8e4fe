"""Recording: redaction is a whitelist, and nothing that goes wrong in it undoes a refusal."""

import logging
import time
from types import SimpleNamespace

import pytest

from airgap import events
from airgap.events import Layer, Refusal, redacted_path, redacted_url
from airgap.policy import Rule


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("", ""),
        ("/", "/"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/services/T012345/B012345/aBcD1234efgh", "/services/***/***/***"),
        ("/hook/0f1e2d3c-0000-1111-2222-333344445555", "/hook/***"),
        ("/a%2Fb/feed.json", "/***/feed.json"),
        ("/feeds/known_exploited_vulnerabilities.json", "/feeds/***"),
        ("/x?token=secret", "/x"),
        ("/x#secret", "/x"),
        ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/…"),
        ("/bot12345:abc/send", "/***/send"),
        ("/2025/08", "/2025/08"),
        ("/ключ", "/***"),
        ("/services/T000/B000/XXXX", "/services/***/***/***"),
        ("/services/planted", "/services/***"),
        ("/SERVICES/planted", "/***/***"),
        ("/hooks/planted/more", "/hooks/***/***"),
        ("/webhook/planted/", "/webhook/***/"),
        ("/PLANTED/x", "/***/x"),
        ("/plantedToken", "/***"),
        ("/Events/index.json", "/Events/index.json"),
    ],
)
def test_a_path_keeps_words_versions_and_short_numbers_only(path: str, shown: str) -> None:
    assert redacted_path(path) == shown


def test_a_url_is_shown_without_its_query() -> None:
    assert redacted_url("https", "::1", 443, "/v1", query=True) == "https://[::1]:443/v1?***"


def test_recording_that_breaks_is_logged_and_raises_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    recorder = events.recorder()
    assert recorder is not None

    def broken(*_args: object) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(recorder.spool, "add", broken)
    with caplog.at_level(logging.ERROR):
        events.record(Refusal("h.example", 443, Rule.PUBLIC, "why", Layer.HTTP))
    assert "airgap.record_failed" in caplog.text


def test_a_log_handler_that_breaks_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise OSError("broken pipe")

    monkeypatch.setattr(events.log, "warning", broken, raising=False)
    events.record(Refusal("h.example", 443, Rule.PUBLIC, "why", Layer.HTTP))


def test_another_host_port_rule_or_layer_has_its_own_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for host, port, layer in (
                ("a.example", 443, Layer.HTTP),
                ("a.example", 80, Layer.HTTP),
                ("b.example", 443, Layer.HTTP),
                ("a.example", 443, Layer.LLM),
            ):
                events.record(Refusal(host, port, Rule.PUBLIC, "why", layer))
    assert len(caplog.records) == 4


def test_after_a_quiet_minute_the_line_says_how_many_were_left_out(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 102.0, 170.0])
    monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=lambda: next(clock), time=time.time))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            events.record(Refusal("a.example", 443, Rule.PUBLIC, "why", Layer.HTTP))
    assert [record.msg["suppressed"] for record in caplog.records] == [0, 2]  # type: ignore[index]
