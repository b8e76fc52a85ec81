"""The plots, as SVG written by hand: nothing but Python's own library is needed to draw them."""

import math
import os
from xml.sax.saxutils import escape

from results import K, M, size

COLOURS = {"ovs": "#b5392b", "ctoffload": "#1f6fb2", "limit": "#6b6b6b", "idle": "#9a9a9a",
           "goal": "#2e7d32"}
NAMES = {"ovs": "Open vSwitch", "ctoffload": "ctoffload", "limit": "two cache lines",
         "idle": "idle loop", "goal": "goal"}
INK, GRID = "#222222", "#dddddd"
TOP = 64


class Drawing:
    """Shapes, in the order in which they were drawn."""

    def __init__(self, width, height, title):
        self._size = (width, height)
        self._shapes = []
        self.text(width / 2, 22, title, anchor="middle", size=15)

    def line(self, points, colour, width=1.0, dashes=None):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                            f'stroke-width="{width}"{dashed}/>')

    def dot(self, x, y, colour, radius=3.5):
        self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def bar(self, x, y, width, height, colour):
        self._shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                            f'height="{height:.1f}" fill="{colour}"/>')

    def text(self, x, y, text, anchor="start", colour=INK, size=12):
        self._shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                            f'fill="{colour}" font-size="{size}">{escape(text)}</text>')

    def legend(self, x, names):
        """What the colours mean, in one row below the title."""
        for name in names:
            self.bar(x, 36, 11, 11, COLOURS[name])
            self.text(x + 16, 46, NAMES[name])
            x += 34 + 7.2 * len(NAMES[name])

    def write(self, path):
        width, height = self._size
        with open(path, "w") as file:
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
                       f'height="{height}" viewBox="0 0 {width} {height}" '
                       f'font-family="sans-serif">\n'
                       f'<rect width="{width}" height="{height}" fill="white"/>\n')
            file.write("\n".join(self._shapes))
            file.write("\n</svg>\n")


class Scale:
    """From values to places, linear or logarithmic, over whole steps around the values."""

    def __init__(self, values, first, last, logarithmic):
        self._first, self._last = first, last
        self._log = logarithmic
        if logarithmic:
            self.low = 10 ** math.floor(math.log10(min(values)))
            steps = [digit * 10 ** exponent for exponent in range(-1, 9) for digit in (1, 2, 5)]
            self.high = min(step for step in steps if step >= max(values))
            wide = self.high / self.low > 2000
            self.ticks = [step for i, step in enumerate(steps)
                          if self.low <= step <= self.high and not (wide and i % 3)]
        else:
            self.low = 0
            rough = max(values) / 5
            unit = 10 ** math.floor(math.log10(rough))
            step = min(unit * digit for digit in (1, 2, 5, 10) if unit * digit >= rough)
            self.high = step * math.ceil(max(values) / step)
            self.ticks = [step * i for i in range(round(self.high / step) + 1)]

    def __call__(self, value):
        if self._log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return self._first + share * (self._last - self._first)


def established(of, judged, path):
    """Time of an established packet over the number of connections, both axes logarithmic."""
    series = {engine: of.sizes(engine, "established", "ns_per_packet")
              for engine in ("ovs", "ctoffload", "limit")}
    series = {engine: points for engine, points in series.items() if points}
    goals = [(n, goal.theirs / goal.target)
             for n in (K, 100 * K, M, 4 * M) for goal in judged
             if goal.text == f"E1 established TCP at {size(n)}" and goal.theirs]
    points = [point for line in series.values() for point in line]
    if not points:
        return
    width, height, left, right, bottom = 760, 430, 70, 130, 56
    place_y = Scale([y for _, y in points + goals], height - bottom, TOP, True)
    least, most = (math.log(f(x for x, _ in points)) for f in (min, max))

    def place(x, y):
        across = (math.log(x) - least) / ((most - least) or 1)
        return left + across * (width - left - right), place_y(y)

    drawing = Drawing(width, height, "Established TCP over IPv4, one thread, headers cold")
    drawing.text(left, 46, "ns per packet")
    for tick in place_y.ticks:
        drawing.line([(left, place_y(tick)), (width - right, place_y(tick))], GRID)
        drawing.text(left - 8, place_y(tick) + 4, f"{tick:,g}", anchor="end")
    for x in sorted({x for x, _ in points}):
        drawing.text(place(x, place_y.low)[0], height - bottom + 20, size(x), anchor="middle")
    drawing.text(left + (width - left - right) / 2, height - 14, "connections", anchor="middle")
    for point in goals:
        x, y = place(*point)
        drawing.line([(x - 9, y), (x + 9, y)], COLOURS["goal"], 3)
    for engine, line in series.items():
        places = [place(*point) for point in line]
        drawing.line(places, COLOURS[engine], 2, "5 4" if engine == "limit" else None)
        for (x, y), (_, value) in zip(places, line):
            drawing.dot(x, y, COLOURS[engine])
            drawing.text(x, y - 8, f"{value:.{0 if value >= 10 else 1}f}", anchor="middle", colour=COLOURS[engine],
                         size=11)
    names = {NAMES[engine]: (COLOURS[engine], place(*line[-1])) for engine, line in series.items()}
    if goals:
        names[NAMES["goal"]] = (COLOURS["goal"], place(*goals[-1]))
    last = -math.inf
    for name, (colour, (x, y)) in sorted(names.items(), key=lambda item: item[1][1][1]):
        last = max(y + 4, last + 15)
        drawing.text(x + 18, last, name, colour=colour)
    drawing.write(path)


