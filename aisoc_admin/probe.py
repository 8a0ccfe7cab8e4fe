"""`python -m aisoc_admin.probe`: whether the process on this host is ready, for a container's health check. Exit status: 0 ready, 1 not.

Asks AISOC_HEALTH_PORT where it is set (worker and beat), else PORT. Loads neither the settings nor Django.
"""

import socket
import sys

from aisoc_admin import env

PATIENCE = 3.0  # seconds


def is_ready(port: int) -> bool:
    """Whether /ready of that port answers 200 in time."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return client.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def main() -> int:
    try:
        environment = env.load()
    except env.EnvError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0 if is_ready(environment.health_port or environment.port) else 1


if __name__ == "__main__":
    sys.exit(main())
