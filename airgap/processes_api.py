"""`GET /api/v1/airgap/processes`: every process of the deployment as its last heartbeat has it."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.fleet import State, processes


class ProcessSchema(serializers.Serializer[object]):
    process = serializers.CharField(help_text="host:pid")
    service = serializers.CharField()
    role = serializers.CharField()
    host = serializers.CharField()
    pid = serializers.IntegerField()
    version = serializers.CharField()
    airgapped = serializers.BooleanField()
    guard = serializers.CharField()
    digest = serializers.CharField(help_text="Of the air-gap policy: equal in processes that run the same one.")
    clock_skew = serializers.FloatField(help_text="Seconds by which its clock is ahead of the database's.")
    started_at = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=[(state.value, state.value) for state in State])
    why = serializers.CharField()
    instance = serializers.CharField()


class ProcessListSchema(serializers.Serializer[object]):
    results = ProcessSchema(many=True)
    next = serializers.URLField(allow_null=True)


class ProcessesView(APIView):
    @extend_schema(operation_id="airgap_processes", responses=ProcessListSchema)
    def get(self, request: Request) -> Response:
        """All on one page: those that have ended, or have been silent for a day, are left out."""
        return Response({"results": [process.as_dict() for process in processes()], "next": None})
