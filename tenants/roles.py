"""The roles of CONTRACTS.md section 2, and the named sets of them that pages and endpoints are open to."""

from typing import Final

from django.db import models


class Role(models.TextChoices):
    """What a person or a token may do. An auditor reads everything and changes nothing."""

    OPERATOR = "operator", "Operator"
    AUDITOR = "auditor", "Auditor"
    TENANT_ADMIN = "tenant_admin", "Tenant admin"
    ANALYST = "analyst", "Analyst"


DEPLOYMENT_ROLES: Final = frozenset({Role.OPERATOR, Role.AUDITOR})  # over all tenants, bound to none
TENANT_ROLES: Final = frozenset({Role.TENANT_ADMIN, Role.ANALYST})  # in exactly one tenant
EVERY_ROLE: Final = DEPLOYMENT_ROLES | TENANT_ROLES

READERS: Final = DEPLOYMENT_ROLES  # everything of every tenant, never a secret
WRITERS: Final = frozenset({Role.OPERATOR})
INTEL_READERS: Final = EVERY_ROLE  # shared threat intel, look-ups, the decision for a URL, what is the own tenant's
CREDENTIAL_READERS: Final = READERS | {Role.TENANT_ADMIN}
CREDENTIAL_WRITERS: Final = WRITERS | {Role.TENANT_ADMIN}  # of the own tenant, an operator's of any
LLM_USERS: Final = WRITERS | TENANT_ROLES  # the capabilities: an auditor reads only
