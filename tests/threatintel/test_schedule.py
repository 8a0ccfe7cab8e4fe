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


def test_what_has_no_url_or_key_is_not_configured(environment: Environment) -> None:
    environment(MISP_URL="http://misp.corp", TAXII_URL="http://taxii.corp")
    assert [feed.name for feed in feeds() if not feed.url] == ["taxii", "misp", "otx", "stix"]


def test_each_taxii_collection_is_a_feed_of_its_own(environment: Environment) -> None:
    environment(TAXII_URL="http://taxii.corp/taxii2/", TAXII_COLLECTION_IDS="a, b", TAXII_USERNAME="u", TAXII_PASSWORD="hunter2")
    taxii = [feed for feed in feeds() if feed.kind == "taxii"]
    assert [(feed.name, feed.options["collection"], feed.auth) for feed in taxii] == [
        ("taxii:a", "a", ("u", "hunter2")),
        ("taxii:b", "b", ("u", "hunter2")),
    ]


def test_no_secret_of_a_feed_is_in_its_repr(environment: Environment) -> None:
    environment(
        TAXII_URL="http://t.corp",
        TAXII_COLLECTION_IDS="a",
        TAXII_USERNAME="u",
        TAXII_PASSWORD="hunter2",
        MISP_URL="http://m.corp",
        MISP_API_KEY="hunter2",
        OTX_API_KEY="hunter2",
    )
    assert "hunter2" not in repr(feeds())


def test_internal_taxii_and_misp_are_registered_and_public_otx_and_kev_refused(environment: Environment) -> None:
    environment(
        AISOC_AIRGAPPED="1",
        TAXII_URL="http://taxii.intel.corp/taxii2/",
        TAXII_COLLECTION_IDS="a",
        MISP_URL="http://misp.intel.corp",
        MISP_API_KEY="x",
        OTX_API_KEY="x",
    )
    split = plan(feeds(), EgressPolicy.from_text("1", ""))
    assert [feed.name for feed in split.beat] == ["taxii:a", "misp"]
    assert [refused.name for refused in split.refused] == ["kev", "otx"]


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
