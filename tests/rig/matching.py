"""The matching kernels and their twin side by side: the same through both, compared event by event."""

import hashlib
import random

import numpy as np
from reference.kernels.matching import Impact, RefVenue, Rules

from bot4.kernels.matching.market import handle_tick
from bot4.kernels.matching.request import ALL_INSTRUMENTS, answer_trades, handle_request
from bot4.kernels.matching.state import matching_memory
from bot4.model import enums as e
from bot4.model import impact as i
from bot4.model.queue import read_queue
from bot4.model.records import INSTRUMENT, ORDER_INTENT, TICK, words

EVENT_FIELDS = (
    "event_seq", "ts_ns", "kind", "id", "instrument", "side", "price_ticks", "qty_lots", "cum_lots", "leaves_lots",
    "venue_order_id", "trade_id", "fee_e8", "cash_e8", "status", "code", "order_row",
)  # fmt: skip


def small_instruments() -> np.ndarray:
    """A linear contract and a spot pair with tight filters, so that random orders meet each of them."""
    rows = np.zeros(2, INSTRUMENT)
    for index in range(2):
        rows[index]["index"] = index
        rows[index]["is_spot"] = index
        rows[index]["tick_e8"] = 1_000_000
        rows[index]["lot_e8"] = 70_000
        rows[index]["value_e8"] = 700
        rows[index]["min_notional_e8"] = 2_000_000
        rows[index]["min_qty_lots"] = 2
        rows[index]["max_qty_lots"] = 60
    rows["maker_fee_ppm"] = (213, -57)
    rows["taker_fee_ppm"] = (457, 1_003)
    return rows


def impact_records(impacts: dict[int, Impact] | None) -> np.ndarray:
    """The twin's models as the kernels have them."""
    records = np.zeros(2, i.IMPACT)
    names = {"linear": ("coefficient", "daily_lots"), "square_root": ("coefficient", "daily_lots")}
    for index, impact in (impacts or {}).items():
        record = records[index]
        record["model"] = getattr(i, f"IMPACT_{impact.model.upper()}")
        first, second = names.get(impact.model, ("gamma", "eta"))
        record[first], record[second] = impact.a, impact.b
        record["epsilon"], record["tau"] = impact.epsilon, impact.tau
    return records


