"""The tables of the session page, and the section of latencies with its percentile curve."""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

from bot4.adapters.files import report_chart as c
from bot4.model.units import from_e8

STAGE_WORDS = {
    "feed_to_shard": "published by the feed, read by the shard",
    "step": "one step of the shard: indicators, decision, risk",
    "tick_to_intent": "published by the feed, order intent written",
    "tick_to_execution": "published by the feed, order read by execution",
    "order_inside": "inside execution: check, journal, send",
}
_LADDER = ("p50", "p90", "p99", "p99_9", "max")


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numeric: Sequence[int] = (),
    wide: Sequence[int] = (),
    kind: str = "",
) -> str:
    """A table of ready markup; columns in `numeric` are set right, those in `wide` give way on a phone."""

    def css(column: int) -> str:
        names = [name for name, columns in (("n", numeric), ("wide", wide)) if column in columns]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f"<th{css(i)}>{escape(name)}</th>" for i, name in enumerate(heads))
    body = "".join("<tr>" + "".join(f"<td{css(i)}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows)
    inside = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{inside}</table></div>'


def money(text: str, tone: bool = False) -> str:
    """An exact decimal string for the eye, with the exact value as its title."""
    amount = Decimal(text)
    shown = c.true_minus(f"{amount:,.2f}") if round(amount, 2) else "0.00"
    css = f' class="{"up" if amount > 0 else "down"}"' if tone and round(amount, 2) else ""
    return f'<span{css} title="{escape(text)}">{shown}</span>'


def position_table(report: dict) -> str:
    """Profit, costs and what is still open, by instrument, and the account's sums."""
    rows = []
    for key, p in report["positions"].items():
        net = Decimal(p["realised"]) + Decimal(p["unrealised"]) - Decimal(p["fees"]) + Decimal(p["funding"])
        still = f"{p['lots']:,} lots at {Decimal(p['average_price']):,}" if p["lots"] else "flat"
        rows.append([
            f"<b>{escape(key)}</b>", money(str(net), True), money(p["realised"]), money(p["unrealised"]),
            money(p["fees"]), money(p["funding"]), still,
        ])  # fmt: skip
    heads = ("Instrument", "After fees", "Realised", "Unrealised", "Fees", "Funding", "Open at the end")
    equity = report["equity"]
    note = (
        f'<p class="note">Equity {money(equity["start"])} at the start, {money(equity["end"])} at the end. Realised is '
        "before fees; unrealised is at the mid price. Longest time a fill stood without its confirmed stop: "
        f"{duration(report['stops']['naked_ns_max'])} of event time.</p>"
    )
    return table(heads, rows, (1, 2, 3, 4, 5, 6)) + note


def trade_table(rows: Sequence[tuple[int, str, str, int]]) -> str:
    """Rows of (time, instrument, words, profit in 1e-8) that ended a round trip."""
    cells = [
        [c.utc(ts, "%H:%M:%S"), escape(key), escape(words), money(from_e8(profit), True)]
        for ts, key, words, profit in rows
    ]
    return table(("Ended (UTC)", "Instrument", "Last fill", "After fees"), cells, (3,), kind="even")


def duration(ns: float) -> str:
    """A span of time in the unit that suits it."""
    for limit, unit, scale in ((1e3, "ns", 1), (1e6, "µs", 1e3), (1e9, "ms", 1e6)):
        if ns < limit:
            return f"{ns / scale:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"


def latency_section(stages: dict | None) -> str:
    """Percentiles by stage, or why there are none."""
    if stages is None:
        text = (
            "This run was paced by event time: agents wait for each other, so the result is the same on any machine "
            "and with any number of processes. Waiting time is no latency, so none is reported; run with "
            "<code>--pace free</code> to measure it."
        )
        return f"<section><h2>Latency</h2><p>{text}</p></section>"
    measured = {stage: row for stage, row in stages.items() if row["count"]}
    if not measured:
        return "<section><h2>Latency</h2><p>No stage was measured in this run.</p></section>"
    rows = []
    for i, (stage, row) in enumerate(measured.items()):
        note = f'<br><span class="note wide">{STAGE_WORDS.get(stage, "")}</span>'
        name = f'<span class="stage"><span class="swatch s{i}"></span> {escape(stage)}</span>{note}'
        rows.append([name, f"{row['count']:,}", *(duration(row[p]) for p in _LADDER)])
    heads = ("Stage", "Count", "p50", "p90", "p99", "p99.9", "Max")
    return f"<section><h2>Latency</h2>{_percentile_chart(measured)}{table(heads, rows, (1, 2, 3, 4, 5, 6))}</section>"


def _percentile_chart(stages: dict) -> str:
    values = [max(1, row[p]) for row in stages.values() for p in _LADDER]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    y = c.Axis(low - 0.1, high + 0.1, tuple(float(power) for power in range(low, high + 1)), 0)
    x = c.Axis(-0.25, len(_LADDER) - 0.75, (), 0)
    layers = over = ""
    for i, row in enumerate(stages.values()):
        points = [(j, math.log10(max(1, row[p]))) for j, p in enumerate(_LADDER)]
        path = "L".join(f"{round(x.ratio(a) * c.BOX)} {round((1 - y.ratio(b)) * c.BOX)}" for a, b in points)
        layers += f'<path class="line s{i}" d="M{path}"/>'
        over += "".join(
            f'<circle class="dot s{i}" r="3.5" cx="{c.percent(x.ratio(a))}" cy="{c.percent(1 - y.ratio(b))}"/>'
            for a, b in points
        )
    texts = [duration(10**power) for power in y.ticks]
    labels = "".join(
        f'<span style="left:{c.percent(x.ratio(j))}">{name}</span>'
        for j, name in enumerate(("p50", "p90", "p99", "p99.9", "max"))
    )
    plots = c.plot(x, y, layers, over, texts, "mid")
    return c.chart("<b>Percentiles</b> logarithmic scale", plots, f'<div class="times">{labels}</div>', None)


def _bar(share: float) -> str:
    return f'<div class="bar" style="width:{100 * share:.1f}%"></div>'


def _bars(counts: dict[str, int], words: dict[str, str]) -> list[list[str]]:
    largest = max(counts.values())
    return [
        [
            f'{escape(words.get(name, ""))} <code class="soft">{escape(name)}</code>{_bar(count / largest)}',
            f"{count:,}",
        ]
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def sizing_table(report: dict) -> str:
    """Entries that went out, by the rule or limit that decided their quantity."""
    if not report["sized_by"]:
        return "<p>No entry went out.</p>"
    rows = [[escape(name), f"{count:,}"] for name, count in report["sized_by"].items()]
    return table(("Decided by", "Entries"), rows, (1,))


def refusal_table(report: dict) -> str:
    """Every reason for which something was refused, most frequent first."""
    if not report["rejects"]:
        return "<p>Nothing was refused.</p>"
    rows = _bars(report["rejects"], report["reject_reasons"])
    note = (
        '<p class="note">Counted each time it was found, by the strategy\'s process, by execution and by the venue; '
        "what the venue refused begins with VENUE_, everything else never went out.</p>"
    )
    return table(("Reason", "Count"), rows, (1,)) + note


def input_tables(report: dict) -> str:
    """Messages accepted and refused, by instrument."""
    rows = []
    for key, kinds in report["messages"].items():
        book = report["book"][key]
        agreed = f"{book['equal']:,} of {book['compared']:,}" if book["compared"] else "never compared"
        agreed = agreed if book["whole"] else "book never whole"
        refused = sum(sum(reasons.values()) for reasons in report["rejected_by_kind"][key].values())
        rows.append([
            f"<b>{escape(key)}</b>", *(f"{kinds[kind]:,}" for kind in ("trade", "quote", "depth", "mark")),
            f"{report['levels'][key]:,}", f"{refused:,}", agreed, _clock(report["clock"][key]),
        ])  # fmt: skip
    heads = ("Instrument", "Trades", "Quotes", "Depth", "Marks", "Book levels", "Refused", "Best quote agrees", "Clock")
    text = table(heads, rows, (1, 2, 3, 4, 5, 6, 7, 8))
    text += (
        '<p class="note">Clock: receive time minus the venue\'s, of the fastest way here; in brackets how much later '
        "the latest message came.</p>"
    )
    refused = [
        [escape(key), escape(kind), escape(reason.replace("_", " ")), f"{count:,}"]
        for key, kinds in report["rejected_by_kind"].items()
        for kind, reasons in kinds.items()
        for reason, count in reasons.items()
    ]
    if refused:
        text += f"<h3>Refused input</h3>{table(('Instrument', 'Kind', 'Reason', 'Messages'), refused, (3,))}"
    else:
        text += '<p class="note">No message was refused.</p>'
    if report["dropped"]:
        text += f'<p class="note">{report["dropped"]:,} records found a ring full and were dropped by the feed.</p>'
    return text


def _clock(clock: dict | None) -> str:
    """Offset and largest delay."""
    if clock is None:
        return "no time told"
    offset = c.true_minus(f"{clock['offset_ms']:+,.1f}")
    return f"{offset} ms (+{clock['latest_ms']:,.1f})"


def machine_tables(report: dict) -> str:
    """Who ran where, and on what."""
    text = ""
    if report["workers"]:
        rows = [
            [
                f"<b>{escape(name)}</b>", str(worker["pid"]), "any" if worker["core"] is None else str(worker["core"]),
                str(worker["restarts"]), _mb(worker["pss_mb"]), _mb(worker["private_mb"]),
            ]
            for name, worker in report["workers"].items()
        ]  # fmt: skip
        heads = ("Process", "pid", "Core", "Restarts", "Share of memory", "Private")
        text += table(heads, rows, (1, 2, 3, 4, 5), (1,))
    speed = report["throughput"]
    facts = [
        ("wall time", f"{speed['wall_s']:,.1f} s"),
        ("messages", f"{speed['messages_per_s']:,.0f} per second"),
        ("ticks", f"{speed['ticks_per_s']:,.0f} per second"),
        *((str(name), str(value)) for name, value in report["machine"].items()),
        *((str(name), str(value)) for name, value in report["versions"].items()),
    ]
    items = "".join(f"<li><span>{escape(name)}</span> <b>{escape(value)}</b></li>" for name, value in facts)
    return f'{text}<ul class="facts">{items}</ul>'


def _mb(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:,.1f} MB"


def assumption_table(report: dict) -> str:
    """What the figures rest on, the strategy's parameters included."""
    rows = [[escape(row["name"]), escape(row["value"]), escape(row["note"])] for row in report["assumptions"]]
    text = table(("Assumption", "Value", ""), rows)
    params = report["strategy"]["params"]
    if params:
        cells = [[f"<code>{escape(str(name))}</code>", escape(str(value))] for name, value in params.items()]
        text += (
            f"<details><summary>Parameters of the strategy</summary>{table(('Parameter', 'Value'), cells)}</details>"
        )
    return text
