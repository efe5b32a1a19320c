"""Slow twin of bot4/kernels/route.py: every lot by itself, in fractions."""

from fractions import Fraction


def net(side, price, fee_ppm):
    """What a lot costs, less what it brings."""
    return side * price * (1 + side * Fraction(fee_ppm, 10**6))


def levels(side, limit, prices, shown, trust_ppm):
    """(price, lots that are counted on) of a venue within the limit."""
    found = []
    for price, lots in zip(prices, shown, strict=True):
        if lots <= 0 or price <= 0 or side * (limit - price) < 0:
            break
        found.append((price, int(lots * Fraction(trust_ppm, 10**6))))
    return found


def smart(side, lots, limit, venues):
    """Lots of each venue. venues : rows of prices, shown, fee_ppm, trust_ppm, least_lots."""
    barred = set()
    while True:
        heap = []
        for index, (prices, shown, fee, trust, _) in enumerate(venues):
            if index not in barred:
                rows = levels(side, limit, prices, shown, trust)
                heap += [(level, index, net(side, price, fee), count) for level, (price, count) in enumerate(rows)]
        out, at, left = [0] * len(venues), [0] * len(venues), lots
        while left:
            nexts = [(cost, index, count) for level, index, cost, count in heap if level == at[index]]
            if not nexts:
                break
            _, index, count = min(nexts)
            out[index] += min(left, count)
            left -= min(left, count)
            at[index] += 1
        small = [(part, index) for index, part in enumerate(out) if 0 < part < venues[index][4]]
        if not small:
            return out
        barred.add(min(small)[1])


def one(by_fee, side, lots, limit, venues):
    """The same, all of it at one venue."""
    best = None
    for index, (prices, shown, fee, trust, least) in enumerate(venues):
        each = [price for price, count in levels(side, limit, prices, shown, trust) for _ in range(count)][:lots]
        if each and len(each) >= least:
            value = Fraction(fee) if by_fee else net(side, each[-1], fee)
            best = min(best or (0, 0, 0), (-len(each), value, index)) if best else (-len(each), value, index)
    out = [0] * len(venues)
    if best:
        out[best[2]] = -best[0]
    return out


def cost(side, lots, limit, venues):
    """Least cost of so many lots, by taking every lot there is and sorting them."""
    every = []
    for prices, shown, fee, trust, _ in venues:
        every += [net(side, p, fee) for p, count in levels(side, limit, prices, shown, trust) for _ in range(count)]
    return sum(sorted(every)[:lots]), min(lots, len(every))


def cost_of(side, out, limit, venues):
    """What a split costs."""
    total = Fraction(0)
    for part, (prices, shown, fee, trust, _) in zip(out, venues, strict=True):
        each = [net(side, p, fee) for p, count in levels(side, limit, prices, shown, trust) for _ in range(count)]
        assert part <= len(each)
        total += sum(each[:part])
    return total
