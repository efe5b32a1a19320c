"""A session made up from a seed, as the wires and the journal of a real one would hold it."""

import numpy as np

from bot4.model import enums as e
from bot4.model import records as r
from bot4.shm import wires as w

START_NS = 1_723_161_255_000_000_000
SECOND = 1_000_000_000


def instruments(n: int = 2) -> np.ndarray:
    """A perpetual with a tick of 0.1 and a spot pair with a tick of 0.01."""
    table = np.zeros(n, r.INSTRUMENT)
    for i, row in enumerate(table):
        row["index"] = i
        row["is_spot"] = i % 2
        row["price_decimals"], row["qty_decimals"] = (1, 3) if i % 2 == 0 else (2, 4)
        row["tick_e8"], row["lot_e8"] = (10_000_000, 100_000) if i % 2 == 0 else (1_000_000, 10_000)
        row["value_e8"] = row["tick_e8"] * row["lot_e8"] // 100_000_000
        row["maker_fee_ppm"], row["taker_fee_ppm"] = 200, 500
    return table


def limits() -> np.ndarray:
    """The default limits."""
    row = np.zeros(1, r.LIMITS)
    row["position_bps"], row["collar_bps"], row["drawdown_bps"], row["daily_loss_bps"] = 200, 100, 1_500, 300
    row["order_notional_e8"], row["order_lots"], row["open_orders"] = 200_000_000_000, 10_000, 4
    row["cool_down_ns"], row["bucket_tokens"], row["bucket_refill_ns"] = 2 * SECOND, 20, SECOND // 5
    row["stop_confirm_ns"] = SECOND
    return row


def session(n_instruments: int = 2) -> np.ndarray:
    """Latencies and start equity of a paper session."""
    row = np.zeros(1, r.SESSION)
    row["paced"], row["n_shards"], row["n_instruments"] = 1, 1, n_instruments
    row["order_latency_ns"], row["report_latency_ns"], row["internal_latency_ns"] = 5_000_000, 5_000_000, 20_000
    row["start_equity_e8"] = 100_000 * 100_000_000
    return row


