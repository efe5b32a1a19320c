"""Wires the gateway to a real venue: its words, connections, log, and the key, which this process alone reads."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from bot4.adapters.binance.private import BinancePrivate
from bot4.adapters.bybit.private import BybitPrivate
from bot4.adapters.net.caller import HttpCaller
from bot4.adapters.net.dial import only_loopback, verified_context
from bot4.adapters.net.listener import PrivateListener
from bot4.adapters.system.process import hide_memory
from bot4.adapters.system.secret import check_key_file, read_key_file
from bot4.engine.gateway import GatewayAgent
from bot4.engine.gateway_log import NO_KEY, GatewayLog, Heard, settle_log
from bot4.log import start_log
from bot4.model.errors import SettingsError
from bot4.model.records import EXEC_REPORT, words
from bot4.ports.gateway_values import Keys
from bot4.settings.schema import Gateway
from bot4.shm.spsc_ring import consume, has_space, peek_order, push_order, ring_recover
from bot4.shm.wires import Wires, private_wires
from workers.breaker import breaker_of
from workers.plan import Plan

CONNECTIONS = 6
GUARD_S, LEAST_GUARD_S = 60, 3
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_gateway(file: Path, venue: str, gateway: Gateway) -> None:
    """Refuse, before anything is started, what the gateway could not work with; the key itself is not read."""
    at = f"{file}: venue.{venue}"
    for field in ("rest_url", "ws_url", "ws_private_url"):
        url = getattr(gateway, field)
        scheme = "https" if field == "rest_url" else "wss"
        parts = urlsplit(url)
        if parts.scheme != scheme:
            raise SettingsError(f"{at}.{field}: {url} is no {scheme} address; write {scheme}://HOST[:PORT]")
        if parts.hostname not in _LOOPBACK:
            raise SettingsError(
                f"{at}.{field}: {parts.hostname} is another machine: live trading there needs the strategy's "
                "certificate, which does not exist yet; name 127.0.0.1"
            )
    if gateway.dead_man_s and venue == "binance_spot":
        raise SettingsError(f"{at}.dead_man_s: the venue has no dead-man's switch; leave it out, or write 0")
    if gateway.dead_man_s and gateway.dead_man_s < LEAST_GUARD_S:
        raise SettingsError(f"{at}.dead_man_s: {gateway.dead_man_s} is too short; write 0, or {LEAST_GUARD_S} to 300")
    check_key_file(str(gateway.key_file), f"{at}.key_file")


def private_of(
    venue: str,
    gateway: Gateway,
    symbols: Sequence[str],
    instruments: np.ndarray,
    quote: str,
    whole: bool = False,
) -> BinancePrivate | BybitPrivate:
    """The words of a venue that is traded on, with the key of its file; `whole` as they say."""
    keys = Keys(*read_key_file(str(gateway.key_file), f"venue.{venue}.key_file"))
    if venue == "binance_spot":
        return BinancePrivate(keys, str(gateway.rest_url), symbols, instruments, quote, whole)
    return BybitPrivate(keys, str(gateway.rest_url), symbols, instruments, whole)


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> GatewayAgent:
    """The agent of the gateway, its connections on their way; execution in this process has opened its journal."""
    hide_memory()
    log = start_log("gateway")
    gateway = plan.gateways[plan.traded]
    context = verified_context(Path(gateway.ca_file) if gateway.ca_file else None)
    has_lost = settle_log(plan.gateway_path)
    symbols = [symbol for symbol, _ in plan.symbols]
    private = private_of(plan.traded, gateway, symbols, plan.instruments, plan.quote)
    return GatewayAgent(
        wires,
        plan.instruments,
        plan.session,
        GatewayLog(plan.gateway_path),
        private,
        HttpCaller(str(gateway.rest_url), context, CONNECTIONS, only_loopback),
        PrivateListener(str(gateway.ws_private_url), context, only_loopback),
        int(plan.session[0]["start_equity_e8"]),
        guard_s=GUARD_S if gateway.dead_man_s is None else gateway.dead_man_s,
        heard=Heard(plan.journal_path),
        has_lost=has_lost,
        logger=log,
        breaker=breaker_of(plan, wires, "execution", log),
    )


def warm_gateway() -> None:
    """Load the kernels that the gateway calls from Python, so that no order waits for them."""
    wires = private_wires(1, 1)
    report = words(np.zeros(1, EXEC_REPORT))
    with tempfile.TemporaryDirectory() as folder:
        log = GatewayLog(Path(folder) / "gateway.bin", 8_192)
        log.event(0, report, NO_KEY, 0)
        log.make_ready()
    ring_recover(wires.events)
    if has_space(wires.events, 1):
        push_order(wires.events, report, 0)
    if peek_order(wires.events, report, 0):
        consume(wires.events)
