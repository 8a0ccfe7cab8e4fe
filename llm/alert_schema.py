"""What an alert in a body looks like, for the API's schema and for what validates bodies by it."""

from rest_framework import serializers

from llm.alerts import MAX_TAGS, MAX_TEXT, MAX_TITLE


class AlertSchema(serializers.Serializer[object]):
    title = serializers.CharField(required=False, max_length=MAX_TITLE)
    description = serializers.CharField(required=False, max_length=MAX_TEXT)
    severity = serializers.CharField(required=False, max_length=40)
    source = serializers.CharField(  # type: ignore[assignment]  # a field of the body, not DRF's attribute
        required=False, max_length=200, help_text="The product that raised it: okta, edr, guardduty, splunk, cloudtrail …"
    )
    tags = serializers.ListField(
        child=serializers.CharField(), required=False, max_length=MAX_TAGS, help_text="T1078 or attack.t1078 name a technique."
    )
    raw = serializers.DictField(required=False, help_text="The event as its product wrote it.")
