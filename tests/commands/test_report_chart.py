"""Line charts: where points land, what is thinned and what of it remains, and that no text ends an element early."""

import json
import re

import numpy as np
import pytest

from jaxgan.commands.report_chart import Series, json_script, line_chart, nice_ticks


def points_of(chart, shape="polyline", kind="line"):
    # The swatches of the legend are lines, not polylines.
    text = re.search(rf'<{shape} class="{kind} c0" points="([^"]*)"', chart)[1]
    return np.array([[float(number) for number in pair.split(",")] for pair in text.split()])


def data_of(chart):
    return json.loads(re.search(r'<script type="application/json">(.*)</script>', chart)[1])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.1, 0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3, 4, [-4, -2, 0, 2, 4]),
        (1000, 1800, [1000, 1200, 1400, 1600, 1800]),
        (50, 50, [44, 46, 48, 50, 52, 54, 56]),
        (0, 0, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_numbers_around_the_data(low, high, expected):
    np.testing.assert_allclose(nice_ticks(low, high), expected, atol=1e-12)


def test_ticks_enclose_whatever_they_are_given():
    rng = np.random.default_rng(0)
    for _ in range(200):
        low, high = np.sort(rng.standard_normal(2) * 10.0 ** rng.integers(-6, 7))
        ticks = nice_ticks(low, high)
        slack = 1e-8 * (high - low)
        assert ticks[0] <= low + slack and ticks[-1] >= high - slack and 3 <= len(ticks) <= 8
        np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6)


def test_points_lie_where_the_axes_say():
    chart = line_chart("t", [Series("a", [(0, 0.0), (50, 1.0), (100, 2.0)])])
    (left, bottom), (middle, center), (right, top) = points_of(chart)
    box = data_of(chart)["box"]
    assert (left, right) == (box[0], box[0] + box[2]) and (top, bottom) == (box[1], box[1] + box[3])
    assert middle == (left + right) / 2 and center == (top + bottom) / 2
    assert data_of(chart)["range"] == [0, 100, 0, 2]
    labels = re.findall(r'text-anchor="end">([^<]*)<', chart)
    assert labels[:5] == ["0", "0.5", "1", "1.5", "2"]


def test_one_point_and_equal_values_have_an_axis():
    for points in ([(7, 3.0)], [(0, 0.0), (5, 0.0)]):
        assert np.isfinite(points_of(line_chart("t", [Series("a", points)]))).all()


def test_a_long_line_is_averaged_and_keeps_its_range():
    values = np.sin(np.arange(5000))
    values[1234] = 9.0
    chart = line_chart("t", [Series("a", list(enumerate(values)))])
    assert len(points_of(chart)) == 400 and len(chart) < 60_000
    band = points_of(chart, "polygon", "band")
    assert len(band) == 800 and band[:, 1].min() < points_of(chart)[:, 1].min(), "the spike is in the band"
    y = np.array(data_of(chart)["series"][0]["y"])
    np.testing.assert_allclose(y[0], values[:13].mean(), rtol=1e-5)
    assert "circle" not in chart
    assert "polygon" not in line_chart("t", [Series("a", list(enumerate(values[:400])))])


def test_error_bars():
    chart = line_chart("t", [Series("a", [(0, 1.0), (1, 2.0)], [0.5, None])])
    first, second = re.search(r'class="error c0" d="M([^"]*)"', chart)[1].split("M")
    low, high = (float(part) for part in first.split(" ")[1].split("V"))
    (_, y), (_, other) = points_of(chart)
    assert low - y == pytest.approx(y - high, abs=0.11) and low - y > 20
    assert second.split(" ")[1] == f"{other:.1f}V{other:.1f}"
    assert data_of(chart)["range"][2:] == [0.5, 2]


def test_names_are_text():
    chart = line_chart("<b>t", [Series('"</script>&', [(0, 1.0)])])
    assert "<b>" not in chart and chart.count("</script>") == 1
    assert data_of(chart)["series"][0]["name"] == '"</script>&'
    assert json.loads(re.search(">(.*)<", json_script({"a": "<!--&"}))[1]) == {"a": "<!--&"}
    with pytest.raises(ValueError):
        json_script([float("nan")])


def test_large_ticks_fit_the_margin():
    chart = line_chart("norms", [Series("d", [(0, 0.0), (100, 4e9)])])
    ticks = re.findall(r'text-anchor="end">([^<]*)</text>', chart)
    assert "4e+09" in ticks and max(map(len, ticks)) <= 8
