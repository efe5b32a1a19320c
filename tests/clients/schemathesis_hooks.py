"""What schemathesis does to each request of its own: key, time and signature. Runs in its environment."""

import hashlib
import hmac
import json
import os
import time
from pathlib import Path
from typing import Any

import requests
import schemathesis

READY = json.loads(Path(os.environ["EXCHANGE_READY"]).read_text())


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict) -> None:
    """Sign."""
    if not case.operation.definition.raw.get("x-signed"):
        return
    case.headers["X-MBX-APIKEY"] = READY["api_key"]
    case.query = dict(case.query or {}) | {"timestamp": int(time.time() * 1_000)}
    text = requests.Request("GET", "http://x", params=case.query).prepare().url.partition("?")[2]
    case.query["signature"] = hmac.new(READY["api_secret"].encode(), text.encode(), hashlib.sha256).hexdigest()
