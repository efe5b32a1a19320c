"""Logging of workers and supervisor: one JSON object per line on standard error, by the standard library alone.

Cold path only: a line costs microseconds. What happens per tick is counted in shared memory, never logged.

    log = start_log("execution")
    log.info("recovered", extra={"fields": {"orders": 3}})
    {"t": "2026-11-21T08:00:00.123456Z", "level": "info", "worker": "execution", "pid": 7, "event": "recovered", …}
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")


class JsonLines(logging.Formatter):
    """A record as one line of JSON; what it cannot encode becomes its text, so that logging never raises."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line feed."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line: dict[str, object] = {
            "t": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "worker": self._worker,
            "pid": record.process,
            "event": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update({str(name): value for name, value in fields.items() if str(name) not in line})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def start_log(worker: str, level: str = "info", stream: TextIO | None = None) -> logging.Logger:
    """Send this process's log lines to `stream` (default: standard error) and return its logger; safe to call again.

    A forked worker calls it anew, so that its lines carry its own name.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r}; one of {', '.join(LEVELS)}")
    logger = logging.getLogger("bot4")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonLines(worker))
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    return logger
