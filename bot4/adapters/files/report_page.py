"""`session.html`: the session as one page that opens without a network, on a wide screen and on a phone.

Everything shown comes from the report object and the journal; style, charts and a small script stand inside the page,
and its content policy forbids any request. Every text from outside is escaped.
"""

from collections.abc import Sequence
from decimal import Decimal
from html import escape
from importlib.resources import files

import numpy as np

from bot4.adapters.files import report_chart as c
from bot4.adapters.files.report_facts import kind_of_market
from bot4.adapters.files.report_series import EquityCurve, Sample, closed_trips, equity_of, fills_of, samples_of, thin
from bot4.adapters.files.report_table import (
    assumption_table,
    input_tables,
    latency_section,
    machine_tables,
    position_table,
    refusal_table,
    sizing_table,
    trade_table,
)
from bot4.model.enums import LEG_FLATTEN, LEG_NAMES, LEG_STOP
from bot4.model.units import E8, decimal_string

MAX_MARKS = 250  # per kind and chart: more would hide the line
SMALL_FROM = 150  # fills of a chart from which marks are drawn small
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_SYMBOLS = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<path id="m-buy" class="mark buy" d="M0 1 L5.5 10.5 L-5.5 10.5 Z"/>'
    '<path id="m-sell" class="mark sell" d="M0 -1 L5.5 -10.5 L-5.5 -10.5 Z"/>'
    '<path id="m-stop" class="mark stopped" d="M0 -6 L6 0 L0 6 L-6 0 Z"/>'
    '<path id="m-buy-small" class="mark buy" d="M0 1 L3 6 L-3 6 Z"/>'
    '<path id="m-sell-small" class="mark sell" d="M0 -1 L3 -6 L-3 -6 Z"/>'
    '<path id="m-stop-small" class="mark stopped" d="M0 -3.5 L3.5 0 L0 3.5 L-3.5 0 Z"/></defs></svg>'
)
PROMISE = (
    "Past results promise nothing: this is one run under the assumptions stated, and it says nothing about what the "
    "same strategy will earn or lose tomorrow."
)


def session_page(report: dict, instruments: np.ndarray, keys: Sequence[str], records: np.ndarray) -> str:
    """The whole page.

    Parameters
    ----------
    report : what `session_object` returned
    instruments : INSTRUMENT[n]
    keys : the report's name of each instrument
    records : JOURNAL[m]
    """
    script = files("bot4.adapters.files").joinpath("report.js").read_text(encoding="utf-8")
    fills = fills_of(records)
    samples = [samples_of(records, i, int(row["tick_e8"])) for i, row in enumerate(instruments)]
    equity = equity_of(records)
    span = _span(samples, equity, fills)
    title = f"Bot4 {report['mode']} session: {', '.join(keys) or 'no instrument'}"
    body = [
        _header(report, keys, span),
        _cards(report),
        _equity_section(equity, span),
        *(_price_section(key, samples[i], fills, i, instruments[i], span) for i, key in enumerate(keys)),
        f"<section><h2>Positions and costs</h2>{position_table(report)}</section>",
        _trades(fills, instruments, keys),
        latency_section(report["latency_ns"]),
        f"<section><h2>Entries, by what decided their size</h2>{sizing_table(report)}</section>",
        f"<section><h2>Refusals, by reason</h2>{refusal_table(report)}</section>",
        f"<section><h2>Market data</h2>{input_tables(report)}</section>",
        f"<section><h2>Processes and machine</h2>{machine_tables(report)}</section>",
        f"<section><h2>Assumptions</h2><p>{PROMISE}</p>{assumption_table(report)}</section>",
        _footer(report),
    ]
    return document(title, _SYMBOLS, "\n".join(body), script)


def document(title: str, symbols: str, body: str, script: str = "") -> str:
    """A page around `body`, with this report's style; its content policy forbids any request.

    Parameters
    ----------
    title : text, escaped here
    symbols : markup of the symbols that the charts use, or ""
    body : markup
    script : "" for a page without one
    """
    style = files("bot4.adapters.files").joinpath("report.css").read_text(encoding="utf-8")
    ending = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>{symbols}<main>"
        f"{body}</main>\n{ending}</body></html>\n"
    )


