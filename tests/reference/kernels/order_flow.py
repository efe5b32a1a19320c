"""Slow twin of bot4/kernels/order_flow: the same chance, a dictionary as book, strings put together by format."""

import math
from decimal import Decimal

MASK = 2**64 - 1
DEPTH_NS = 100_000_000


class RefMarket:
    """One symbol's market as lines of text."""

    def __init__(self, symbol: str, word: int, values: dict[str, int]) -> None:
        self.symbol, self.word, self.values = symbol, word & MASK, values
        self.table = [round(-math.log((index + 0.5) / 4096) * 65_536) for index in range(4096)]
        self.now = values["now_ns"]
        self.bid, self.ask = values["bid"], values["ask"]
        self.low, self.high = self.bid, self.ask
        self.book: dict[int, int] = {}
        self.shown: dict[int, int] = {}
        self.changed: dict[int, None] = {}
        self.update = self.depth_update = values["update_id"]
        self.trade = values["trade_id"]
        self.bias = self.regime_end = 0

    # --- chance ---
    def draw(self, bound: int) -> int:
        """A whole number below the bound."""
        word = self.word
        word ^= (word << 13) & MASK
        word ^= word >> 7
        word ^= (word << 17) & MASK
        self.word = word
        return (((word >> 20) & 0xFFFF_FFFF) * bound) >> 32

    def wait(self, mean: int) -> int:
        """An exponential one."""
        return (mean * self.table[self.draw(4096)]) >> 16

    def near(self) -> int:
        """A distance from the best price."""
        first, second = self.draw(self.values["near"]), self.draw(self.values["near"])
        return first * second // self.values["near"]

    # --- text ---
    def price(self, level: int) -> str:
        """As text."""
        return f"{Decimal(level * self.values['step_ticks'] * self.values['tick_e8']).scaleb(-8):.8f}"

    def size(self, lots: int) -> str:
        """As text."""
        return f"{Decimal(lots * self.values['lot_e8']).scaleb(-8):.8f}"

    def line(self, stream: str, data: str) -> str:
        """One line of a stream."""
        name = f"{self.symbol.lower()}@{stream}"
        return f'{self.now + 2_000_000} {{"stream":"{name}","data":{{{data}}}}}\n'

    def quote(self) -> str:
        """The best bid and ask."""
        bid, ask = self.bid, self.ask
        return self.line(
            "bookTicker",
            f'"u":{self.update},"s":"{self.symbol}","b":"{self.price(bid)}","B":"{self.size(self.book[bid])}",'
            f'"a":"{self.price(ask)}","A":"{self.size(self.book[ask])}"',
        )

    def pairs(self, levels: list[tuple[int, int]]) -> str:
        """Levels as text."""
        return ",".join(f'["{self.price(level)}","{self.size(lots)}"]' for level, lots in levels)

    def depth(self) -> str:
        """What changed."""
        if not self.changed:
            return ""
        texts = []
        for side in (1, -1):
            levels = []
            for level in self.changed:
                here = level <= self.bid if side > 0 else level >= self.ask
                lots = self.book.get(level, 0) if here else 0
                if lots or self.shown.get(level) == side:
                    levels.append((level, lots))
            texts.append(self.pairs(levels))
        for level in self.changed:
            self.shown[level] = 0 if level not in self.book else 1 if level <= self.bid else -1
        first, self.depth_update, self.changed = self.depth_update + 1, self.update, {}
        ids = f'"s":"{self.symbol}","U":{first},"u":{self.update}'
        return self.line(
            "depth@100ms",
            f'"e":"depthUpdate","E":{self.now // 1_000_000},{ids},"b":[{texts[0]}],"a":[{texts[1]}]',
        )

    def snapshot(self) -> str:
        """The whole book."""
        bids = sorted((level, lots) for level, lots in self.book.items() if level <= self.bid)[::-1]
        asks = sorted((level, lots) for level, lots in self.book.items() if level >= self.ask)
        self.shown = {level: 1 for level, _ in bids} | {level: -1 for level, _ in asks}
        text = f'"lastUpdateId":{self.update},"bids":[{self.pairs(bids)}],"asks":[{self.pairs(asks)}]'
        return f"{self.now + 2_000_000} {{{text}}}\n"

    # --- the book ---
    def change(self, level: int, delta: int) -> None:
        """Add lots."""
        self.book[level] = self.book.get(level, 0) + delta
        if not self.book[level]:
            del self.book[level]
        self.changed[level] = None

    def add(self, level: int, side: int, lots: int) -> None:
        """An order rests."""
        self.change(level, lots)
        if side > 0:
            self.bid, self.low = max(self.bid, level), min(self.low, level)
        else:
            self.ask, self.high = min(self.ask, level), max(self.high, level)

    def settle(self) -> None:
        """Best levels again, far orders gone."""
        bids = [level for level in self.book if self.low <= level <= self.bid]
        if bids:
            self.bid = max(bids)
        else:
            self.bid = self.ask - 2
            self.add(self.bid, 1, self.values["mean_lots"])
        asks = [level for level in self.book if self.ask <= level <= self.high]
        if asks:
            self.ask = min(asks)
        else:
            self.ask = self.bid + 2
            self.add(self.ask, -1, self.values["mean_lots"])
        for level in sorted(level for level in self.book if level < self.bid - 1_000):
            self.change(level, -self.book[level])
        for level in sorted((level for level in self.book if level > self.ask + 1_000), reverse=True):
            self.change(level, -self.book[level])
        self.low, self.high = max(self.low, self.bid - 1_000), min(self.high, self.ask + 1_000)

    def event(self) -> str:
        """One arrival."""
        before = (self.bid, self.book[self.bid], self.ask, self.book[self.ask])
        target, total = self.values["target_lots"], sum(self.book.values())
        choice = self.draw(730 + 470 * min(total, 4 * target) // target)
        self.update += 1
        text = ""
        if choice < 600:
            side = 1 if self.draw(1_000) < 500 + self.bias // 2 else -1
            distance = 1 + self.near()
            level = self.ask - distance if side > 0 else self.bid + distance
            self.add(level, side, 1 + self.wait(self.values["mean_lots"]))
        elif choice < 730:
            text = self.market_order()
        else:
            side = 1 - 2 * self.draw(2)
            distance = self.near()
            level = self.bid - distance if side > 0 else self.ask + distance
            lots = self.book.get(level, 0)
            if lots:
                self.change(level, -lots if self.draw(2) == 0 else -((lots + 1) // 2))
        self.settle()
        after = (self.bid, self.book[self.bid], self.ask, self.book[self.ask])
        return text + (self.quote() if after != before else "")

    def market_order(self) -> str:
        """One order that takes."""
        side = 1 if self.draw(1_000) < 500 + self.bias else -1
        left = 1 + self.wait(self.values["mean_lots"] * 2)
        level, text = (self.ask if side > 0 else self.bid), ""
        for _ in range(12):
            taken = min(left, self.book.get(level, 0)) if self.low <= level <= self.high else 0
            if taken > 0:
                self.trade += 1
                self.change(level, -taken)
                left -= taken
                ms = self.now // 1_000_000
                maker = "false" if side > 0 else "true"
                sizes = f'"p":"{self.price(level)}","q":"{self.size(taken)}"'
                ids = f'"s":"{self.symbol}","t":{self.trade}'
                text += self.line("trade", f'"e":"trade","E":{ms},{ids},{sizes},"T":{ms},"m":{maker},"M":true')
            level += side
        return text

    def regime(self) -> None:
        """A new lean."""
        mean, start = self.values["regime_ns"], self.values["start_level"]
        self.regime_end = self.now + mean // 4 + self.wait(mean)
        strength = 25 + self.draw(62)
        direction = self.draw(3) - 1
        if abs(self.bid - start) > start // 4:
            direction = 1 if self.bid < start else -1
        self.bias = direction * strength

    def run(self) -> str:
        """All lines."""
        start = self.values["start_level"]
        for level in range(self.values["near"]):
            self.add(start - 1 - level, 1, 1 + self.wait(self.values["mean_lots"]))
            self.add(start + 1 + level, -1, 1 + self.wait(self.values["mean_lots"]))
        self.changed = {}
        text = [self.snapshot(), self.quote()]
        self.regime()
        next_depth = self.now + DEPTH_NS
        while True:
            due = self.now + 1 + self.wait(self.values["wait_ns"])
            while next_depth <= min(due, self.values["end_ns"]):
                self.now = next_depth
                next_depth += DEPTH_NS
                text.append(self.depth())
            if due > self.values["end_ns"]:
                return "".join(text)
            self.now = due
            if due >= self.regime_end:
                self.regime()
            text.append(self.event())
