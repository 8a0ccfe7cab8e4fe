"""Recent outcomes: never tried, live, failing since; written by whoever calls, read by every process, and seldom."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from airgap.policy import EgressPolicy
from llm import outcomes
from llm.client import ChatClient, LLMRejected, Message
from llm.config import LLMConfig, Secret, TenantOverride
from llm.models import EndpointOutcome
from llm.outcomes import Lately, health_of, note
from llm.resolver import ResolvedLLM, resolve
from tests.llm.model_server import chunk, completion, event, model_server, sends, streams

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "_noted", {})


def endpoint(url: str = "http://gw.corp", tenant: str = "acme", model: str = "m") -> ResolvedLLM:
    if tenant:
        return resolve(LLMConfig(), TenantOverride(tenant, base_url=url, key=Secret("k"), model=model), EgressPolicy())
    return resolve(LLMConfig.of(url, Secret("k"), model), None, EgressPolicy())


def test_an_endpoint_is_live_failing_since_or_never_tried() -> None:
    one = endpoint()
    assert health_of(one).state is Lately.NEVER_TRIED
    note(one, "")
    assert health_of(one).state is Lately.LIVE
    note(one, "gw.corp did not answer.")
    failing = health_of(one)
    assert (failing.state, failing.reason) == (Lately.FAILING, "gw.corp did not answer.")
    outcomes._noted.clear()  # another process
    note(one, "There is no connection to gw.corp.")
    assert (health_of(one).since, health_of(one).reason) == (failing.since, "There is no connection to gw.corp.")
    note(one, "")
    assert (health_of(one).state, health_of(one).reason) == (Lately.LIVE, "")


def test_each_tenant_url_and_model_has_an_outcome_of_its_own_that_names_nobody() -> None:
    ways = [endpoint(), endpoint(tenant="globex"), endpoint(tenant=""), endpoint(model="n"), endpoint("http://vllm.corp")]
    assert len({outcomes.key_of(way) for way in ways}) == len(ways)
    note(ways[0], "It failed.")
    assert [health_of(way).state for way in ways[1:]] == [Lately.NEVER_TRIED] * 4
    assert "acme" not in str(EndpointOutcome.objects.values())
    assert "gw.corp" not in str(EndpointOutcome.objects.values())


def test_the_same_outcome_is_written_once_in_a_while() -> None:
    one = endpoint()
    note(one, "")
    with CaptureQueriesContext(connection) as queries:
        for _ in range(50):
            note(one, "")
    assert len(queries) == 0
    note(one, "It failed.")
    assert health_of(one).state is Lately.FAILING


def test_a_database_that_is_away_takes_nothing_from_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def away(*args: object) -> None:
        asked.append(args)
        raise OperationalError("gone")

    monkeypatch.setattr(outcomes, "_put", away)
    with model_server() as server:
        for _ in range(3):
            assert ChatClient(endpoint(server.url, ""), purpose="test").complete([Message("user", "x")], max_tokens=1).text == "pong"
    assert len(asked) == 1


def test_calls_are_noted_and_what_was_never_sent_is_not() -> None:
    with model_server() as server:
        one = endpoint(server.url, "")
        client = ChatClient(one, purpose="test")
        server.answers = [sends(b"", status=503)]
        with pytest.raises(LLMRejected):
            client.complete([Message("user", "x")], max_tokens=1)
        assert health_of(one).state is Lately.FAILING
        server.answers = [streams(chunk("x"), event("[DONE]"))]
        list(client.stream([Message("user", "x")], max_tokens=1))
        assert health_of(one).state is Lately.LIVE
        server.answers = [completion("x")]
    EndpointOutcome.objects.all().delete()
    blocked = endpoint("http://127.0.0.1:1")
    with pytest.raises(Exception, match="this machine"):
        ChatClient(blocked, purpose="test").complete([Message("user", "x")], max_tokens=1)
    assert EndpointOutcome.objects.count() == 0


def test_an_endpoint_that_nobody_calls_any_more_is_forgotten() -> None:
    now = timezone.now()
    long_ago = now - timedelta(days=40)
    for key, succeeded, failed in (("a", long_ago, None), ("b", None, long_ago), ("c", now, long_ago), ("d", long_ago, now)):
        EndpointOutcome.objects.create(key=key, succeeded_at=succeeded, failed_at=failed)
    outcomes.forget(now)
    assert sorted(EndpointOutcome.objects.values_list("key", flat=True)) == ["c", "d"]