def ratios(_of, judged, path):
    """How many times faster than Open vSwitch, each with its goal as a mark."""
    values = [goal for goal in judged if goal.against_ovs and goal.value is not None]
    if not values:
        return
    row, left, width, right = 26, 240, 760, 70
    bottom = TOP + row * len(values)
    place = Scale([max(goal.value, goal.target) for goal in values], left, width - right, True)
    drawing = Drawing(width, bottom + 48, "How many times faster than Open vSwitch")
    drawing.legend(left, ("ctoffload", "goal"))
    for tick in place.ticks:
        drawing.line([(place(tick), TOP), (place(tick), bottom)], GRID)
        drawing.text(place(tick), bottom + 18, f"{tick:g}x", anchor="middle")
    for i, goal in enumerate(values):
        y = TOP + row * i
        start, end = sorted((place(1), place(goal.value)))
        drawing.text(left - 10, y + 17, goal.text, anchor="end")
        drawing.bar(start, y + 5, end - start, row - 10, COLOURS["ctoffload"])
        drawing.line([(place(goal.target), y + 1), (place(goal.target), y + row - 1)],
                     COLOURS["goal"], 3)
        drawing.text(max(end, place(goal.target)) + 8, y + 17, f"{goal.value:.1f}x")
    drawing.text((left + width - right) / 2, bottom + 38, "bar: reached; mark: the goal",
                 anchor="middle", size=11)
    drawing.write(path)


QUANTILES = ("p50", "p99", "p999")
TAILS = (("tail-expiry", "a million expire"), ("tail-flush", "a zone of a million is flushed"),
         ("tail-growth", "the table grows"), ("tail-dump", "connections are listed"),
         ("flood", "a full table is flooded"))


def tail_rows(of):
    """Lines of the plot of tails: a heading, or a name and what is drawn of it."""
    rows = []
    for workload, title in TAILS:
        lines = []
        for engine, phase, name in (("ovs", "beside", "ovs"), ("ctoffload", "beside", "ctoffload"),
                                    ("ctoffload", "beside_idle", "idle")):
            values = [of.get(engine, workload, M, f"{phase}_{quantile}_ns")
                      for quantile in QUANTILES]
            if None not in values:
                lines.append((name, [value / 1000 for value in values]))
        if lines:
            rows.append((f"while {title} on the other core", None))
            rows += lines
    return rows


def tails(of, _judged, path):
    """Time of a batch of 32 beside what the other core does, and of the idle loop meanwhile."""
    rows = tail_rows(of)
    if not rows:
        return
    row, left, width, right = 21, 120, 760, 40
    bottom = TOP + row * len(rows)
    place = Scale([value for _, values in rows if values for value in values], left,
                  width - right, True)
    drawing = Drawing(width, bottom + 54,
                      "Batch of 32 established packets, one million connections")
    drawing.text(width / 2, 46, "dots from left to right: median, 99 %, 99.9 %; mark: the goal for "
                 "99.9 %, three medians", anchor="middle", size=11)
    for tick in place.ticks:
        drawing.line([(place(tick), TOP), (place(tick), bottom)], GRID)
        drawing.text(place(tick), bottom + 18, f"{tick:,g}", anchor="middle")
    for i, (name, values) in enumerate(rows):
        y = TOP + row * i + row / 2
        if values is None:
            drawing.text(left - 108, y + 5, name, size=12)
            continue
        drawing.text(left - 10, y + 4, NAMES[name], anchor="end", colour=COLOURS[name], size=11)
        drawing.line([(place(values[0]), y), (place(values[-1]), y)], COLOURS[name], 2)
        for value in values:
            drawing.dot(place(value), y, COLOURS[name])
        if name == "ctoffload" and 3 * values[0] <= place.high:
            x = place(3 * values[0])
            drawing.line([(x, y - 8), (x, y + 8)], COLOURS["goal"], 3)
    drawing.text((left + width - right) / 2, bottom + 40, "microseconds", anchor="middle")
    drawing.write(path)


