"""Clients that the guard cannot see, by name: modules in C or Rust that dial by themselves, and commands that send. Pure but for is_installed."""

import os
import re
from collections.abc import Sequence
from importlib.machinery import PathFinder
from typing import Final

C_CLIENTS: Final = frozenset(
    {
        "_cares",
        "curl_cffi._wrapper",
        "gevent.resolver.cares",
        "grpc._cython.cygrpc",
        "MySQLdb._mysql",
        "mysqlclient",
        "primp",
        "psycopg2._psycopg",
        "pycares",
        "pycurl",
        "rnet",
        "tls_client",
    }
)
EVENT_LOOPS_IN_C: Final = frozenset({"uvloop", "uvloop.loop"})
COMMANDS: Final = frozenset(
    [
        "aria2c",
        "curl",
        "dig",
        "docker",
        "ftp",
        "git",
        "gh",
        "host",
        "http",
        "nc",
        "ncat",
        "netcat",
        "npm",
        "nslookup",
        "openssl",
        "ping",
        "ping6",
        "pip",
        "pip3",
        "podman",
        "rsync",
        "scp",
        "sftp",
        "skopeo",
        "socat",
        "ssh",
        "telnet",
        "tracepath",
        "traceroute",
        "uv",
        "wget",
        "whois",
    ]
)
_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "sh", "zsh"})
_BEFORE_A_COMMAND = frozenset({"command", "env", "exec", "ionice", "nice", "nohup", "setsid", "stdbuf", "sudo", "time", "timeout", "xargs"})
_OURS = re.compile(r"aisoc_admin(?:\.|$)")
_BETWEEN_COMMANDS = re.compile(r"[;&|\n()`]+|\$\(")
_MOST = 4000  # characters of a shell line that are read


def is_installed(module: str) -> bool:
    return PathFinder.find_spec(module.partition(".")[0]) is not None


def network_command(executable: str, words: Sequence[str]) -> str:
    """The command that would send something, when `words` (argv, or one shell line) start one; "" otherwise. Python counts: it is unguarded there."""
    if len(words) == 1 and " " in words[0]:
        return _of_line(words[0])
    return _of_words([executable, *words[1:]] if executable else list(words))


def _of_line(line: str) -> str:
    return next(filter(None, (_of_words(part.split()) for part in _BETWEEN_COMMANDS.split(line[:_MOST]))), "")


def _of_words(words: Sequence[str]) -> str:
    for at, word in enumerate(words[:20]):
        name = os.path.basename(word.strip("'\""))
        if name in _BEFORE_A_COMMAND or name.startswith("-") or "=" in name or name.rstrip("smhd").replace(".", "").isdecimal():
            continue  # env, its options and variables, the seconds of timeout
        if name in _SHELLS:
            return next((_of_line(" ".join(words[at + 2 :])) for option in words[at + 1 : at + 2] if option.startswith("-") and "c" in option), "")
        if re.fullmatch(r"(?:python|pypy)[0-9.]*", name):
            return "" if any(_OURS.match(other) for other in words[at + 1 :]) else name
        return name if name in COMMANDS else ""
    return ""