class SampleSession:
    """Random walks traded by a coin: intents, fills, stops and samples, with exact accounts."""

    def __init__(self, seed: int = 7, seconds: int = 900, n: int = 2, shards: int = 1, trades: bool = True) -> None:
        self.instruments = instruments(n)
        self.wires = w.private_wires(shards, n, ticks=64)
        self.records: list[np.void] = []
        self.rng = np.random.default_rng(seed)
        self.shards = shards
        self.lots = [0] * n
        self.cost = [0] * n
        self.realised = [0] * n
        self.fees = [0] * n
        self.mid = [612_300, 268_010] * n
        self.event_no = [0] * n
        self.trade_id = 0
        self.high = 100_000 * 100_000_000
        for second in range(seconds):
            for i in range(n):
                self._second(START_NS + second * SECOND, i, trades)
        self._fill_wires(seconds)

    def journal(self) -> np.ndarray:
        """JOURNAL[n] in the order of their sequence."""
        return np.array(self.records, r.JOURNAL) if self.records else np.zeros(0, r.JOURNAL)

    def _second(self, now: int, i: int, trades: bool) -> None:
        self.mid[i] += int(self.rng.normal(0, 14))
        self.event_no[i] += int(self.rng.integers(20, 90))
        if trades and self.rng.random() < 0.03:
            self._trade(now + int(self.rng.integers(1, SECOND)), i)
        record = self._record(r.JOURNAL_SAMPLE, now, i)
        self.records.append(record)

    def _trade(self, now: int, i: int) -> None:
        quantity = 20 if i == 0 else 200
        held = self.lots[i]
        side = -np.sign(held) if held else (1 if i % 2 else int(self.rng.choice([1, -1])))
        leg = e.LEG_ENTRY if not held else int(self.rng.choice([e.LEG_EXIT, e.LEG_EXIT, e.LEG_STOP]))
        quantity = abs(held) or quantity
        price = self.mid[i] + int(side)
        low = self.event_no[i] << 32 | leg << 24 | 1
        high = 1 << 48 | 1 << 32 | i << 16 | 1
        intent = np.zeros(1, r.ORDER_INTENT)
        intent["ts_ns"], intent["id_hi"], intent["id_lo"], intent["instrument"] = now, high, low, i
        intent["qty_lots"], intent["side"], intent["leg"], intent["type"] = quantity, side, leg, e.TYPE_MARKET
        intent["action"], intent["tif"], intent["event_no"] = e.ACTION_PLACE, e.TIF_IOC, self.event_no[i]
        intent["ref_ticks"], intent["shard"] = 2 * self.mid[i], i % self.shards
        intent["order_row"], intent["tsc"] = len(self.records) % 64, int(self.rng.integers(1, 2**40))
        denied = leg == e.LEG_ENTRY and self.rng.random() < 0.2
        record = self._record(r.JOURNAL_DENIED if denied else r.JOURNAL_INTENT, now, i)
        record["body"] = intent.view(np.int64)
        if denied:
            record["code"] = e.RISK_COOL_DOWN
            self.records.append(record)
            self.wires.rejects[self.shards + w.EXECUTION_ROW, e.RISK_COOL_DOWN] += 1
            return
        self.records.append(record)
        parts = (quantity // 2, quantity - quantity // 2)
        done = 0
        for part in parts:
            done += part
            self.trade_id += 1
            fill = np.zeros(1, r.EXEC_REPORT)
            fee = -(-part * price * int(self.instruments[i]["value_e8"]) * 500 // 1_000_000)
            fill["ts_ns"], fill["id_hi"], fill["id_lo"], fill["instrument"] = now + 10_000_000, high, low, i
            fill["kind"], fill["side"], fill["leg"], fill["type"] = e.REPORT_FILL, side, leg, e.TYPE_MARKET
            fill["price_ticks"], fill["qty_lots"], fill["cum_lots"] = price, part, done
            fill["leaves_lots"], fill["fee_e8"], fill["trade_id"] = quantity - done, fee, self.trade_id
            fill["venue_order_id"], fill["event_seq"], fill["t_venue_ns"] = 9, len(self.records), now + 5_000_000
            self._apply(i, int(side), part, price, fee)
            record = self._record(r.JOURNAL_EVENT, now + 10_000_000, i)
            record["body"] = fill.view(np.int64)
            self.records.append(record)

    def _apply(self, i: int, side: int, quantity: int, price: int, fee: int) -> None:
        self.fees[i] += fee
        held = self.lots[i]
        if held * side < 0:
            removed = abs(self.cost[i]) * quantity // abs(held)
            sign = 1 if held > 0 else -1
            self.realised[i] += sign * (price * quantity - removed)
            self.cost[i] -= sign * removed
        else:
            self.cost[i] += side * price * quantity
        self.lots[i] += side * quantity

    def equity(self) -> int:
        """Equity at the mids, in 1e-8."""
        total = 100_000 * 100_000_000
        for i, row in enumerate(self.instruments):
            ticks = self.realised[i] + self.lots[i] * self.mid[i] - self.cost[i]
            total += ticks * int(row["value_e8"]) - self.fees[i]
        return total

    def _record(self, kind: int, now: int, i: int) -> np.void:
        record = np.zeros(1, r.JOURNAL)[0]
        equity = self.equity()
        self.high = max(self.high, equity)
        record["magic"], record["type"], record["version"] = r.JOURNAL_MAGIC, kind, r.JOURNAL_VERSION
        record["seq"], record["ts_ns"], record["instrument"] = len(self.records) + 1, now, i
        record["position_lots"], record["cost_tl"] = self.lots[i], self.cost[i]
        record["bid_ticks"], record["ask_ticks"] = self.mid[i] - 1, self.mid[i] + 1
        record["equity_e8"], record["high_water_e8"] = equity, self.high
        return record

    def _fill_wires(self, seconds: int) -> None:
        wires, shards = self.wires, self.shards
        feed, execution = wires.gauges[shards + w.FEED_ROW], wires.gauges[shards + w.EXECUTION_ROW]
        for i in range(len(self.instruments)):
            wires.messages[i, 1:5] = [seconds * 61, seconds * 190, seconds * 19, seconds]
            wires.refused[i, e.TICK_TRADE, e.INPUT_NON_MARKET_TRADE] = 1
            wires.refused[i, e.TICK_LEVEL, e.INPUT_BEFORE_SNAPSHOT] = 3 + i
            wires.levels[i] = seconds * 700
            wires.positions[i, w.POSITION_WHOLE] = 1
            wires.book_checks[i] = [503 + i, 503 + i]
            wires.venue_clocks[i, : w.CLOCK_ANEW + 1] = [seconds * 200, -1_272_500_000 + i, 53_000_000, 0]
            wires.positions[i, : w.POSITION_ASK + 1] = [
                self.lots[i], self.cost[i], self.realised[i], self.fees[i], 0, self.mid[i] - 1, self.mid[i] + 1
            ]  # fmt: skip
        feed[w.GAUGE_FEED_MESSAGES] = wires.messages.sum() + wires.refused.sum()
        feed[w.GAUGE_FEED_TICKS] = wires.levels.sum()
        feed[w.GAUGE_FEED_SPAN_START_NS], feed[w.GAUGE_FEED_SPAN_END_NS] = START_NS, START_NS + seconds * SECOND
        wires.gauges[0, w.GAUGE_SHARD_INTENTS] = sum(int(record["type"]) == r.JOURNAL_INTENT for record in self.records)
        execution[w.GAUGE_EXEC_STOPS_PLACED], execution[w.GAUGE_EXEC_STOPS_TRIGGERED] = 14, 5
        execution[w.GAUGE_EXEC_NAKED_NS_MAX] = 30_020_000
        wires.rejects[0, e.DECISION_WARMING] = 1_904
        wires.rejects[0, e.DATA_STALE] = 12
        wires.rejects[0, e.RISK_COOL_DOWN] = 311
        wires.rejects[0, e.RISK_POSITION] = 27


def put_latencies(wires: w.Wires, rng: np.random.Generator) -> None:
    """Fill every stage's histogram with plausible cycle counts."""
    from bot4.shm.histogram import histogram_record

    for stage, scale in enumerate((600, 150, 1_900, 3_700, 41_000)):
        for value in rng.lognormal(np.log(scale), 0.45, 4_000).astype(np.int64).tolist():
            histogram_record(wires.histograms[stage], value)
