"""The API's common shapes: errors as {"code", "detail", "field"?}, lists as {"results", "next"} paged by cursor."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, pagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from airgap.page_size import MOST, NAME, page_size


class CursorPages(pagination.CursorPagination):
    """Pages by an opaque cursor: stable while rows are added. `page_size` from 1 to 500."""

    page_size_query_param = NAME
    max_page_size = MOST
    ordering = "-id"

    def get_page_size(self, request: Request) -> int:
        """DRF would take another size than one that is none, without a word."""
        return page_size(request, int(self.page_size or MOST))

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: APIView | None = None) -> list[Any] | None:  # type: ignore[override]  # no list is paged here
        """DRF compares the key with whatever a cursor holds, and the database or Django then stumbles over what is none."""
        cursor = self.decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                queryset.model._meta.get_field(self.ordering.lstrip("-")).to_python(cursor.position)
            except ValidationError:
                raise exceptions.NotFound(self.invalid_cursor_message) from None
        return super().paginate_queryset(queryset, request, view)

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {"results": schema, "next": {"type": ["string", "null"], "format": "uri"}},
        }


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler in our one shape. None lets Django answer 500."""
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    response = exception_handler(error, context)
    if response is None or not isinstance(error, exceptions.APIException):
        return response
    field, detail = _first(error.detail)
    code = getattr(detail, "code", None) or error.default_code
    body: dict[str, Any] = {"code": str(code), "detail": str(detail)}
    if field:
        body["field"] = field
    request = context["request"]
    request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type  # where the answer would be YAML or HTML too
    return Response(body, status=response.status_code, headers=dict(response.headers))


def _first(detail: Any) -> tuple[str, Any]:
    """The first complaint of a validation error, with the field it is about."""
    if isinstance(detail, Mapping):
        field, rest = next(iter(detail.items()))
        inner, text = _first(rest)
        return ("" if field in ("detail", "non_field_errors") else ".".join(filter(None, (str(field), inner)))), text
    if isinstance(detail, Sequence) and not isinstance(detail, str):
        return _first(detail[0]) if detail else ("", "")
    return "", detail


def json_error(status: int, code: str, detail: str) -> JsonResponse:
    return JsonResponse({"code": code, "detail": detail}, status=status)


@csrf_exempt  # it changes nothing, and "no such address" is the answer to a POST too
def api_not_found(request: HttpRequest, *_args: Any, **_kwargs: Any) -> JsonResponse:
    """What an unknown path below /api/ answers."""
    return json_error(404, "not_found", "There is nothing at this address.")
