"""`bot4-exchange` as a process, and what a test asks it by hand."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from oracle.exchange_ledger import Money, recompute
from websockets.sync.client import ClientConnection, connect

COMMAND = [sys.executable, "-m", "bot4.cli.exchange"]
START_S = 240.0  # kernels may have to be compiled first
END_S = 60.0
WIDE = """
[limits]
request_weight_1m = 1_000_000
orders_10s = 1_000_000
orders_1d = 1_000_000
raw_requests_5m = 1_000_000
"""


class ExchangeServer:
    """A running exchange; `stop` ends it and checks what it left. As a context it is ended whatever happens."""

    prefix: tuple[str, ...] = ()  # of its command

    def __init__(self, folder: Path, *options: str, scenario: str = "", market: str = "none") -> None:
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        self._ready_file = folder / "ready.json"
        command = [*self.prefix, *COMMAND, "--ready", str(self._ready_file), "--ledger", str(self.ledger)]
        command += ["--market", market]
        if scenario:
            (folder / "scenario.toml").write_text(scenario)
            command += ["--scenario", str(folder / "scenario.toml")]
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen([*command, *options], stdout=self._log, stderr=self._log, env=os.environ)
        end = time.monotonic() + START_S
        while not self._ready_file.exists():
            assert self.process.poll() is None, self.log()
            if time.monotonic() > end:
                self.process.kill()
                raise AssertionError("the exchange does not serve")
            time.sleep(0.02)
        self.ready = json.loads(self._ready_file.read_text())
        self.address = urlsplit(self.ready["rest"])
        self.context = ssl.create_default_context(cafile=self.ready["ca"]) if self.ready["ca"] else None
        self._http: http.client.HTTPConnection | None = None
        self._patience_s = 10.0
        self.headers: dict[str, str] = {}
        self.past = 0  # orders that are no business of the test

    def __enter__(self) -> "ExchangeServer":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._http is not None:
            self._http.close()
        self._log.close()

    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text()

    def new_http(self, timeout: float = 10.0) -> http.client.HTTPConnection:
        """A connection."""
        host, port = self.address.hostname or "", self.address.port
        if self.context is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self.context)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def raw(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None):
        """One request on the kept connection. Returns (status, bytes)."""
        if self._http is None:
            self._http = self.new_http(self._patience_s)
        try:
            self._http.request(method, target, body, headers or {})
            answer = self._http.getresponse()
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError):
            self._http.close()
            self._http = None
            raise

    def http_patience(self, seconds: float) -> None:
        """How long answers are waited for, from now on."""
        self._patience_s = seconds
        if self._http is not None and self._http.sock is not None:
            self._http.sock.settimeout(seconds)

    def get(self, path: str, **params: object):
        """A public request that is answered well."""
        status, body = self.raw("GET", f"/api/v3/{path}?{urlencode(params)}")
        assert status == 200, body
        return json.loads(body)

    def target(self, path: str, **params: object) -> str:
        """A signed request's path and query."""
        query = urlencode({"timestamp": int(time.time() * 1_000)} | params)
        signature = hmac.new(self.ready["api_secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        return f"/api/v3/{path}?{query}&signature={signature}"

    def signed(self, method: str, path: str, **params: object):
        """A signed request. Returns (status, JSON)."""
        status, body = self.raw(method, self.target(path, **params), b"", {"X-MBX-APIKEY": self.ready["api_key"]})
        return status, json.loads(body)

    def done(self, method: str, path: str, **params: object):
        """A signed request that is answered well."""
        status, answer = self.signed(method, path, **params)
        assert status == 200, answer
        return answer

    def fault(self, **fields: object) -> None:
        """Inject a fault."""
        status, body = self.raw("POST", "/control/fault", json.dumps(fields).encode())
        assert status == 200, body

    def faults(self) -> list[dict]:
        """Every fault and how often it has struck."""
        return json.loads(self.raw("GET", "/control/fault")[1])["faults"]

    def heal(self) -> None:
        """No fault any more."""
        assert self.raw("DELETE", "/control/fault")[0] == 200

    def listen(self, path: str) -> ClientConnection:
        """A websocket below the server's address."""
        options = {"ssl": self.context} if self.context is not None else {}
        return connect(self.ready["ws"] + path, open_timeout=10, close_timeout=2, compression=None, **options)

    def socket_params(self, ed25519: bool = False, **params: object) -> dict[str, object]:
        """Parameters of the websocket API with key and signature."""
        params = params | {"apiKey": self.ready["api_key"], "timestamp": int(time.time() * 1_000)}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params)).encode()
        if ed25519:
            private = load_pem_private_key(Path(self.ready["ed25519_private_key_file"]).read_bytes(), None)
            params["signature"] = base64.b64encode(private.sign(payload)).decode()  # type: ignore[union-attr,call-arg]
        else:
            params["signature"] = hmac.new(self.ready["api_secret"].encode(), payload, hashlib.sha256).hexdigest()
        return params

    def conserved(self) -> None:
        """Nothing was made and nothing lost."""
        money = json.loads(self.raw("GET", "/control/money")[1])
        for asset, one in money.items():
            assert one["paid_in_e8"] == one["held_e8"] + one["fees_e8"], (asset, one)

    def stop(self, number: int = signal.SIGTERM) -> Money:
        """End it: it goes with exit code 0, leaves nothing but its ledger, and that one adds up."""
        keys = Path(self.ready["ed25519_private_key_file"])
        if self._http is not None:
            self._http.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(END_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self._log.close()
        assert code == 0, self.log()
        assert "Traceback" not in self.log(), self.log()
        assert not self._ready_file.exists()
        assert not keys.parent.exists()
        money = recompute(self.ledger)
        assert not money.torn
        return money


def ask(socket: ClientConnection, method: str, identity: object = 1, **params: object) -> dict:
    """One request of the websocket API; events that come before its answer are left out."""
    socket.send(json.dumps({"id": identity, "method": method, "params": params}))
    while True:
        answer = json.loads(socket.recv(10))
        if "id" in answer:
            return answer
