"""A network namespace with its own DNS server and sinks on fake public addresses: what a process really sends is seen from outside it.

    python -m tests.egress.lab COMMAND [ARG …]

Must be started by `unshare -rnm`. Runs COMMAND and prints one JSON object:
{"status", "output", "queries": [names asked], "packets": ["tcp 93.184.216.34:443", …]}. Nothing can leave: the namespace has loopback only.
"""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

from aisoc_admin.lifeline import die_with_parent, tied_to_this_process

RESOLVER = "127.0.0.53"
PUBLIC4, PUBLIC6 = "93.184.216.34", "2606:2800:220:1::34"
PUBLIC4S = tuple(f"93.184.216.{number}" for number in range(34, 84))  # one for each client that dials an address, to tell them apart
PORTS = (25, 80, 443, 587, 853, 3128, 6379)
UDP_PORTS = (53, 80, 443)


class Lab:
    def __init__(self) -> None:
        self.queries: list[str] = []
        self.packets: list[str] = []

    def up(self) -> None:
        for command in (
            "ip link set lo up",
            f"ip addr add {PUBLIC4}/24 dev lo",
            f"ip -6 addr add {PUBLIC6}/128 dev lo nodad",
        ):
            subprocess.run(command.split(), check=True)
        folder = tempfile.mkdtemp(prefix="lab-", dir=os.environ["HOME"])
        for name, content in (
            ("resolv.conf", f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n"),
            ("nsswitch.conf", "hosts: files dns\n"),
            ("hosts", "127.0.0.1 localhost\n"),
        ):
            path = os.path.join(folder, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(content)
            if os.path.exists(f"/etc/{name}"):
                subprocess.run(["mount", "--bind", path, os.path.realpath(f"/etc/{name}")], check=True)
        dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        dns.bind((RESOLVER, 53))
        tcp, udp = [], []
        for family, address in (*((socket.AF_INET, address) for address in PUBLIC4S), (socket.AF_INET6, PUBLIC6)):
            for port in PORTS:
                listener = socket.socket(family, socket.SOCK_STREAM)
                listener.bind((address, port))
                listener.listen(64)
                tcp.append(listener)
            for port in UDP_PORTS:
                sink = socket.socket(family, socket.SOCK_DGRAM)
                sink.bind((address, port))
                udp.append(sink)
        threading.Thread(target=self._serve, args=(dns, tcp, udp), daemon=True).start()

    def _serve(self, dns: socket.socket, tcp: list[socket.socket], udp: list[socket.socket]) -> None:
        listeners = set(tcp)
        while True:
            for ready in select.select([dns, *tcp, *udp], [], [])[0]:
                if ready is dns:
                    message, client = dns.recvfrom(4096)
                    dns.sendto(self._answer(message), client)
                elif ready in listeners:
                    connection, _ = ready.accept()
                    self.packets.append("tcp {}:{}".format(*ready.getsockname()[:2]))
                    connection.close()
                else:
                    ready.recvfrom(4096)
                    self.packets.append("udp {}:{}".format(*ready.getsockname()[:2]))

    def _answer(self, message: bytes) -> bytes:
        """Every A question is answered with the fake public address, whatever the name."""
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1 : at + 1 + message[at]].decode("latin-1"))
            at += 1 + message[at]
        (kind,) = struct.unpack_from(">H", message, at + 1)
        self.queries.append(".".join(labels))
        question = message[12 : at + 5]
        answers = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(PUBLIC4) if kind == 1 else b""
        return message[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if answers else 0, 0, 0) + question + answers


def main() -> None:
    die_with_parent(signal.SIGKILL)
    lab = Lab()
    lab.up()
    # The canary: the lab sees a look-up and a connection of its own before it is believed.
    socket.create_connection(("canary.example.com", 443), 2).close()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.sendto(b"x", (PUBLIC4, 53))
    udp.close()
    for _ in range(100):
        if "canary.example.com" in lab.queries and len(lab.packets) >= 2:
            break
        threading.Event().wait(0.02)
    else:
        raise SystemExit(f"the lab sees nothing: {lab.queries} {lab.packets}")
    lab.queries.clear()
    lab.packets.clear()
    done = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout=140, check=False, preexec_fn=tied_to_this_process(signal.SIGKILL))
    threading.Event().wait(0.3)
    print(
        json.dumps({"status": done.returncode, "output": done.stdout, "errors": done.stderr[-4000:], "queries": lab.queries, "packets": lab.packets})
    )


if __name__ == "__main__":
    main()
