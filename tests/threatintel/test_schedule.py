"""plan(): a refused feed is never registered, and judging it sends and resolves nothing."""

import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from airgap.policy import EgressPolicy, Rule
from threatintel.registry import feeds
from threatintel.schedule import config_digest, feed_host, plan
from threatintel.specs import FeedSpec

Environment = Callable[..., object]


def spec(name: str, url: str) -> FeedSpec:
    return FeedSpec(name=name, title=name, kind="kev", url=url, every=timedelta(hours=1), fetch=lambda *_: iter(()))


def test_configured_feeds_are_split_by_the_policy() -> None:
    split = plan([spec("a", "http://mirror/x"), spec("b", "https://feeds.example.com/x"), spec("c", "")], EgressPolicy.from_text("1", ""))
    assert [feed.name for feed in split.beat] == ["a"]
    (refused,) = split.refused
    assert (refused.name, refused.host, refused.rule) == ("b", "feeds.example.com", Rule.PUBLIC)
    assert refused.reason


def test_with_the_air_gap_off_every_configured_feed_is_planned() -> None:
    split = plan([spec("a", "https://feeds.example.com/x"), spec("c", "")], EgressPolicy())
    assert ([feed.name for feed in split.beat], split.refused) == (["a"], ())


def test_defaults_under_air_gap_register_nothing(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: pytest.fail("a look-up"))
    environment(AISOC_AIRGAPPED="1")
    split = plan(feeds(), EgressPolicy.from_text("1", ""))
    assert (split.beat, [refused.name for refused in split.refused]) == ((), ["kev"])


def test_a_mirror_and_a_public_feed_side_by_side(environment: Environment) -> None:
    environment(CISA_KEV_URL="http://kev-mirror/feed.json", OTX_API_KEY="x")
    split = plan(feeds(), EgressPolicy.from_text("1", ""))
    assert [feed.name for feed in split.beat] == ["kev"]
    assert [(refused.name, refused.host) for refused in split.refused] == [("otx", "otx.alienvault.com")]


def test_otx_without_a_key_is_not_configured(environment: Environment) -> None:
    environment()
    assert [feed.name for feed in feeds() if not feed.url] == ["otx"]


def test_feed_names_are_unique(environment: Environment) -> None:
    environment(OTX_API_KEY="x")
    names = [feed.name for feed in feeds()]
    assert len(set(names)) == len(names)


def test_the_digest_changes_with_url_and_policy_alone() -> None:
    one = config_digest(spec("a", "http://m/x"), EgressPolicy.from_text("1", ""))
    assert one == config_digest(spec("b", "http://m/x"), EgressPolicy.from_text("yes", " ,"))
    assert one != config_digest(spec("a", "http://m/y"), EgressPolicy.from_text("1", ""))
    assert one != config_digest(spec("a", "http://m/x"), EgressPolicy.from_text("1", "a.corp"))


def test_the_host_is_shown_without_user_info() -> None:
    assert feed_host(spec("a", "http://u:hunter2@mirror:8080/x")) == "mirror"
    assert feed_host(spec("a", "")) == ""
