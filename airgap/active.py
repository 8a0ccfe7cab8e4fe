"""The policy and the identity this process runs under, from Django's settings."""

from django.conf import settings

from airgap.ed25519 import SigningKey
from airgap.policy import EgressPolicy


def active_policy() -> EgressPolicy:
    """The operator's policy. Deploy-time only: it changes with a restart."""
    policy: EgressPolicy = settings.AIRGAP_POLICY
    return policy


def deployment_key() -> SigningKey:
    """The key that signs for this deployment."""
    key: SigningKey = settings.AIRGAP_SIGNING_KEY
    return key