def grouped(groups, title, unit, path, logarithmic):
    """Bars of both engines for each name, and the goal where there is one.

    'groups' are triples of name, value by engine, and goal; values may be None.
    """
    groups = [(name, {engine: value for engine, value in values.items() if value}, goal)
              for name, values, goal in groups]
    numbers = [value for _, values, goal in groups for value in [*values.values(), goal or 0]
               if value]
    if not any(values for _, values, _ in groups):
        return
    width, height, left, right, bottom = 760, 360, 70, 20, 40
    place = Scale(numbers, height - bottom, TOP, logarithmic)
    drawing = Drawing(width, height, title)
    drawing.text(left - 60, 46, unit)
    drawing.legend(left + 170, ("ovs", "ctoffload", "goal"))
    for tick in place.ticks:
        drawing.line([(left, place(tick)), (width - right, place(tick))], GRID)
        drawing.text(left - 8, place(tick) + 4, f"{tick:,g}", anchor="end")
    step = (width - left - right) / len(groups)
    for i, (name, values, goal) in enumerate(groups):
        middle = left + step * (i + 0.5)
        drawing.text(middle, height - bottom + 20, name, anchor="middle")
        each = min(56, step * 0.36)
        for j, engine in enumerate(("ovs", "ctoffload")):
            if engine not in values:
                continue
            x = middle + (j - 1) * (each + 4)
            y = place(values[engine])
            drawing.bar(x, y, each, height - bottom - y, COLOURS[engine])
            drawing.text(x + each / 2, height - bottom - 7, f"{values[engine]:,.0f}",
                         anchor="middle", colour="white", size=11)
        if goal:
            drawing.line([(middle, place(goal)), (middle + each + 8, place(goal))],
                         COLOURS["goal"], 3)
    drawing.write(path)


def both(of, *arguments, **cell):
    return {engine: of.get(engine, *arguments, **cell) for engine in ("ovs", "ctoffload")}


def memory(of, judged, path):
    goals = {goal.text: goal.target for goal in judged}
    cells = (("TCP", {}), ("UDP", {"transport": "udp"}), ("TCP with NAT", {"nat": "nat"}),
             ("IPv6 TCP", {"family": "ipv6"}))
    grouped([(name, both(of, "memory", M, "bytes_per_connection", **cell),
              goals[f"E9 memory of a connection, {name}"]) for name, cell in cells],
            "Memory of a connection, all included, one million", "bytes", path, False)


def ports(of, _judged, path):
    groups = []
    for percent in (10, 90, 99):
        values = both(of, "ports", M, f"ns_at_{percent}")
        least = of.get("ctoffload", "ports", M, "ns_at_10")
        groups.append((f"{percent} % of the ports used", values,
                       5 * least if least and percent == 99 else None))
    grouped(groups, "First packet of a connection through SNAT to a range of ports", "ns", path,
            True)


def setup(of, judged, path):
    def goal(text):
        return next((goal.theirs / goal.target for goal in judged
                     if goal.text == text and goal.theirs), None)

    metric = "ns_per_connection"
    grouped([("set-up, one thread", both(of, "setup", M, metric), goal("E3 set-up")),
             ("set-up, two threads", both(of, "setup", M, metric, threads=2),
              goal("E3 set-up with two threads")),
             ("open, data, close", both(of, "churn", M, metric), goal("E4 churn"))],
            "A connection's set-up (3 packets) and whole life (8 packets), each thread",
            "ns per connection", path, False)


def all_of(of, judged, folder):
    """Draws every plot of which something was measured; 'judged' are the goals."""
    for draw in (established, ratios, tails, memory, ports, setup):
        draw(of, judged, os.path.join(folder, f"{draw.__name__}.svg"))
