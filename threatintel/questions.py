"""What a query string asks, read strictly: a typo is an answer of 400, never the other one."""

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from airgap.policy import strict_bool


def asked_bool(request: Request, name: str) -> bool | None:
    """None when it is not asked. Raises ValidationError."""
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        if given.strip():
            return strict_bool(given)
    except ValueError:
        pass
    raise ValidationError({name: "It is neither true nor false."}, code="invalid")
