"""What is sent that is no page: Markdown, files to keep, and how large a body is before anybody reads it."""

from typing import Final

from django.http import HttpRequest, HttpResponse

MARKDOWN: Final = "text/markdown; charset=utf-8"


def download(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def body_size(request: HttpRequest) -> int:
    """Bytes that the request says it has; 0 when it says nothing that can be read, in which case Django reads none."""
    length = request.META.get("CONTENT_LENGTH") or ""
    return int(length) if length.isascii() and length.isdigit() else 0
