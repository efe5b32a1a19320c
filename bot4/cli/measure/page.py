"""`--html`: the percentile curves as one page that opens without a network.

Percentiles stand on a scale of 1 / (1 - p), so that each nine takes the same room; times are logarithmic. A case is a
coloured line, the limits that its suite is divided by are grey. Style and drawing are those of the session report.
"""

import math
from html import escape
from typing import Any

import numpy as np

from bot4.adapters.files import report_chart as c
from bot4.adapters.files.report_page import document
from bot4.adapters.files.report_table import duration, table

_DASHES = ("", "6 3", "2 3")  # after each round of the five colours
_COLOURS = 5
_LIMIT_DASHES = ("8 4", "2 2", "12 3 2 3")
_WORST = 0.00001  # the rarest event that is drawn, where a suite has so many samples
_LEAST_NS = 0.01
_FIRST_TEXT = 8  # column of the tables from which words stand, set left
_READING = (
    "Each percentile is the median of the repeats, the maximum is the worst of all samples. Grey, broken lines are the "
    "limits, measured in the same run."
)
_PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")


def bench_page(result: dict[str, Any]) -> str:
    """The whole page from what `--json` writes."""
    about = result["machine"]
    facts = [
        ("Processor", f"{about['cpu']}, {about['cores']} cores, used {about['cores_used']}"),
        ("System", about["kernel"]),
        ("Versions", f"Python {about['python']}, Numba {about['numba']}, NumPy {about['numpy']}"),
        ("C++", about["cpp"]),
        ("Repeats", f"{about['repeats']}, interleaved"),
    ]
    listed = "".join(f"<li><span>{escape(name)}</span> <b>{escape(str(value))}</b></li>" for name, value in facts)
    quick = '<p class="banner">A quick run: the repeats are too few and too short for figures.</p>'
    body = [
        f'<header><h1>Bot4 bench</h1><ul class="facts">{listed}</ul>{quick if about["quick"] else ""}',
        f'<p class="note facts">{_READING}</p></header>',
        *(_section(name, cases, result["limits"]) for name, cases in result["suites"].items()),
        f"<section><h2>Limits of this machine</h2>{_table(result['limits'])}</section>",
    ]
    return document("Bot4 bench", "", "\n".join(body))


def _section(name: str, cases: dict[str, Any], limits: dict[str, Any]) -> str:
    """One suite: its curves and its table."""
    named = dict.fromkeys(figures["limit"] for figures in cases.values())
    twins = [f"cpp_{case}" for case, figures in cases.items() if "cpp_ratio" in figures]
    beside = {limit: limits[limit] for limit in (*named, *twins) if limit in limits}
    drawn = _chart(_curves(cases), _curves(beside))
    return f"<section><h2>{escape(name)}</h2>{drawn}{_table(cases)}</section>"


def _curves(cases: dict[str, Any]) -> dict[str, np.ndarray]:
    """Name to points (nines, power of ten of ns); only what is a time and has a curve."""
    curves = {}
    for name, figures in cases.items():
        if figures["unit"] == "ns" and len(figures.get("curve", ())) > 1:
            ratio, ns = np.array(figures["curve"], float).T
            curves[name] = np.array([-np.log10(np.maximum(1 - ratio, _WORST)), np.log10(np.maximum(ns, _LEAST_NS))])
    return curves


def _chart(cases: dict[str, np.ndarray], limits: dict[str, np.ndarray]) -> str:
    if not cases:
        return '<div class="empty">No times, so no distribution to draw.</div>'
    every = np.concatenate([*cases.values(), *limits.values()], axis=1)
    low, high = math.floor(every[1].min()), math.ceil(every[1].max())
    y = c.Axis(low - 0.05, max(high, low + 1) + 0.05, tuple(float(power) for power in range(low, high + 1)), 0)
    nines = max(1, math.ceil(every[0].max() - 1e-9))
    x = c.Axis(0.0, float(nines), (0.0, math.log10(2), *(float(nine) for nine in range(1, nines + 1))), 0)
    layers = legend = ""
    for i, (name, points) in enumerate(limits.items()):
        dash = f' stroke-dasharray="{_LIMIT_DASHES[i % len(_LIMIT_DASHES)]}"'
        layers += f'<path class="line held"{dash} d="{c.line_path(x, y, *points)}"/>'
        legend += _key("line held", dash, name)
    for i, (name, points) in enumerate(cases.items()):
        dash = _DASHES[i // _COLOURS % len(_DASHES)]
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        layers += f'<path class="line s{i % _COLOURS}"{dash} d="{c.line_path(x, y, *points)}"/>'
        legend += _key(f"line s{i % _COLOURS}", dash, name)
    texts = [duration(10**power) for power in y.ticks]
    places = "".join(
        f'<span style="left:{c.percent(x.ratio(nine))}">{label}</span>'
        for nine, label in zip(x.ticks, ("p0", "p50", *(_nine(n) for n in range(1, nines + 1))), strict=True)
    )
    return c.chart(legend, c.plot(x, y, layers, "", texts), f'<div class="times">{places}</div>', None)


def _nine(nines: int) -> str:
    return f"p{100 - 100 / 10**nines:.{max(0, nines - 2)}f}"


def _key(css: str, dash: str, name: str) -> str:
    line = f'<svg viewBox="0 0 14 14"><path class="{css}"{dash} d="M0 7H14"/></svg>'
    return f'<span class="legend">{line}{escape(name)}</span>'


def _table(cases: dict[str, Any]) -> str:
    """The figures of a suite, or of the limits, which have no limit themselves."""
    rows = []
    for name, figures in cases.items():
        unit = figures["unit"]
        values = [figures.get(key) for key in _PERCENTILES]
        if unit == "ns":
            shown = [duration(value) if value is not None else "" for value in values]
        else:
            shown = [f"{value:,.4g} {escape(unit)}" if value is not None else "" for value in values]
        rate = f"{figures['rate']:,.0f} {escape(unit)}" if "rate" in figures else ""
        ratio = f"{figures['ratio']:,.4g} × {escape(figures['limit'])}" if "ratio" in figures else ""
        faster = {key[2:]: figures[key] for key in figures if key.startswith("x_")}
        if "cpp_ratio" in figures:
            faster["C++"] = 1 / figures["cpp_ratio"] if "rate" in figures else figures["cpp_ratio"]
        others = [f'<span class="stage">{escape(other)} {times:,.4g} ×</span>' for other, times in faster.items()]
        rows.append([f"<b>{escape(name)}</b>", f"{figures['n']:,}", *shown, rate, ratio, "<br>".join(others)])
    heads = (
        "Case",
        "Samples",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "Max",
        "Rate",
        "Ratio to its limit",
        "Others, times as fast",
    )
    kept = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    right = [place for place, column in enumerate(kept) if 0 < column < _FIRST_TEXT]
    return table([heads[column] for column in kept], [[row[column] for column in kept] for row in rows], right)
