"""Wires the gateway to a real venue: its words, connections, log, and the key, which this process alone reads."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from bot4.adapters.binance.private import BinancePrivate
from bot4.adapters.bybit.private import BybitPrivate
from bot4.adapters.ccxt.private import CcxtPrivate
from bot4.adapters.ccxt.process import CcxtCaller, CcxtListener, CcxtProcess
from bot4.adapters.ccxt.words import WORDS as CCXT_WORDS
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
from bot4.ports.gateway import Caller, Listener, Private
from bot4.ports.gateway_values import Keys
from bot4.settings.schema import Gateway
from bot4.shm.spsc_ring import consume, has_space, peek_order, push_order, ring_recover
from bot4.shm.wires import Wires, private_wires
from workers.breaker import breaker_of
from workers.plan import Plan

Check = Callable[[Mapping[str, Mapping[str, Any]]], str]  # of the markets that ccxt has found: why not these

CONNECTIONS = 6
ASK_S = 30.0  # for ccxt to be imported and to have found the markets
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
    if gateway.ccxt is not None:
        _check_ccxt(at, venue, gateway)
    check_key_file(str(gateway.key_file), f"{at}.key_file")


def _check_ccxt(at: str, venue: str, gateway: Gateway) -> None:
    ids = CCXT_WORDS[venue].ids if venue in CCXT_WORDS else ()
    if gateway.ccxt not in ids:
        known = f"write {' or '.join(ids)}, or leave it out" if ids else "leave it out"
        raise SettingsError(f"{at}.ccxt: {gateway.ccxt} is not how ccxt trades on {venue}; {known}")
    if gateway.dead_man_s:
        raise SettingsError(f"{at}.dead_man_s: ccxt knows no dead-man's switch; write 0, or leave ccxt out")


def ask_ccxt(
    file: Path, venue: str, gateway: Gateway, symbols: Sequence[str], instruments: np.ndarray
) -> tuple[str, ...]:
    """Let ccxt find the venue's markets, once and without a key.

    Returns
    -------
    tuple of str, what a person should know of trading through it, a sentence each

    Raises
    ------
    SettingsError : it cannot, or its sizes are not those of the settings
    """
    private = CcxtPrivate(CCXT_WORDS[venue], symbols, instruments)
    process = ccxt_process(venue, gateway, Keys("", ""), private, private.differs)
    try:
        end = time.monotonic() + ASK_S
        while not process.is_ready:
            process.turn()
            if process.trouble or time.monotonic() > end:
                why = process.trouble or "no answer in time"
                raise SettingsError(f"{file}: venue.{venue}.ccxt: {why}; mend that, or leave ccxt out")
            time.sleep(0.01)
    finally:
        process.close()
    told = f"{venue} through ccxt: no dead-man's switch, so nobody takes orders back when this machine is gone."
    return (told,)


def ccxt_process(
    venue: str, gateway: Gateway, keys: Keys, private: CcxtPrivate, check: Check, size: int = CONNECTIONS
) -> CcxtProcess:
    """The process that asks through ccxt, not begun yet; `size` requests at a time, `check` judges its markets."""
    told = {
        "venue": venue, "ccxt": gateway.ccxt, "rest_url": gateway.rest_url, "ws_url": gateway.ws_private_url,
        "ca_file": gateway.ca_file or "", "symbols": private.symbols,
        "api_key": keys.api_key, "api_secret": keys.api_secret,
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "workers.ccxt_venue", str(os.getpid())]
    return CcxtProcess(command, told, size, check)


def _told(private: CcxtPrivate, whole: bool, markets: Mapping[str, Mapping[str, Any]]) -> str:
    """What has begun guards what it holds, and a kill takes back all that there is, whatever sizes there are by now."""
    why = "" if whole else private.differs(markets)
    if why:
        logging.getLogger("bot4").error("the venue's sizes are others by now", extra={"fields": {"why": why}})
    return ""


def connect(
    venue: str, gateway: Gateway, symbols: Sequence[str], instruments: np.ndarray, quote: str, whole: bool = False
) -> tuple[Private, Caller, Listener]:
    """The venue's words and connections, with the key: natively, or through ccxt in a process of its own.

    Parameters
    ----------
    symbols, instruments : that are traded
    quote : what all money of the account is counted in
    whole : what the account has of other instruments is no less ours
    """
    keys = Keys(*read_key_file(str(gateway.key_file), f"venue.{venue}.key_file"))
    if gateway.ccxt is not None:
        words = CcxtPrivate(CCXT_WORDS[venue], symbols, instruments, whole)
        process = ccxt_process(venue, gateway, keys, words, partial(_told, words, whole))
        return words, CcxtCaller(process), CcxtListener(process)
    context, rest_url = verified_context(Path(gateway.ca_file) if gateway.ca_file else None), str(gateway.rest_url)
    native: Private
    if venue == "binance_spot":
        native = BinancePrivate(keys, rest_url, symbols, instruments, quote, whole)
    else:
        native = BybitPrivate(keys, rest_url, symbols, instruments, whole)
    return (
        native,
        HttpCaller(rest_url, context, CONNECTIONS, only_loopback),
        PrivateListener(str(gateway.ws_private_url), context, only_loopback),
    )


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> GatewayAgent:
    """The agent of the gateway, its connections on their way; execution in this process has opened its journal."""
    hide_memory()
    log = start_log("gateway")
    gateway = plan.gateways[plan.traded]
    side = connect(plan.traded, gateway, [symbol for symbol, _ in plan.symbols], plan.instruments, plan.quote)
    has_lost = settle_log(plan.gateway_path)
    return GatewayAgent(
        wires,
        plan.instruments,
        plan.session,
        GatewayLog(plan.gateway_path),
        *side,
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
