"""Import of an uploaded file over HTTP."""

import re
from typing import Any, Final

from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from threatintel.models import FeedRun
from threatintel.offline import KINDS
from threatintel.questions import asked_bool
from threatintel.specs import FeedError
from threatintel.upload import MOST_BYTES, WrongDigest, bring_in

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UPLOAD: Final = {
    "multipart/form-data": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "Plain or gzip."},
            "sha256": {"type": "string", "description": "What its SHA-256 must be, in hexadecimal."},
        },
    }
}


class ImportSchema(serializers.Serializer[object]):
    kind = serializers.CharField()
    file = serializers.CharField()
    sha256 = serializers.CharField()
    dry_run = serializers.BooleanField()
    run = serializers.IntegerField(allow_null=True, help_text="Null of a dry run, which changes nothing.")
    fetched = serializers.IntegerField()
    added = serializers.IntegerField()
    changed = serializers.IntegerField()
    retired = serializers.IntegerField()
    skipped = serializers.IntegerField()
    skips = serializers.DictField(child=serializers.IntegerField(), help_text="Reason: how many.")


class UploadTooLarge(APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = f"The upload has more than {MOST_BYTES // 2**20} MiB; bring it in with manage.py import_feed KIND FILE on the host."


class FeedBusy(APIException):
    status_code = 409
    default_code = "busy"


class ImportView(APIView):
    parser_classes = (MultiPartParser,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """The size comes first: to look for a session's token is to read the upload."""
        length = request.META.get("CONTENT_LENGTH") or ""
        if length.isascii() and length.isdigit() and int(length) > MOST_BYTES:
            raise UploadTooLarge
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="feed_import",
        parameters=[OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=KINDS), OpenApiParameter("dry_run", bool)],
        request=_UPLOAD,
        responses=ImportSchema,
    )
    def post(self, request: Request, kind: str) -> Response:
        """Store a file that was carried in, with the guarantees of a poll; with ?dry_run=true say what it would change."""
        if kind not in KINDS:
            raise NotFound(f"There is no kind {kind[:40]!r}; use {', '.join(KINDS)}.")
        dry_run = asked_bool(request, "dry_run") or False
        upload, sha256 = request.FILES.get("file"), request.POST.get("sha256", "").strip().lower()
        if not isinstance(upload, UploadedFile) or not upload.size:
            raise ValidationError({"file": "Send a file that is not empty, as the part 'file' of multipart/form-data."}, code="invalid")
        if sha256 and not _DIGEST.fullmatch(sha256):
            raise ValidationError({"sha256": "It has 64 hexadecimal digits, as sha256sum prints them."}, code="invalid")
        try:
            outcome = bring_in(kind, upload, upload.name or "file", sha256, dry_run=dry_run)
        except WrongDigest as wrong:
            raise ValidationError({"sha256": str(wrong)}, code="invalid") from None
        except FeedError as error:
            if dry_run:
                raise ValidationError({"file": str(error)}, code="invalid") from None
            raise FeedBusy(str(error)) from None
        run, counts = outcome.run, outcome.counts
        if run is not None and run.state != FeedRun.State.OK:
            raise ValidationError({"file": run.reason}, code="invalid")
        return Response(
            {
                "kind": kind,
                "file": outcome.name,
                "sha256": outcome.digest,
                "dry_run": dry_run,
                "run": run.pk if run is not None else None,
                "fetched": counts.fetched,
                "added": counts.added,
                "changed": counts.changed,
                "retired": counts.retired,
                "skipped": counts.skipped,
                "skips": counts.skips,
            }
        )
