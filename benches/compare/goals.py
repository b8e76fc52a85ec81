"""The goals: what the engine must reach, against Open vSwitch or a named limit, in the same run.

A value that was not measured (a cell that failed or was left out) does not meet its goal.
"""

from dataclasses import dataclass

from results import K, M, quotient, size


@dataclass(frozen=True)
class Goal:
    """'value' must be at least (or, if 'at_most', at most) 'target'; it may be None.

    With 'against_ovs' the value is a ratio to Open vSwitch, which needed 'theirs', ns. 'note' says what
    the value is to be read beside.
    """

    text: str
    value: float
    target: float
    unit: str = "x"
    at_most: bool = False
    against_ovs: bool = False
    theirs: float = None
    note: str = ""

    def met(self):
        if self.value is None:
            return False
        return self.value <= self.target if self.at_most else self.value >= self.target

    def reached(self):
        return "not measured" if self.value is None else f"{self.value:.2f} {self.unit}"

    def wanted(self):
        return f"{'at most' if self.at_most else 'at least'} {self.target:g} {self.unit}"

    def __str__(self):
        return (f"{'met   ' if self.met() else 'MISSED'}  {self.text}: {self.reached()}"
                f" ({self.wanted()}){f'; {self.note}' if self.note else ''}")


def faster(text, of, workload, connections, metric, target, **cell):
    """The engine must need so many times less than Open vSwitch."""
    theirs = of.get("ovs", workload, connections, metric, **cell)
    ours = of.get("ctoffload", workload, connections, metric, **cell)
    note = "" if None in (ours, theirs) else f"{ours:.1f} ns against {theirs:.1f}"
    return Goal(text, quotient(theirs, ours), target, against_ovs=True, theirs=theirs, note=note)


def scaling(text, of, workload, rate, target):
    """Two threads' rate over one thread's, of the engine itself, at a million connections."""
    return Goal(text, quotient(of.get("ctoffload", workload, M, rate, threads=2),
                               of.get("ctoffload", workload, M, rate)), target)


def at_most(text, value, target, unit="x", note=""):
    return Goal(text, value, target, unit, at_most=True, note=note)


def tail(of, workload, phase):
    """The 99.9 % of a histogram over its median."""
    return quotient(*(of.get("ctoffload", workload, M, f"{phase}_{quantile}_ns")
                      for quantile in ("p999", "p50")))


def packet_goals(of):
    for n, target in ((K, 4.5), (100 * K, 10), (M, 12), (4 * M, 13)):
        yield faster(f"E1 established TCP at {size(n)}", of, "established", n, "ns_per_packet",
                     target)
    for n in (M, 4 * M):
        ours = of.get("ctoffload", "established", n, "ns_per_packet")
        limit = of.get("limit", "established", n, "ns_per_packet")
        yield at_most(f"E1 at {size(n)}, of the machine's two-line limit",
                      quotient(ours, limit), 3)
    yield scaling("E1 two threads against one at 1M", of, "established", "mpps", 1.95)
    yield faster("E2 UDP at 1M", of, "established", M, "ns_per_packet", 10, transport="udp")
    yield faster("E2 IPv6 at 1M", of, "established", M, "ns_per_packet", 10, family="ipv6")
    yield faster("E2 through NAT at 1M", of, "established", M, "ns_per_packet", 10, nat="nat")
    yield faster("E7 misses", of, "miss", M, "ns_per_packet", 8)
    yield faster("second pass of a packet", of, "second", M, "ns_per_packet", 3)
    yield scaling("E11 two threads on the same connections against one", of, "shared", "mpps",
                  1.6)


def lifecycle_goals(of):
    yield faster("E3 set-up", of, "setup", M, "ns_per_connection", 3)
    yield faster("E3 set-up with two threads", of, "setup", M, "ns_per_connection", 8, threads=2)
    yield scaling("E3 two threads against one", of, "setup", "million_connections_per_second", 1.9)
    yield faster("E4 churn", of, "churn", M, "ns_per_connection", 3)
    for workload, insert in (("flood", "refused"), ("eviction", "evicting")):
        alone, beside, flooded, plain = (
            of.get("ctoffload", workload, M, metric)
            for metric in ("alone_ns_per_packet", "beside_ns_per_packet", "flooded_ns", "insert_ns"))
        kept = quotient(alone, beside)
        yield at_most(f"E5 established rate lost beside {insert} inserts",
                      None if kept is None else 100 * (1 - kept), 10, "%")
        yield at_most(f"E5 {insert} insert, of a plain one", quotient(flooded, plain), 2)
    yield at_most("E6 SNAT set-up with ports used to 99 %, of that at 10 %",
                  quotient(of.get("ctoffload", "ports", M, "ns_at_99"),
                           of.get("ctoffload", "ports", M, "ns_at_10")), 5)


def table_goals(of):
    for what in ("expiry", "flush", "growth", "dump"):
        idle = tail(of, f"tail-{what}", "beside_idle")
        yield at_most(f"E8 p99.9 of a batch beside {what}, of its median",
                      tail(of, f"tail-{what}", "beside"), 3,
                      note="" if idle is None else f"an idle loop's then: {idle:.2f} x")
    yield at_most("E8 longest insert while the table grows",
                  of.get("ctoffload", "tail-growth", M, "longest_insert_us"), 100, "us")
    yield faster("sweep, per live connection", of, "sweep", M, "live_ns", 40)
    yield faster("sweep, per expired connection", of, "sweep", M, "expired_ns", 5)
    yield at_most("sweep, pauses until a million expired connections are gone",
                  of.get("ctoffload", "sweep", M, "expired_wait_ms"), 0, "ms")
    for name, cell, target in (("TCP", {}, 160), ("UDP", {"transport": "udp"}, 160),
                               ("TCP with NAT", {"nat": "nat"}, 240),
                               ("IPv6 TCP", {"family": "ipv6"}, 256)):
        yield at_most(f"E9 memory of a connection, {name}",
                      of.get("ctoffload", "memory", M, "bytes_per_connection", **cell), target,
                      "B")
    yield at_most("no provider registered: share of an established packet's instructions",
                  share_for_offload(of), 1, "%")


def share_for_offload(of):
    """Percent of the instructions that are of files and functions for offload and merged flows."""
    def counted(metric):
        return of.get("ctoffload", "count-established-tcp4", 1024, metric)

    share = quotient(counted("instructions_for_offload"), counted("instructions"))
    return None if share is None else 100 * share


def every(of):
    yield from packet_goals(of)
    yield from lifecycle_goals(of)
    yield from table_goals(of)
