"""Which queue model a venue of ours goes by, as it is written in settings and on the command line."""

from typing import NamedTuple

QUEUE_RISK_AVERSE = 0
QUEUE_POWER = 1
QUEUE_LOG = 2
MAX_EXPONENT = 10.0
QUEUE_FORM = f"risk-averse, log, power or power:N with N up to {MAX_EXPONENT:.0f}"


class QueueModel(NamedTuple):
    """Where in a queue quantity goes off without a trade (`bot4/kernels/queue_model.py`)."""

    model: int = QUEUE_RISK_AVERSE
    exponent: float = 1.0


AVERSE = QueueModel()


def read_queue(text: str) -> QueueModel | None:
    """`risk-averse`, `power` (of 2), `power:N` or `log`; None for anything else."""
    name, _, number = text.partition(":")
    if text == "risk-averse":
        return QueueModel(QUEUE_RISK_AVERSE)
    if text == "log":
        return QueueModel(QUEUE_LOG)
    if name == "power" and number.replace(".", "", 1).isdigit() and number.isascii():
        exponent = float(number)
        if 0.0 < exponent <= MAX_EXPONENT:
            return QueueModel(QUEUE_POWER, exponent)
    return QueueModel(QUEUE_POWER, 2.0) if text == "power" else None
