"""The page of percentile curves: what is drawn, that it needs nothing from outside, and that texts stay texts."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from bot4.cli.measure.harness import Samples
from bot4.cli.measure.page import bench_page

ABOUT = dict.fromkeys(("cpu", "kernel", "python", "numba", "numpy", "cpp"), "x")
ABOUT |= {"cores": 2, "cores_used": [0, 1], "repeats": 7, "quick": False}


def figures(scale: float, n: int = 1_000, **more) -> dict:
    taken = Samples("ns")
    taken.add_durations(scale * np.arange(1.0, n + 1), 0.0)
    return taken.summary() | more


def result() -> dict:
    return {
        "machine": dict(ABOUT),
        "limits": {"line_2": figures(0.5), "timer": figures(0.1), "cpp_hop": figures(0.6)},
        "suites": {
            "ring": {
                "hop": figures(1.0, limit="line_2", ratio=2.0, ratio_range=[1.9, 2.1], cpp_ratio=1.6),
                "rate": {"unit": "messages/s", "n": 9, "rate": 1e6, "limit": "line_2", "ratio": 0.5},
            },
            "peers": {"zeromq": figures(9.0, limit="line_2", ratio=18.0, peer=True, x_ring_kernel=9.0)},
        },
    }


class Page(HTMLParser):
    """Open elements are closed in order, and nothing is fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "path", "line", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_case_is_drawn_beside_the_limits_it_is_divided_by():
    page = bench_page(result())
    ring = page[page.index("<h2>ring</h2>") : page.index("<h2>peers</h2>")]
    paths = re.findall(r'<path class="(line[^"]*)"[^>]* d="M\d', ring)
    assert sorted(set(paths)) == ["line held", "line s0"]
    legend = re.findall(r"</svg>([a-z_0-9]+)</span>", ring)
    assert legend == ["line_2", "cpp_hop", "hop"]
    assert "1,000,000" in ring and "2 × line_2" in ring and "C++ 1.6 ×" in ring
    assert "ring_kernel 9 ×" in page


def test_nines_take_equal_room_and_times_are_logarithmic():
    page = bench_page(result())
    ring = page[page.index("<h2>ring</h2>") : page.index("<h2>peers</h2>")]
    places = {label: float(at) for at, label in re.findall(r'left:([\d.]+)%">(p[\d.]+)<', ring)}
    assert places["p90"] - places["p0"] == pytest.approx(places["p99"] - places["p90"], abs=0.02)
    assert 0 < places["p50"] < places["p90"] and places["p99.9"] == 100.0
    curve = next(path for path in re.findall(r'<path class="line s0" d="M([^"]+)"', ring) if "L" in path)
    points = np.array([[int(value) for value in point.split()] for point in curve.split("L")])
    assert (np.diff(points[:, 0]) > 0).all() and (np.diff(points[:, 1]) <= 0).all()  # y grows downwards


def test_the_page_needs_nothing_from_outside():
    page = bench_page(result())
    for tag, attributes in Page(page).seen:
        assert tag not in ("script", "link", "img", "iframe") and not {"src", "href", "onload"} & attributes.keys()
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_texts_stay_texts():
    hostile = "<script>alert(1)</script>"
    content = result()
    content["machine"]["cpu"] = hostile
    content["suites"]["ring"][hostile] = figures(3.0, limit="line_2", ratio=6.0)
    content["suites"][hostile] = {"a": figures(3.0, limit="timer", ratio=6.0)}
    page = bench_page(content)
    Page(page)
    assert "<script" not in page and page.count("&lt;script&gt;") >= 4


def test_many_cases_are_told_apart_and_a_suite_without_times_has_no_chart():
    content = result()
    content["suites"]["ring"] = {f"c{i}": figures(i + 1.0, limit="line_2", ratio=1.0) for i in range(12)}
    megabytes = figures(2.0, limit="line_2", ratio=0.5) | {"unit": "MB"}
    content["suites"]["peers"] = {"shard": megabytes}
    page = bench_page(content)
    ring = page[page.index("<h2>ring</h2>") : page.index("<h2>peers</h2>")]
    strokes = re.findall(r'<path class="(line s\d)"( stroke-dasharray="[\d ]+")? d="M\d+ \d+L', ring)
    assert len(set(strokes)) == 12
    assert "No times" in page and "1,002 MB" in page


def test_a_quick_run_says_so():
    content = result()
    assert "A quick run" not in bench_page(content)
    content["machine"]["quick"] = True
    assert "A quick run" in bench_page(content)


def test_a_curve_ends_where_the_samples_do():
    few, many = figures(1.0, 18)["curve"], figures(1.0, 100_000)["curve"]
    assert few[-1][0] == 0.9 and many[-1][0] == 0.99999
    for curve in (few, many):
        ratios, times = np.array(curve).T
        assert (np.diff(ratios) > 0).all() and (np.diff(times) >= 0).all()
    assert dict(map(tuple, many))[0.999] == figures(1.0, 100_000)["p99_9"]
