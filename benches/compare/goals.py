"""The goals: what the engine must reach, against Open vSwitch or a named limit, in the same run.

A value that was not measured (a cell that failed or was left out) does not meet its goal.
"""

from dataclasses import dataclass

K, M = 1000, 1000 * 1000


class Medians:
    """The medians of a run, asked for by what the cell is."""

    def __init__(self, medians):
        self._values = {}
        for (engine, cell, metric), value in medians.items():
            key = (engine, cell.workload, cell.connections, cell.threads, cell.headers,
                   cell.family, cell.transport, metric)
            self._values[key] = value

    def get(self, engine, workload, connections, metric, *, threads=1, headers="cold",
            family="ipv4", transport="tcp"):
        return self._values.get((engine, workload, connections, threads, headers, family,
                                 transport, metric))


@dataclass(frozen=True)
class Goal:
    """'value' must be at least (or, if 'at_most', at most) 'target'; it may be None."""

    text: str
    value: float
    target: float
    unit: str = "x"
    at_most: bool = False

    def met(self):
        if self.value is None:
            return False
        return self.value <= self.target if self.at_most else self.value >= self.target


def quotient(a, b):
    return a / b if a is not None and b else None


def against_ovs(of, workload, connections, metric, **cell):
    """How many times less the engine needs than Open vSwitch."""
    return quotient(of.get("ovs", workload, connections, metric, **cell),
                    of.get("ctoffload", workload, connections, metric, **cell))


def scaling(of, workload, connections, rate):
    """Two threads' rate over one thread's, of the engine itself."""
    return quotient(of.get("ctoffload", workload, connections, rate, threads=2),
                    of.get("ctoffload", workload, connections, rate))


def size(n):
    return f"{n // M}M" if n >= M else f"{n // K}k"


def speed_goals(of):
    for n, target in ((K, 4.5), (100 * K, 10), (M, 12), (4 * M, 13)):
        yield Goal(f"E1 established TCP at {size(n)}",
                   against_ovs(of, "established", n, "ns_per_packet"), target)
    for n in (M, 4 * M):
        yield Goal(f"E1 at {size(n)}, of the machine's two-line limit",
                   quotient(of.get("ctoffload", "established", n, "ns_per_packet"),
                            of.get("limit", "established", n, "ns_per_packet")),
                   3, at_most=True)
    yield Goal("E1 two threads against one at 1M", scaling(of, "established", M, "mpps"), 1.95)
    yield Goal("E2 UDP at 1M",
               against_ovs(of, "established", M, "ns_per_packet", transport="udp"), 10)
    yield Goal("E2 IPv6 at 1M",
               against_ovs(of, "established", M, "ns_per_packet", family="ipv6"), 10)
    yield Goal("E3 set-up", against_ovs(of, "setup", M, "ns_per_connection"), 3)
    yield Goal("E3 set-up with two threads",
               against_ovs(of, "setup", M, "ns_per_connection", threads=2), 8)
    yield Goal("E3 two threads against one",
               scaling(of, "setup", M, "million_connections_per_second"), 1.9)
    yield Goal("E4 churn", against_ovs(of, "churn", M, "ns_per_connection"), 3)
    yield Goal("E7 misses", against_ovs(of, "miss", M, "ns_per_packet"), 8)
    yield Goal("second pass of a packet", against_ovs(of, "second", M, "ns_per_packet"), 3)
    yield Goal("E11 two threads on the same connections against one",
               scaling(of, "shared", M, "mpps"), 1.6)


def table_goals(of):
    yield Goal("E5 established batch beside a flood of a full table, of its time alone",
               quotient(of.get("ctoffload", "flood", M, "beside_mean_ns"),
                        of.get("ctoffload", "flood", M, "alone_mean_ns")), 1.1, at_most=True)
    yield Goal("E5 refused insert, of a plain one",
               quotient(of.get("ctoffload", "flood", M, "refused_ns"),
                        of.get("ctoffload", "flood", M, "insert_ns")), 2, at_most=True)
    for what in ("expiry", "flush", "growth", "dump"):
        yield Goal(f"E8 p99.9 of a batch beside {what}, of its median",
                   quotient(of.get("ctoffload", f"tail-{what}", M, "beside_p999_ns"),
                            of.get("ctoffload", f"tail-{what}", M, "beside_p50_ns")),
                   3, at_most=True)
    yield Goal("E8 longest insert while the table grows",
               of.get("ctoffload", "tail-growth", M, "longest_insert_us"), 100, "us",
               at_most=True)
    yield Goal("sweep, per live connection", against_ovs(of, "sweep", M, "live_ns"), 40)
    yield Goal("sweep, per expired connection", against_ovs(of, "sweep", M, "expired_ns"), 5)
    memory = (("TCP", {}, 160), ("UDP", {"transport": "udp"}, 160),
              ("IPv6", {"family": "ipv6"}, 256))
    for name, cell, target in memory:
        yield Goal(f"E9 bytes per {name} connection",
                   of.get("ctoffload", "memory", M, "bytes_per_connection", **cell), target,
                   "B", at_most=True)


def every(medians):
    of = Medians(medians)
    yield from speed_goals(of)
    yield from table_goals(of)


def ratios(medians):
    """Pairs of text and ratio to Open vSwitch, for the plot, with the ratio that is the goal."""
    of = Medians(medians)
    wanted = [goal for goal in speed_goals(of)
              if "limit" not in goal.text and "against one" not in goal.text]
    wanted += [goal for goal in table_goals(of) if goal.text.startswith("sweep")]
    return [(goal.text, goal.value, goal.target) for goal in wanted if goal.value is not None]


def judge(medians):
    """Prints every goal; gives how many are met, of how many."""
    met = count = 0
    for goal in every(medians):
        count += 1
        met += goal.met()
        value = "not measured" if goal.value is None else f"{goal.value:.2f} {goal.unit}"
        sign = "at most" if goal.at_most else "at least"
        print(f"{'met   ' if goal.met() else 'MISSED'}  {goal.text}: {value}"
              f" ({sign} {goal.target:g} {goal.unit})")
    return met, count
