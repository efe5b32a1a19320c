"""The ledger of the server: every request's bytes, every order, fill and balance, one JSON object a line.

The format is that of the simulated venue's ledger (`interfaces`: seq, t_ns, kind, venue_order_id, client_order_id,
symbol, side, integers with their scale, body), with what a venue of many accounts has beside it: `account`, and `asset`
where an amount is told. It is appended and never changed, and a line is there before anybody is told of it.

    request   method, target, account, body (base64 of the request's bytes)
    order     status (accepted, rejected, filled, canceled, expired, triggered, replaced, prevented), reason, type, tif,
              price_ticks, qty_lots, stop_ticks, cum_lots, leaves_lots, list
    fill      trade_id, price_ticks, qty_lots, cum_lots, leaves_lots, fee_e8, asset (of the fee), liquidity, value_e8
    balance   asset, reason (start, change, funding, insurance: what the venue's fund pays in), free_e8, locked_e8
    fault     reason and what it hit
"""

import base64
import os
from contextlib import suppress
from pathlib import Path

import orjson

from bot4.adapters.exchange.file import open_plain
from bot4.model.errors import Bot4Error, SettingsError


class Ledger:
    """Collects lines and appends them whole; without a path it only counts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._seq = 0
        self._descriptor = -1
        self._whole_bytes = 0
        self._failure: Bot4Error | None = None
        if path is not None:
            self._descriptor = open_plain("--ledger", path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if os.fstat(self._descriptor).st_size:
                os.close(self._descriptor)
                raise SettingsError(f"--ledger {path}: exists and holds lines; name a new file")

    @property
    def is_kept(self) -> bool:
        """Whether anything is written at all."""
        return self._descriptor >= 0

    def add(self, t_ns: int, kind: str, **fields: object) -> None:
        """One line, to be written by the next `flush`."""
        if self._descriptor < 0:
            return
        self._seq += 1
        line = {"seq": self._seq, "t_ns": t_ns, "kind": kind, **fields}
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def request(self, t_ns: int, account: str | None, method: str, target: str, body: bytes) -> None:
        """A request as it came."""
        if self._descriptor >= 0:
            self.add(t_ns, "request", account=account, method=method, target=target,
                     body=base64.b64encode(body).decode())  # fmt: skip

    def flush(self) -> None:
        """Write what is collected, all or none; a failure ends the server, and nothing is written behind it."""
        if self._failure is not None:
            raise self._failure
        if not self._lines:
            return
        data = b"".join(self._lines)
        self._lines.clear()
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._whole_bytes)
            self._failure = Bot4Error(f"{self._path}: the ledger cannot be written: {error.strerror}")
            raise self._failure from None
        self._whole_bytes += len(data)

    def close(self) -> None:
        """Write the rest and close."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                if self._failure is None:
                    self._descriptor = descriptor
                    self.flush()
            finally:
                self._descriptor = -1
                os.close(descriptor)
