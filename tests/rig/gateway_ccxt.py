"""The same gateway through ccxt: its process is a real one, and so is what it asks."""

from pathlib import Path

import numpy as np
from rig.exchange_bybit import BTC
from rig.gateway import Exchange, GatewayRig

from bot4.adapters.ccxt.private import CcxtPrivate
from bot4.adapters.ccxt.process import CcxtCaller, CcxtListener
from bot4.adapters.ccxt.words import BybitLinear
from bot4.ports.gateway import Caller, Listener, Private
from bot4.ports.gateway_values import Keys
from bot4.settings.schema import Gateway
from workers.gateway import ccxt_process


class CcxtRig(GatewayRig):
    """One life of the gateway with ccxt's process beside it; `tick_e8`: what the settings take for the venue's tick."""

    def __init__(self, folder: Path, server: Exchange, tick_e8: int = 10_000_000, **more) -> None:
        self._tick_e8 = tick_e8
        super().__init__(folder, server, **more)

    def side(self, server: Exchange, keys: Keys, instruments: np.ndarray) -> tuple[Private, Caller, Listener]:
        """The venue's words and connections."""
        ready = server.ready
        instruments["tick_e8"] = self._tick_e8
        gateway = Gateway(
            rest_url=ready["rest"], ws_url=ready["ws"], ws_private_url=ready["ws_private"], ca_file=ready["ca"],
            ccxt="bybit",
        )  # fmt: skip
        private = CcxtPrivate(BybitLinear, [BTC], instruments)
        self.process = ccxt_process("bybit_linear", gateway, keys, private, private.differs, self.connections)
        return private, CcxtCaller(self.process), CcxtListener(self.process)
