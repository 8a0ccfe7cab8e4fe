"""The first middleware: status, health and readiness are answered before sessions, login or the database are touched.

The bodies are encoded ahead of the request (the air-gap and LLM snapshots once, health at each refresh of its checks), so
the answer never waits. A query string sends the request on to the DRF views, which give the same bodies; a test holds that.
"""

from collections.abc import Callable
from functools import cache

from django.http import HttpRequest, HttpResponse

from airgap.snapshot import airgap_snapshot
from aisoc_admin import health
from llm.snapshot import llm_snapshot

Answer = tuple[int, bytes]


class AnsweredFirst:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._answers: dict[str, Callable[[], Answer]] = {
            "/health": health.encoded_health,
            "/ready": health.encoded_readiness,
            "/api/v1/airgap/status": airgap_status,
            "/api/v1/llm/status": llm_status,
        }

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self._answers.get(request.path_info)
        if answer is None or request.method != "GET" or request.META.get("QUERY_STRING"):
            return self._get_response(request)
        status, body = answer()
        response = HttpResponse(body, status=status, content_type="application/json", headers=HEADERS)
        response._has_been_logged = True  # type: ignore[attr-defined]  # not ready yet is an answer, not an error of a request
        return response


HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@cache
def airgap_status() -> Answer:
    return 200, health.encode(airgap_snapshot().as_dict())


@cache
def llm_status() -> Answer:
    return 200, health.encode(llm_snapshot().as_dict())
