"""The roles of CONTRACTS.md section 2."""

from django.db import models


class Role(models.TextChoices):
    """What a person or a token may do. An auditor reads everything and changes nothing."""

    OPERATOR = "operator", "Operator"
    AUDITOR = "auditor", "Auditor"


READERS = frozenset({Role.OPERATOR, Role.AUDITOR})
WRITERS = frozenset({Role.OPERATOR})