class Pair:
    """Kernels and twin with the same past."""

    def __init__(
        self,
        cash_e8: int = 2 * 10**8,
        max_orders: int = 2**17,
        queue: str = "risk-averse",
        impacts: dict[int, Impact] | None = None,
    ):
        self.instruments = small_instruments()
        self.cash_e8 = cash_e8
        model = read_queue(queue)
        self.memory = matching_memory(2, cash_e8, max_orders, model, impact_records(impacts))
        self.twin = RefVenue(
            [
                Rules(
                    bool(row["is_spot"]),
                    *(
                        int(row[name])
                        for name in (
                            "lot_e8", "value_e8", "min_notional_e8", "min_qty_lots", "max_qty_lots", "maker_fee_ppm",
                            "taker_fee_ppm",
                        )
                    ),
                )
                for row in self.instruments
            ],
            cash_e8,
            max_orders,
            (queue.partition(":")[0], model.exponent),
            impacts,
        )  # fmt: skip
        self.tick_record = np.zeros(1, TICK)
        self.request_record = np.zeros(1, ORDER_INTENT)
        self.now = 1_000
        self.numbers = [0, 0]
        self.events = []
        self.entries = []
        self.hash = hashlib.sha256()

    def tick(self, instrument, kind, flags, *values, lag_us=0, skip=0):
        """One record of the market."""
        w = (*values, 0, 0, 0, 0)[:4]
        self.numbers[instrument] += 1 + skip
        number = self.numbers[instrument]
        self.tick_record[0] = (self.now, lag_us, instrument, kind, flags, *w, number, 0, 0)
        handle_tick(self.memory, self.instruments, self.tick_record[0])
        self.twin.tick(self.now, lag_us, instrument, kind, flags, w, number)
        return self.compare()

    def request(self, action, number=0, instrument=0, **fields):
        """One request; `number` makes its client id."""
        values = {
            "t": self.now, "action": action, "id": (11, number) if number else (0, 0), "instrument": instrument,
            "side": 0, "type": 0, "tif": 0, "flags": 0, "price": 0, "qty": 0, "trigger": 0, "row": -1, "aux": 0,
        } | fields  # fmt: skip
        self.request_record[:] = 0
        row = self.request_record[0]
        row["ts_ns"] = values["t"]
        row["id_hi"], row["id_lo"] = values["id"]
        row["price_ticks"] = values["price"]
        row["qty_lots"] = values["qty"]
        row["stop_ticks"] = values["trigger"]
        row["order_row"] = values["row"]
        for name in ("action", "instrument", "side", "type", "tif", "flags", "aux"):
            row[name] = values[name]
        handle_request(self.memory, self.instruments, row, words(self.request_record))
        while self.memory.desk[0]["answer_next"]:
            answer_trades(self.memory, row)
        self.twin.request(values)
        return self.compare()

    def compare(self):
        """Both said the same; returns what they said."""
        desk = self.memory.desk[0]
        said = [event_tuple(event) for event in self.memory.events[: desk["n_events"]]]
        assert said == self.twin.events
        self.twin.events = []
        desk["n_events"] = 0
        self.entries += [entry.copy() for entry in self.memory.entries[: desk["n_entries"]]]
        desk["n_entries"] = 0
        self.events += [event for event in said if event[0] > 0]
        self.hash.update(repr(said).encode())
        return said

    def state(self) -> tuple:
        """State of the kernels in the twin's words."""
        memory = self.memory
        taken = [
            (index, *(int(row[name]) for name in ("side", "price_ticks", "seen_lots", "taken_lots")))
            for index in range(2)
            for row in memory.taken[index][: memory.seats[index]["n_taken"]]
        ]
        open_rows = [row for index in range(2) for row in memory.listed[index][: memory.seats[index]["n_listed"]]]
        return (
            int(memory.desk[0]["cash_e8"]),
            tuple(
                tuple(int(seat[name]) for name in ("lots", "cost_tl", "realised_tl", "fees_e8", "funding_e8"))
                for seat in memory.seats
            ),
            tuple(sorted(taken)),
            tuple(
                (
                    int(row) + 1,
                    *(
                        int(memory.orders[row][name])
                        for name in (
                            "qty_lots",
                            "cum_lots",
                            "queue_lots",
                            "stop_ticks",
                            "triggered",
                            "seen_lots",
                            "traded_lots",
                            "gone_lots",
                            "fresh_lots",
                        )
                    ),
                )
                for row in open_rows
            ),
        )

    def check_state(self) -> None:
        """Same state on both sides, and nothing made out of nothing."""
        state = self.state()
        assert state == self.twin.state()
        self.hash.update(repr(state).encode())
        cash = self.cash_e8
        for index, (lots, cost, realised, fees, funding) in enumerate(state[1]):
            fills = [event for event in self.events if event[2] == e.REPORT_FILL and event[4] == index]
            flow = sum(side * price * qty for _, _, _, _, _, side, price, qty, *_ in fills)
            assert lots == sum(event[5] * event[7] for event in fills)
            assert fees == sum(event[12] for event in fills)
            assert realised == cost - flow
            value_e8 = int(self.instruments[index]["value_e8"])
            cash += (-flow if self.instruments[index]["is_spot"] else realised) * value_e8 - fees + funding
            assert lots >= 0 or not self.instruments[index]["is_spot"]
        assert state[0] == cash
        assert all(0 <= cum < qty for _, qty, cum, *_ in state[3])
        assert all(queue >= 0 and min(more) >= 0 for _, _, _, queue, _, _, *more in state[3])
        assert all(0 < taken <= seen for _, _, _, seen, taken in state[2])
        assert self.memory.desk[0]["n_open"] == len(state[3])


def event_tuple(event: np.void) -> tuple:
    """An event in the twin's words."""
    return tuple(
        (int(event["id_hi"]), int(event["id_lo"])) if name == "id" else int(event[name]) for name in EVENT_FIELDS
    )


