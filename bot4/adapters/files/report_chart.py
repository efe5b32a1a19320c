"""Charts as inline SVG that need no script, no font and no scaling of text.

Lines live in a stretched inner SVG with strokes that do not scale; marks, grid and labels are placed in per cent of the
outer one. So one piece of markup fits a wide screen and a phone, and prints. A script may add a cross-hair on top.
"""

import datetime as dt
import json
import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

BOX = 10_000  # side of the inner coordinate system
_TIME_STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 604_800, 2_592_000, 31_536_000,
)  # fmt: skip


class Axis(NamedTuple):
    """A span of values and the round ones among them that are labelled."""

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    def ratio(self, value: float) -> float:
        """Where `value` lies, 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


class Marks(NamedTuple):
    """Marks of one kind: their symbol's id, the reader's name, and where they stand."""

    symbol: str
    name: str
    ts_ns: np.ndarray
    value: np.ndarray
    label: Sequence[str]  # one text each


def value_axis(low: float, high: float, n_ticks: int = 4, margin: float = 0.06) -> Axis:
    """An axis around [low, high] with about `n_ticks` round ticks; a single value gets room on both sides."""
    span = high - low
    if span <= abs(high) * 1e-12 or span <= 0:
        span = abs(high) * 0.001 or 1.0
        low, high = low - span, high + span
        span = high - low
    low, high = low - span * margin, high + span * margin
    raw = (high - low) / max(1, n_ticks)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, decimals) != round(step, decimals + 1):
        decimals += 1
    first = math.ceil(low / step - 1e-9)
    ticks = tuple((first + i) * step for i in range(n_ticks * 3) if (first + i) * step <= high)
    return Axis(low, high, ticks, decimals)


def time_axis(start_ns: int, end_ns: int, n_ticks: int = 6) -> tuple[Axis, list[str]]:
    """An axis in seconds from `start_ns`, ticks at round UTC times, and their labels."""
    end_ns = max(end_ns, start_ns + 1_000_000_000)
    span_s = (end_ns - start_ns) / 1e9
    step = next((s for s in _TIME_STEPS_S if span_s / s <= n_ticks), _TIME_STEPS_S[-1] * math.ceil(span_s / 1.9e8))
    first = -(-start_ns // (step * 1_000_000_000)) * step
    seconds = [t for t in range(first, first + step * (n_ticks + 2), step) if t * 1_000_000_000 <= end_ns]
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86_400 else "%d %b %Y"
    if 60 <= step < 86_400 and span_s > 86_400:
        pattern = "%d %b %H:%M"
    labels = [utc(t * 1_000_000_000, pattern) for t in seconds]
    return Axis(0.0, span_s, tuple(t - start_ns / 1e9 for t in seconds), 0), labels


def utc(ts_ns: int, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time as UTC text."""
    moment = dt.datetime.fromtimestamp(ts_ns // 1_000_000_000, dt.UTC)
    return moment.strftime(pattern)


def true_minus(text: str) -> str:
    """A number's text with the typographic minus."""
    return text.replace("-", "\u2212")


def percent(ratio: float) -> str:
    """A place within the plot as SVG wants it."""
    return f"{ratio * 100:.2f}%"


def line_path(x: Axis, y: Axis, xs: np.ndarray, ys: np.ndarray, step: bool = False) -> str:
    """The path of a line (or of steps) in the inner coordinates."""
    px = np.rint((xs - x.low) / (x.high - x.low) * BOX).astype(np.int64).tolist()
    py = np.rint((y.high - ys) / (y.high - y.low) * BOX).astype(np.int64).tolist()
    if not px:
        return ""
    if not step:
        return "M" + "L".join(f"{a} {b}" for a, b in zip(px, py, strict=True))
    return f"M{px[0]} {py[0]}" + "".join(f"H{a}V{b}" for a, b in zip(px[1:], py[1:], strict=True))


def area_path(path: str, x: Axis, y: Axis, xs: np.ndarray, base: float) -> str:
    """`path` closed down (or up) to the value `base`."""
    if not path:
        return ""
    floor = round((y.high - base) / (y.high - y.low) * BOX)
    left, right = (round((value - x.low) / (x.high - x.low) * BOX) for value in (xs[0], xs[-1]))
    return f"{path}L{right} {floor}L{left} {floor}Z"


def grid(x: Axis, y: Axis, texts: Sequence[str]) -> str:
    """Grid lines and the labels of the value axis, which stand right of the plot."""
    parts = [
        f'<line class="grid" x1="{percent(x.ratio(t))}" x2="{percent(x.ratio(t))}" y1="0" y2="100%"/>' for t in x.ticks
    ]
    for tick, text in zip(y.ticks, texts, strict=True):
        at = percent(1 - y.ratio(tick))
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick" x="100%" dx="6" y="{at}" dy="4">{escape(text)}</text>')
    return "".join(parts)


def plot(x: Axis, y: Axis, layers: str, over: str = "", y_texts: Sequence[str] | None = None, css: str = "") -> str:
    """One plot: grid, stretched `layers` (paths in inner coordinates) and unstretched `over`."""
    if y_texts is None:
        y_texts = [f"{tick + 0.0:,.{y.decimals}f}" for tick in y.ticks]
    return (
        f'<svg class="plot {css}" role="img" focusable="false">{grid(x, y, y_texts)}'
        f'<svg width="100%" height="100%" viewBox="0 0 {BOX} {BOX}" preserveAspectRatio="none">{layers}</svg>'
        f"{over}</svg>"
    )


def marks_svg(x: Axis, y: Axis, start_ns: int, marks: Sequence[Marks]) -> str:
    """The marks, unscaled, at their places."""
    parts = []
    for kind in marks:
        for ts_ns, value in zip(kind.ts_ns.tolist(), kind.value.tolist(), strict=True):
            at_x, at_y = percent(x.ratio((ts_ns - start_ns) / 1e9)), percent(1 - y.ratio(value))
            parts.append(f'<use href="#{kind.symbol}" x="{at_x}" y="{at_y}"/>')
    return "".join(parts)


def time_labels(x: Axis, labels: Sequence[str]) -> str:
    """The labels under a plot; every other one gives way on a narrow screen."""
    shown = [(x.ratio(t), text) for t, text in zip(x.ticks, labels, strict=True) if 0.02 <= x.ratio(t) <= 0.98]
    spans = "".join(
        f'<span style="left:{percent(ratio)}"{" class=alt" if i % 2 else ""}>{escape(text)}</span>'
        for i, (ratio, text) in enumerate(shown)
    )
    return f'<div class="times" aria-hidden="true">{spans}</div>'


def chart(title: str, plots: str, times: str, data: dict | None) -> str:
    """A titled figure; `data` feeds the cross-hair."""
    script = f'<script type="application/json">{script_json(data)}</script>' if data else ""
    inside = f'<figcaption>{title}</figcaption><div class="area">{plots}</div>{times}{script}'
    return f'<figure class="chart">{inside}</figure>'


def script_json(data: object) -> str:
    """JSON that cannot leave the script element it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def rounded(values: np.ndarray, digits: int) -> list[float]:
    """Values as short numbers for the cross-hair."""
    return [round(value, digits) for value in values.tolist()]
