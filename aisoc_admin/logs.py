"""Structured logs: one JSON object a line, with the same six fields first. Web, worker and beat write to stdout, commands to stderr."""

import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

EventDict = MutableMapping[str, Any]
Processor = Callable[[Any, str, EventDict], Any]


def process_name() -> str:
    """host:pid, as it stands in logs, the trail and the fleet."""
    return f"{socket.gethostname()}:{os.getpid()}"


def log_config(*, service: str, version: str, stream: str) -> dict[str, Any]:
    """A logging.config dictionary for `stream` ("ext://sys.stdout" or "ext://sys.stderr"). Also configures structlog."""

    def stamp(_logger: Any, _method: str, event: EventDict) -> EventDict:
        rest = dict(event)
        event.clear()
        event["timestamp"] = rest.pop("timestamp", None)
        event["level"] = rest.pop("level", None)
        event["event"] = rest.pop("event", None)
        event["service"] = service
        event["process"] = process_name()
        event["version"] = version
        event.update(rest)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*shared, structlog.stdlib.PositionalArgumentsFormatter()],
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, stamp, structlog.processors.JSONRenderer(default=str)],
            }
        },
        "handlers": {"stream": {"class": "logging.StreamHandler", "stream": stream, "formatter": "json"}},
        "root": {"handlers": ["stream"], "level": "INFO"},
        "loggers": {
            # httpx and httpcore log whole URLs, user info and query included, at INFO and DEBUG; ioc_finder two lines a text.
            **{name: {"level": "WARNING"} for name in ("httpx", "httpcore", "ioc_finder", "celery.utils.functional", "django.utils.autoreload")},
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
        },
    }
