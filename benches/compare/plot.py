"""The plots, as SVG written by hand: nothing but Python's own library is needed to draw them."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 50
COLOURS = {"ovs": "#b5392b", "ctoffload": "#1f6fb2", "limit": "#6b6b6b"}
NAMES = {"ovs": "Open vSwitch", "ctoffload": "ctoffload", "limit": "two cache lines"}


class Drawing:
    """Shapes, in the order in which they were drawn."""

    def __init__(self, width, height, title):
        self._size = (width, height)
        self._shapes = []
        self.text(width / 2, 22, title, anchor="middle", size=15)

    def line(self, points, colour, width=1.0):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                            f'stroke-width="{width}"/>')

    def dot(self, x, y, colour):
        self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')

    def bar(self, x, y, width, height, colour):
        self._shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                            f'height="{height:.1f}" fill="{colour}"/>')

    def text(self, x, y, text, anchor="start", colour="#222", size=12):
        self._shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                            f'fill="{colour}" font-size="{size}">{escape(text)}</text>')

    def write(self, path):
        width, height = self._size
        with open(path, "w") as file:
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
                       f'height="{height}" font-family="sans-serif">\n'
                       f'<rect width="{width}" height="{height}" fill="white"/>\n')
            file.write("\n".join(self._shapes))
            file.write("\n</svg>\n")


def series_of(medians, engine):
    """Pairs of connections and ns per packet, for established TCP over IPv4 on one thread."""
    return sorted((cell.connections, value) for (name, cell, metric), value in medians.items()
                  if name == engine and metric == "ns_per_packet"
                  and cell.workload == "established" and cell.threads == 1
                  and cell.headers == "cold" and cell.family == "ipv4"
                  and cell.transport == "tcp")


def established(medians, path):
    """Time of an established packet over the number of connections, both axes logarithmic."""
    series = {engine: series_of(medians, engine) for engine in COLOURS}
    points = [point for line in series.values() for point in line]
    if not points:
        return
    low_x, high_x = (math.log10(f(x for x, _ in points)) for f in (min, max))
    low_y, high_y = math.floor(math.log10(min(y for _, y in points))), \
        math.ceil(math.log10(max(y for _, y in points)))

    def place(x, y):
        across = (math.log10(x) - low_x) / ((high_x - low_x) or 1)
        up = (math.log10(y) - low_y) / (high_y - low_y)
        return (LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))

    drawing = Drawing(WIDTH, HEIGHT, "Established TCP packet, ns, one thread, headers cold")
    for exponent in range(low_y, high_y + 1):
        for digit in (1, 2, 5) if exponent < high_y else (1,):
            value = digit * 10 ** exponent
            x, y = place(10 ** low_x, value)
            drawing.line([(x, y), (WIDTH - RIGHT, y)], "#dddddd")
            drawing.text(x - 8, y + 4, f"{value:g}", anchor="end")
    for x in sorted({x for x, _ in points}):
        drawing.text(place(x, 1)[0], HEIGHT - BOTTOM + 20, f"{x:,}", anchor="middle")
    drawing.text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 10, "connections", anchor="middle")
    for engine, line in series.items():
        if line:
            places = [place(*point) for point in line]
            drawing.line(places, COLOURS[engine], 2)
            for x, y in places:
                drawing.dot(x, y, COLOURS[engine])
            drawing.text(places[-1][0] + 10, places[-1][1] + 4, NAMES[engine],
                         colour=COLOURS[engine])
    drawing.write(path)


def ratios(values, path):
    """How many times faster than Open vSwitch, each with its goal as a mark."""
    if not values:
        return
    row, left, width = 26, 250, 760
    scale = (width - left - 80) / max(max(value, target) for _, value, target in values)
    drawing = Drawing(width, TOP + row * len(values) + 30,
                      "Times faster than Open vSwitch (mark: the goal)")
    for i, (text, value, target) in enumerate(values):
        y = TOP + row * i
        drawing.text(left - 10, y + 15, text, anchor="end")
        drawing.bar(left, y + 3, value * scale, row - 8,
                    COLOURS["ctoffload"] if value >= target else COLOURS["ovs"])
        drawing.line([(left + target * scale, y), (left + target * scale, y + row - 2)], "#222", 2)
        drawing.text(left + max(value, target) * scale + 8, y + 15, f"{value:.1f}")
    drawing.write(path)