class RandomScript:
    """A seeded market with a random walk, and orders around it, good and bad."""

    def __init__(self, pair: Pair, seed: int):
        self.pair = pair
        self.random = random.Random(seed)
        self.middle = [400, 700]
        self.used = 0
        for index in range(2):
            self.snapshot(index)

    def snapshot(self, index: int) -> None:
        """A new whole book around the middle."""
        self.pair.tick(index, e.TICK_STATUS, e.FLAG_SNAPSHOT, e.STATUS_CLEAR)
        for side in (1, -1):
            for distance in range(1, 12):
                lots = self.random.randint(1, 20)
                self.pair.tick(index, e.TICK_LEVEL, e.FLAG_SNAPSHOT, self.middle[index] - side * distance, lots, side)
        self.pair.tick(index, e.TICK_STATUS, e.FLAG_SNAPSHOT | e.FLAG_LAST, e.STATUS_WHOLE)

    def step(self) -> None:
        """One thing happens."""
        self.pair.now += self.random.choice((0, 1, 5, 100, 30_000_000, 120_000_000))
        index = self.random.randrange(2)
        chance = self.random.random()
        if chance < 0.30:
            self.levels(index)
        elif chance < 0.40:
            self.quote(index)
        elif chance < 0.58:
            price = self.middle[index] + self.random.randint(-4, 4)
            side = self.random.choice((1, -1))
            self.pair.tick(index, e.TICK_TRADE, e.FLAG_LAST, price, self.random.randint(1, 25), 7, side)
        elif chance < 0.62:
            mark = self.random.randint(3_900_000, 7_100_000) * 100
            due = self.pair.now + self.random.choice((-50, 0, 40, 40, 40))
            self.pair.tick(
                index, e.TICK_MARK, e.FLAG_LAST, mark, mark, self.random.randint(-40_000, 40_000), due,
                lag_us=self.random.choice((0, 0, 1, -1)),
            )  # fmt: skip
        elif chance < 0.63:
            self.trouble(index)
        elif chance < 0.85:
            self.place(index)
        elif chance < 0.97:
            self.change(index)
        else:
            action = self.random.choice(
                (
                    e.ACTION_QUERY_ORDER, e.ACTION_QUERY_OPEN, e.ACTION_QUERY_POSITION, e.ACTION_QUERY_BALANCE,
                    e.ACTION_QUERY_TRADES, 0, 77,
                )
            )  # fmt: skip
            newest = int(self.pair.memory.desk[0]["event_seq"])
            self.pair.request(
                action, self.known(), index, row=self.random.randint(-1, 5), aux=newest - self.random.randint(0, 200)
            )

    def levels(self, index: int) -> None:
        """A depth message of one to four levels."""
        if self.random.random() < 0.2:
            self.middle[index] += self.random.choice((-1, 1))
        count = self.random.randint(1, 4)
        for number in range(count):
            side = self.random.choice((1, -1))
            price = self.middle[index] - side * self.random.randint(1, 8)
            lots = self.random.choice((0, 1, 3, 8, 20))
            flags = e.FLAG_LAST if number == count - 1 else 0
            if flags and self.random.random() < 0.3:
                flags |= e.FLAG_QUOTE_NEWER
            self.pair.tick(index, e.TICK_LEVEL, flags, price, lots, side)

    def quote(self, index: int) -> None:
        """A best quote, newer than the book or not."""
        bid = self.middle[index] - self.random.randint(1, 3)
        ask = bid + self.random.randint(1, 4)
        flags = e.FLAG_LAST | (e.FLAG_BOOK_NEWER if self.random.random() < 0.2 else 0)
        self.pair.tick(index, e.TICK_QUOTE, flags, bid, self.random.randint(1, 12), ask, self.random.randint(1, 12))

    def trouble(self, index: int) -> None:
        """Stale for a while, a lost record, or a new snapshot."""
        kind = self.random.randrange(3)
        if kind == 0:
            self.pair.tick(index, e.TICK_STATUS, e.FLAG_LAST, e.STATUS_STALE)
        elif kind == 1:
            self.pair.tick(index, e.TICK_TRADE, e.FLAG_LAST, self.middle[index], 3, 7, 1, skip=1)
        else:
            self.snapshot(index)
        if self.random.random() < 0.5:
            self.snapshot(index)

    def known(self) -> int:
        """Number of a client id, most likely one that was used lately."""
        return max(1, self.used - self.random.randint(-1, 30))

    def place(self, index: int) -> None:
        """An order, now and then a bad one."""
        pick = self.random
        self.used += 1
        order_type = pick.choice((e.TYPE_MARKET, e.TYPE_LIMIT, e.TYPE_LIMIT, e.TYPE_STOP_MARKET))
        fields = {
            "side": pick.choice((1, -1)),
            "type": order_type,
            "tif": e.TIF_GTC if order_type == e.TYPE_STOP_MARKET else pick.choice((e.TIF_GTC, e.TIF_GTC, e.TIF_IOC)),
            "flags": pick.choice((0, 0, 0, e.ORDER_REDUCE_ONLY, e.ORDER_POST_ONLY)),
            "price": self.middle[index] + pick.randint(-6, 6) if order_type == e.TYPE_LIMIT else 0,
            "qty": pick.choice((2, 5, 11, 30, 60)),
            "trigger": self.middle[index] + pick.randint(-6, 6),
            "row": pick.randint(0, 50),
        }
        number = self.used
        if pick.random() < 0.06:
            name, value = pick.choice(
                (
                    ("side", 0), ("type", 9), ("tif", 0), ("flags", 8), ("qty", 0), ("qty", 1), ("qty", 61),
                    ("instrument", 2), ("price", 2**45), ("trigger", 0), ("number", 0), ("number", self.known()),
                )
            )  # fmt: skip
            if name == "number":
                number = value
            else:
                fields[name] = value
        self.pair.request(e.ACTION_PLACE, number, **{"instrument": index, **fields})

    def change(self, index: int) -> None:
        """Cancel, amend, or all away."""
        pick = self.random
        chance = pick.random()
        if chance < 0.03:
            self.pair.request(e.ACTION_CANCEL_ALL, 0, pick.choice((0, 1, ALL_INSTRUMENTS)))
        elif chance < 0.4:
            self.pair.request(e.ACTION_CANCEL, self.known(), index, row=pick.randint(-1, 50))
        else:
            self.pair.request(
                e.ACTION_AMEND, self.known(), index, qty=pick.choice((0, 1, 4, 9, 25, 60, 61)),
                trigger=pick.choice((0, self.middle[index] + pick.randint(-6, 6), -1)),
                price=pick.choice((0, 0, 0, 5)), row=pick.randint(-1, 50),
            )  # fmt: skip
