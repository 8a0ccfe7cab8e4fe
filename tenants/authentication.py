"""Token authentication of the API: header `Authorization: Token …`."""

from knox.auth import TokenAuthentication as KnoxAuthentication
from rest_framework.exceptions import AuthenticationFailed


class TokenAuthentication(KnoxAuthentication):  # type: ignore[misc]
    """knox's authentication, with bytes that are no text answered by 401."""

    def authenticate_credentials(self, token: bytes) -> tuple[object, object]:
        if not token.isascii():
            raise AuthenticationFailed("Invalid token.")
        pair: tuple[object, object] = super().authenticate_credentials(token)
        return pair
