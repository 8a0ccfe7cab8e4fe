"""The policy and the identity this process runs under, from Django's settings."""

from django.conf import settings

from airgap.ed25519 import SigningKey
from airgap.policy import EgressPolicy
from airgap.tenant_rule import TenantRule


def active_policy() -> EgressPolicy:
    """The operator's policy. Deploy-time only: it changes with a restart."""
    policy: EgressPolicy = settings.AIRGAP_POLICY
    return policy


def active_tenant_rule() -> TenantRule:
    """What no tenant's URL may reach here."""
    rule: TenantRule = settings.AIRGAP_TENANT_RULE
    return rule


def deployment_key() -> SigningKey:
    """The key that signs for this deployment."""
    key: SigningKey = settings.AIRGAP_SIGNING_KEY
    return key
