"""What the scripts of this folder share: operations by name, each run by itself, the outcome as one JSON object.

The scripts run in environments of their own, with their client and nothing of Bot4. Arguments: the ready file, and the
operations to run, all if none is named.
"""

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

READY: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
BTC = "BTCUSDT"
PAIR = "BTC/USDT"


def run(operations: dict[str, Callable[[], None]]) -> None:
    """Run the operations asked for; one that raises is told and the next one goes on."""
    outcome = {}
    for name in sys.argv[2:] or operations:
        if name not in operations:
            continue
        operation = operations[name]
        try:
            operation()
            outcome[name] = "ok"
        except Exception:
            outcome[name] = traceback.format_exc(limit=-3)
    print(json.dumps(outcome))


def refused(error: type[Exception], code: int | str, action: Callable[[], Any]) -> None:
    """The action has to fail with the venue's code, or a part of its text."""
    try:
        action()
    except error as caught:
        found = getattr(caught, "code", None) or getattr(caught, "error_code", None) or caught
        if str(code) in str(found):
            return
        raise
    raise AssertionError("it was not refused")