def _span(samples: Sequence[Sample], equity: EquityCurve, fills: np.ndarray) -> tuple[int, int] | None:
    """First and last time of anything drawn."""
    times = [series.ts_ns for series in samples] + [equity.ts_ns, fills["ts_ns"]]
    times = [values for values in times if len(values)]
    if not times:
        return None
    return min(int(values.min()) for values in times), max(int(values.max()) for values in times)


def _header(report: dict, keys: Sequence[str], span: tuple[int, int] | None) -> str:
    feed, state, strategy = report["feed"], report["exit"], report["strategy"]
    facts = [("Market", kind_of_market(feed)), ("Feed", feed["source"])]
    if span:
        same_day = c.utc(span[0], "%F") == c.utc(span[1], "%F")
        facts.append(("Time (UTC)", f"{c.utc(span[0])} to {c.utc(span[1], '%T' if same_day else '%F %T')}"))
    pace = "by event time, deterministic" if report["pace"] == "event" else "free-running"
    facts += [("Pace", f"{pace}, speed {report['speed']}"), ("Strategy", strategy["name"] or "not named")]
    if feed["files"]:
        names = [name.replace("\\", "/").rsplit("/", 1)[-1] for name in feed["files"]]
        facts.append(("Files", ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")))
    rows = "".join(f"<li><span>{escape(name)}</span> <b>{escape(str(value))}</b></li>" for name, value in facts)
    banners = ""
    if feed["synthetic"]:
        banners += (
            '<p class="banner"><b>Synthetic market.</b> Prices and trades were generated from a seed, not recorded: '
            "the figures show that the machine works, not that a strategy does.</p>"
        )
    if report["warnings"]:
        warnings = "".join(f"<li>{escape(warning)}</li>" for warning in report["warnings"])
        banners += f'<div class="banner">Mind:<ul>{warnings}</ul></div>'
    if state["state"] != "done" or state["killed"] or state["breaker_open"]:
        banners += f'<p class="banner halt">{escape(_ending(state))}</p>'
    return (
        f"<header><h1>{escape(', '.join(keys) or 'No instrument')}: {escape(report['mode'])} session</h1>"
        f'<ul class="facts">{rows}</ul>{banners}</header>'
    )


def _ending(state: dict) -> str:
    parts = [f"The session ended as: {state['state']}."]
    if state["killed"]:
        parts.append(f"The kill switch was set{': ' + state['kill_reason'] if state['kill_reason'] else ''}.")
    if state["breaker_open"]:
        parts.append("The circuit breaker was open at the end.")
    return " ".join(parts)


def _card(name: str, figure: str, more: str, css: str = "") -> str:
    tone = "up" if css.endswith("up") else "down" if css.endswith("down") else ""
    return (
        f'<div class="card {css}"><div class="name">{escape(name)}</div>'
        f'<div class="figure {tone}">{escape(figure)}</div><div class="more">{escape(more)}</div></div>'
    )


def signed(amount: Decimal) -> str:
    """Money for the eye: two decimals, always with its sign."""
    return c.true_minus(f"{amount:+,.2f}") if round(amount, 2) else "0.00"


def _cards(report: dict) -> str:
    result, equity = report["result"], report["equity"]
    profit, start = Decimal(result["profit_after_fees"]), Decimal(equity["start"])
    share = c.true_minus(f" ({profit / start:+.3%})") if start else ""
    tone = "up" if profit > 0 else "down" if profit < 0 else ""
    ratio = "none closed" if result["win_ratio"] is None else f"{result['win_ratio']:.1%}"
    trips = f"{result['won']:,} of {result['round_trips']:,} round trips won"
    messages = sum(sum(kinds.values()) for kinds in report["messages"].values())
    cards = [
        _card("Profit after fees", signed(profit), f"on {start:,.2f}{share}", f"main {tone}"),
        _card("Fees paid", f"{Decimal(result['fees']):,.2f}", f"gross result {signed(Decimal(result['gross']))}"),
        _card("Win rate", ratio, trips),
        _card("Largest drawdown", f"{equity['max_drawdown_ratio']:.3%}", "below the high-water mark"),
        _card("Fills", f"{report['fills']:,}", f"{result['buys']:,} bought, {result['sells']:,} sold"),
        _card("Orders", f"{report['orders']:,}", f"from {report['intents']:,} intents and for stops"),
        _card("Stops triggered", f"{report['stops']['triggered']:,}", f"of {report['stops']['placed']:,} placed"),
        _card("Refusals", f"{sum(report['rejects'].values()):,}", f"for {len(report['rejects'])} reasons"),
        _card("Messages", f"{messages:,}", f"{report['throughput']['messages_per_s']:,.0f} per second"),
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _empty(text: str) -> str:
    return f'<div class="empty">{escape(text)}</div>'


def _series(name: str, xs: np.ndarray, ys: np.ndarray, digits: int, unit: str = "", step: bool = False) -> dict:
    return {
        "name": name, "x": c.rounded(xs, 3), "y": c.rounded(ys, digits), "digits": digits, "unit": unit, "step": step,
    }  # fmt: skip


def _equity_section(equity: EquityCurve, span: tuple[int, int] | None) -> str:
    if span is None or len(equity.ts_ns) < 2:
        return f"<section><h2>Equity</h2>{_empty('Too short for a curve: no samples were taken.')}</section>"
    x, labels = c.time_axis(*span)
    seconds = (equity.ts_ns - span[0]) / 1e9
    kept = thin(equity.equity)
    xs, ys = seconds[kept], equity.equity[kept]
    y = c.value_axis(float(ys.min()), float(ys.max()))
    path = c.line_path(x, y, xs, ys)
    start = round((y.high - ys[0]) / (y.high - y.low) * c.BOX)
    layers = (
        f'<path class="fill" d="{c.area_path(path, x, y, xs, y.low)}"/>'
        f'<path class="zero" d="M0 {start}H{c.BOX}"/><path class="line" d="{path}"/>'
    )
    times = c.time_labels(x, labels)
    data = {"start": span[0] // 1_000_000, "span": x.high, "series": [_series("equity", xs, ys, 2)]}
    charts = c.chart(
        "<b>Equity</b> quote currency, fees included; dashed: start", c.plot(x, y, layers, css="mid"), times, data
    )

    kept = thin(equity.drawdown)
    xs, ys = seconds[kept], equity.drawdown[kept] * 100
    y = c.value_axis(min(float(ys.min()), -0.001), 0.0, 3, 0.0)
    path = c.line_path(x, y, xs, ys)
    layers = f'<path class="fill fall" d="{c.area_path(path, x, y, xs, 0.0)}"/><path class="line fall" d="{path}"/>'
    texts = [c.true_minus(f"{tick + 0.0:.{y.decimals}f} %") for tick in y.ticks]
    data = {"start": span[0] // 1_000_000, "span": x.high, "series": [_series("drawdown", xs, ys, 4, " %")]}
    charts += c.chart("<b>Drawdown</b> below the high-water mark", c.plot(x, y, layers, "", texts, "low"), times, data)
    return f"<section><h2>Equity and drawdown</h2>{charts}</section>"


def _kinds(fills: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    stop = (fills["leg"] == LEG_STOP) | (fills["leg"] == LEG_FLATTEN)
    return [
        ("m-buy", "bought", fills[~stop & (fills["side"] > 0)]),
        ("m-sell", "sold", fills[~stop & (fills["side"] < 0)]),
        ("m-stop", "stop or flatten", fills[stop]),
    ]


def fill_text(fill: np.void, instrument: np.void) -> str:
    """One fill in words."""
    price = Decimal(int(fill["price_ticks"]) * int(instrument["tick_e8"])).scaleb(-8)
    lots = Decimal(int(fill["qty_lots"]) * int(instrument["lot_e8"])).scaleb(-8)
    leg = LEG_NAMES[int(fill["leg"])] if 0 <= fill["leg"] < len(LEG_NAMES) else "?"
    side = "bought" if fill["side"] > 0 else "sold"
    return f"{side} {decimal_string(lots)} at {price:,.{int(instrument['price_decimals'])}f} ({leg})"


def _price_section(
    key: str, sample: Sample, fills: np.ndarray, i: int, instrument: np.void, span: tuple[int, int] | None
) -> str:
    title = f"<h2>{escape(key)}</h2>"
    if span is None or len(sample.ts_ns) < 2:
        why = "No prices were sampled: its book was never whole, or the run was too short."
        return f"<section>{title}{_empty(why)}</section>"
    fills = fills[fills["instrument"] == i]
    tick = int(instrument["tick_e8"]) / E8
    x, labels = c.time_axis(*span)
    kept = thin(sample.mid)
    xs, ys = (sample.ts_ns[kept] - span[0]) / 1e9, sample.mid[kept]
    prices = np.append(ys, fills["price_ticks"] * tick)
    y = c.value_axis(float(prices.min()), float(prices.max()), 5, 0.08)
    marks, shown, total = [], [], {}
    for symbol, name, chosen in _kinds(fills):
        total[name] = len(chosen)
        drawn = chosen[thin(chosen["price_ticks"], MAX_MARKS)]
        texts = [fill_text(fill, instrument) for fill in drawn]
        size = "-small" if len(fills) >= SMALL_FROM else ""
        marks.append(c.Marks(symbol + size, name, drawn["ts_ns"], drawn["price_ticks"] * tick, texts))
        seconds = ((drawn["ts_ns"] - span[0]) / 1e9).tolist()
        shown += [[round(at, 3), text] for at, text in zip(seconds, texts, strict=True)]
    shown.sort(key=lambda mark: mark[0])
    offsets = (-6, 6, 0)  # the triangles hang from their tips
    legend = "".join(
        f'<span class="legend"><svg viewBox="-8 -8 16 16"><use href="#{symbol}" y="{offset}"/></svg>'
        f"{escape(name)} {total[name]:,}</span>"
        for (symbol, name, _), offset in zip(_kinds(fills), offsets, strict=True)
    )
    drawn_count = sum(len(kind.label) for kind in marks)
    if drawn_count < len(fills):
        legend += f"<span>{drawn_count:,} of {len(fills):,} fills drawn</span>"
    digits = int(instrument["price_decimals"])
    layers = f'<path class="line" d="{c.line_path(x, y, xs, ys)}"/>'
    plots = c.plot(x, y, layers, c.marks_svg(x, y, span[0], marks))

    held = sample.position * (int(instrument["lot_e8"]) / E8)
    kept = thin(held)
    hx, hy = (sample.ts_ns[kept] - span[0]) / 1e9, held[kept]
    reach = max(float(np.abs(hy).max()), int(instrument["lot_e8"]) / E8)
    low, high = (-reach if hy.min() < 0 else 0.0), (reach if hy.max() > 0 or hy.min() >= 0 else 0.0)
    hold = c.Axis(low * 1.15, high * 1.15, tuple(sorted({low, 0.0, high})), 0)
    path = c.line_path(x, hold, hx, hy, step=True)
    strip = f'<path class="fill held" d="{c.area_path(path, x, hold, hx, 0.0)}"/><path class="line held" d="{path}"/>'
    plots += c.plot(x, hold, strip, "", [c.true_minus(f"{value:.4g}") for value in hold.ticks], "strip")
    series = [
        _series("mid", xs, ys, digits + 1),
        _series("position", hx, hy, int(instrument["qty_decimals"]), step=True),
    ]
    data = {"start": span[0] // 1_000_000, "span": x.high, "marks": shown, "series": series}
    caption = f"<b>Mid price</b>{legend}<span>below: position</span>"
    return f"<section>{title}{c.chart(caption, plots, c.time_labels(x, labels), data)}</section>"


def _trades(fills: np.ndarray, instruments: np.ndarray, keys: Sequence[str]) -> str:
    trips = closed_trips(fills, instruments)
    rows = []
    for row, profit in trips:
        fill = fills[row]
        i = int(fill["instrument"])
        rows.append((int(fill["ts_ns"]), keys[i], fill_text(fill, instruments[i]), profit))
    if not rows:
        return ""
    rows.sort(key=lambda trip: trip[3])
    if len(rows) <= 12:
        return f"<section><h2>Round trips, worst to best</h2>{trade_table(rows)}</section>"
    tables = f"<h3>Worst</h3>{trade_table(rows[:5])}<h3>Best</h3>{trade_table(rows[:-6:-1])}"
    return f"<section><h2>Round trips: the worst and the best five of {len(rows):,}</h2>{tables}</section>"


def _footer(report: dict) -> str:
    digest = f"<p>Digest of all decisions and fills <code>{report['digest']}</code></p>" if report["digest"] else ""
    return f"<footer>{digest}<p>Machine-readable: <code>session.json</code> beside this page. {PROMISE}</p></footer>"
