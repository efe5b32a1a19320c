"""What a ledger of bot4-exchange says by itself: balances recomputed from starts and fills, and what must hold.

Imports nothing of the code under test. Raises AssertionError where the ledger contradicts itself, with the line.

    account's asset = start + what its fills bought - what they sold - fees in the asset
    funding is a share of a position's value, rounded up, and is no trade
    of a contract nothing is bought: what is closed is paid against the average cost, and fees are in the quote asset
    both sides of a trade have the same price, quantity and value; bought = sold
    an order's fills add up to its cum_lots, and cum + leaves never exceed its quantity
    no balance is below zero but while contracts are held; what is owed without them the insurance fund pays in
    the last balance line of an account (free + locked) is the recomputed one
    over all accounts, assets are what was paid in, less the fees, and with what open positions have cost

A writer that was killed may leave half of its last line; that one is left out and told as `torn`.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TOKEN = "BNB"  # what fees may be paid in instead
AGENT = "market-"  # accounts of the market itself
ASSETS = {"BTCUSDT": ("BTC", "USDT"), "ETHUSDT": ("ETH", "USDT")}


class Money(NamedTuple):
    """Balances by (account, asset), fees by asset, how many lines of each kind there were, half a last line."""

    balances: dict[tuple[str, str], int]
    fees: dict[str, int]
    kinds: dict[str, int]
    torn: bytes


def recompute(path: Path) -> Money:
    """Read a ledger and check it."""
    balances: dict[tuple[str, str], int] = defaultdict(int)
    paid_in: dict[str, int] = defaultdict(int)
    fees: dict[str, int] = defaultdict(int)
    kinds: dict[str, int] = defaultdict(int)
    said: dict[tuple[str, str], int] = {}
    filled: dict[int, int] = defaultdict(int)
    sides: dict[tuple[str, str, int], list[dict]] = defaultdict(list)
    held: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])  # lots and cost in tick x lot
    scales: dict[str, int] = {}
    text = path.read_bytes()
    whole, _, torn = text.rpartition(b"\n")
    last_ns = 0
    for number, raw in enumerate(whole.splitlines(), start=1):
        line = json.loads(raw)
        assert line["seq"] == number, f"line {number}: seq {line['seq']}"
        assert line["t_ns"] >= last_ns, f"line {number}: time goes back"
        last_ns = line["t_ns"]
        kind = line["kind"]
        kinds[kind] += 1
        if kind == "balance":
            key = line["account"], line["asset"]
            total = line["free_e8"] + line["locked_e8"]
            may_owe = any(
                account == line["account"] and ASSETS[symbol][1] == line["asset"] and position[0]
                for (account, symbol), position in held.items()
            )
            assert line["locked_e8"] >= 0, f"line {number}: a lock below zero"
            assert line["free_e8"] >= 0 or may_owe, f"line {number}: a balance below zero"
            if line["reason"] == "start":
                balances[key] += total
                paid_in[line["asset"]] += total
            elif line["reason"] == "insurance":
                assert balances[key] == -line["amount_e8"] < 0 == total, f"line {number}: insurance of what is not owed"
                balances[key] += line["amount_e8"]
                paid_in[line["asset"]] += line["amount_e8"]
                said[key] = total
            else:
                said[key] = total
            if line["reason"] == "funding":
                position = held[line["account"], line["symbol"]]
                assert position[0] == line["qty_lots"], f"line {number}: funding of another position"
                owed = position[0] * line["price_ticks"] * line["scale"]["value_e8"] * line["rate_e8"]
                assert line["fee_e8"] == -(-owed // 10**8), f"line {number}: funding"
                balances[key] -= line["fee_e8"]
                fees[line["asset"]] += line["fee_e8"]
                assert balances[key] == total, f"line {number}: recomputed {balances[key]}, the venue says {total}"
                if line["account"].startswith(AGENT):
                    del said[key]  # what its fills make of it is not told
        elif kind == "fill":
            base, quote = ASSETS[line["symbol"]]
            scale = line["scale"]
            value = line["price_ticks"] * line["qty_lots"] * scale["value_e8"]
            assert value == line["value_e8"], f"line {number}: value"
            amount = line["qty_lots"] * scale["lot_e8"]
            sign = 1 if line["side"] == "buy" else -1
            if line["contract"] == "linear":
                scales[line["symbol"]] = scale["value_e8"]
                position = held[line["account"], line["symbol"]]
                made_tl = _trade(position, sign * line["qty_lots"], line["price_ticks"])
                balances[line["account"], quote] += made_tl * scale["value_e8"]
                assert line["asset"] in (quote, TOKEN), f"line {number}: asset of the fee"
            else:
                balances[line["account"], base] += sign * amount
                balances[line["account"], quote] -= sign * value
                assert line["asset"] in (base if sign > 0 else quote, TOKEN), f"line {number}: asset of the fee"
            balances[line["account"], line["asset"]] -= line["fee_e8"]
            fees[line["asset"]] += line["fee_e8"]
            filled[line["venue_order_id"]] += line["qty_lots"]
            assert filled[line["venue_order_id"]] == line["cum_lots"], f"line {number}: cum_lots"
            sides[line["contract"], line["symbol"], line["trade_id"]].append(line)
        elif kind == "order" and line["status"] != "rejected":
            if line["venue_order_id"] is not None and line["cum_lots"]:
                assert filled[line["venue_order_id"]] == line["cum_lots"], f"line {number}: cum_lots of the order"
    for trade, pair in sides.items():
        assert len(pair) == 2 and {one["side"] for one in pair} == {"buy", "sell"}, f"trade {trade} has not two sides"
        assert len({(one["price_ticks"], one["qty_lots"]) for one in pair}) == 1, f"trade {trade}: sides differ"
        assert {one["liquidity"] for one in pair} == {"maker", "taker"}, f"trade {trade}: who was waiting"
    for key, total in said.items():
        assert balances[key] == total, f"{key}: recomputed {balances[key]}, the venue says {total}"
    for asset, amount in paid_in.items():
        there = sum(value for (_, name), value in balances.items() if name == asset)
        cost = sum(one[1] * scales[symbol] for (_, symbol), one in held.items() if ASSETS[symbol][1] == asset)
        assert there + fees[asset] - cost == amount, f"{asset}: paid in {amount}, held {there}, fees {fees[asset]}"
    for symbol in scales:
        assert not sum(one[0] for (_, name), one in held.items() if name == symbol), f"{symbol}: positions are not even"
    return Money(dict(balances), dict(fees), dict(kinds), torn)


def _trade(position: list[int], lots: int, price: int) -> int:
    """Change a position at average cost by signed lots; what closing made, in tick x lot."""
    made = 0
    if position[0] * lots < 0:
        closing = min(abs(position[0]), abs(lots))
        long = position[0] > 0
        removed = abs(position[1]) * closing // abs(position[0])
        made = price * closing - removed if long else removed - price * closing
        position[1] += -removed if long else removed
        position[0] += -closing if long else closing
        lots += closing if long else -closing
    position[0] += lots
    position[1] += lots * price
    return made


if __name__ == "__main__":
    found = recompute(Path(sys.argv[1]))
    print(found.kinds)
    if found.torn:
        print(f"the last line is torn, {len(found.torn)} bytes of it are left out")
