"""The tables of docs/performance.md, made again from what was measured.

The page has places for them: everything between a line `<!-- figures: NAME -->` and the next
`<!-- end -->` is replaced. What stands around them is written by hand.
"""

import re

from plot import TAILS
from results import K, M, quotient, size

SIZES = (K, 100 * K, M, 4 * M)

# What was thought possible for established TCP on such a machine, ns, before the engine was written.
REFERENCE = {K: 30, 100 * K: 35, M: 50, 4 * M: 60}
ENGINES = ("ovs", "ctoffload")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def times(value):
    return "–" if value is None else f"{value:.1f}x"


def established(of):
    rows = []
    kinds = (("TCP", {}), ("TCP, headers warm", {"headers": "warm"}),
             ("UDP", {"transport": "udp"}), ("TCP over IPv6", {"family": "ipv6"}),
             ("TCP through SNAT", {"nat": "nat"}), ("TCP, two threads", {"threads": 2}))
    for name, cell in kinds:
        for n in SIZES:
            ovs, ours = (of.get(engine, "established", n, "ns_per_packet", **cell)
                         for engine in ENGINES)
            if ours is not None:
                limit = of.get("limit", "established", n, "ns_per_packet")
                rows.append([name, size(n), number(ovs), number(ours), times(quotient(ovs, ours)),
                             number(limit, 1), times(quotient(ours, limit)),
                             number(None if cell else REFERENCE[n])])
    return table(["established", "connections", "Open vSwitch, ns", "ctoffload, ns", "ratio",
                  "two lines, ns", "of two lines", "reference, ns"], rows)


def others(of):
    rows = []
    cells = [("packet of nobody (miss)", "miss", "ns_per_packet", {}),
             ("second pass of a packet", "second", "ns_per_packet", {}),
             ("same connections, one thread", "shared", "ns_per_packet", {}),
             ("same connections, two threads", "shared", "ns_per_packet", {"threads": 2}),
             ("set-up, one thread", "setup", "ns_per_connection", {}),
             ("set-up, two threads", "setup", "ns_per_connection", {"threads": 2}),
             ("of that the first packet", "setup", "ns_first_packet", {}),
             ("open, data, close, expiry", "churn", "ns_per_connection", {}),
             ("sweep, live connection", "sweep", "live_ns", {}),
             ("sweep, nothing is due", "sweep", "live_ns_nothing_due", {}),
             ("sweep, expired connection", "sweep", "expired_ns", {}),
             ("pauses between them, ms in all", "sweep", "expired_wait_ms", {})]
    for name, workload, metric, cell in cells:
        ovs, ours = (of.get(engine, workload, M, metric, **cell) for engine in ENGINES)
        rows.append([name, number(ovs, 1), number(ours, 1), times(quotient(ovs, ours))])
    return table(["at 1M, ns each", "Open vSwitch", "ctoffload", "ratio"], rows)


def scaling(of):
    rows = []
    for name, workload, rate in (("established", "established", "mpps"),
                                 ("established, same connections", "shared", "mpps"),
                                 ("set-up", "setup", "million_connections_per_second")):
        for engine, title in (("ovs", "Open vSwitch"), ("ctoffload", "ctoffload")):
            one, two = (of.get(engine, workload, M, rate, threads=threads) for threads in (1, 2))
            rows.append([name, title, number(one, 2), number(two, 2),
                         "–" if None in (one, two) else f"{two / one:.2f}x"])
    return table(["millions per second, at 1M", "", "one thread", "two threads", ""], rows)


def tails(of):
    rows = []
    for workload, title in (*TAILS, ("eviction", "the same with early drop")):
        for engine, name in (("ovs", "Open vSwitch"), ("ctoffload", "ctoffload")):
            if of.get(engine, workload, M, "beside_p50_ns") is None:
                continue
            for phase, what in (("alone", ", alone"), ("beside", ""), ("beside_idle", ", idle loop")):
                values = [of.get(engine, workload, M, f"{phase}_{quantile}_ns")
                          for quantile in ("p50", "p99", "p999")]
                rows.append([title, name + what, *(number(v and v / 1000, 2) for v in values),
                             number(of.get(engine, workload, M, f"{phase}_count"))])
    return table(["while", "us per batch of 32", "p50", "p99", "p99.9", "batches"], rows)


def flood(of):
    rows = []
    for engine, workload, name in (("ovs", "flood", "Open vSwitch, refuses"),
                                   ("ctoffload", "flood", "ctoffload, refuses"),
                                   ("ctoffload", "eviction", "ctoffload, evicts")):
        alone, beside, plain, flooded = (
            of.get(engine, workload, M, metric)
            for metric in ("alone_ns_per_packet", "beside_ns_per_packet", "insert_ns", "flooded_ns"))
        rows.append([name, number(alone, 1), number(beside, 1),
                     "–" if None in (alone, beside) else f"{100 * (1 - alone / beside):.1f} %",
                     number(plain), number(flooded), times(quotient(flooded, plain))])
    return table(["full table", "established alone, ns", "beside the flood, ns", "rate lost",
                  "plain insert, ns", "insert of the flood, ns", "of a plain one"], rows)


def ports(of):
    rows = []
    for percent in (10, 90, 99):
        row = [f"{percent} %"]
        for engine in ENGINES:
            row += [number(of.get(engine, "ports", M, f"ns_at_{percent}")),
                    number(of.get(engine, "ports", M, f"gave_up_percent_at_{percent}"), 1) + " %"]
        rows.append(row)
    return table(["ports used", "Open vSwitch, ns", "gave up", "ctoffload, ns", "gave up"], rows)


def memory(of):
    cells = (("TCP", M, {}), ("TCP", 4 * M, {}), ("UDP", M, {"transport": "udp"}),
             ("TCP with NAT", M, {"nat": "nat"}),
             ("UDP with NAT", M, {"transport": "udp", "nat": "nat"}),
             ("TCP over IPv6", M, {"family": "ipv6"}))
    rows = []
    for name, n, cell in cells:
        ovs, ours = (of.get(engine, "memory", n, "bytes_per_connection", **cell)
                     for engine in ENGINES)
        if ours is not None:
            rows.append([name, size(n), number(ovs), number(ours), times(quotient(ovs, ours))])
    return table(["bytes per connection", "connections", "Open vSwitch", "ctoffload", "ratio"], rows)


def fastpath(of):
    rows = []
    for name, workload, n in (("flow table", "flow-table", K), ("flow table", "flow-table", 100 * K),
                              ("flow table", "flow-table", M),
                              ("merged flows, three zones", "merged", 10 * K)):
        fast, slow, found = (of.get("ctoffload", workload, n, metric)
                             for metric in ("ns_per_packet", "tracked_ns_per_packet",
                                            "found_percent"))
        if fast is not None:
            rows.append([name, size(n), number(slow, 1), number(fast, 1),
                         times(quotient(slow, fast)), f"{found:.1f} %"])
    return table(["", "connections", "by the tracker, ns", "by it, ns", "ratio", "found"], rows)


def instructions(of):
    names = ("established-tcp4", "established-tcp6", "established-udp4", "established-udp6",
             "established-nat4", "second-tcp4", "miss-tcp4", "setup-tcp4", "setup-tcp6",
             "setup-udp4", "setup-nat4", "refused-udp4", "evicting-udp4", "sweep-live",
             "sweep-expired")
    rows = []
    for name in names:
        ovs, ours = (of.get(engine, f"count-{name}", 1024, "instructions") for engine in ENGINES)
        offload = of.get("ctoffload", f"count-{name}", 1024, "instructions_for_offload")
        rows.append([name, number(ovs), number(ours), times(quotient(ovs, ours)),
                     number(offload, 1)])
    return table(["instructions", "Open vSwitch", "ctoffload", "ratio",
                  "of ours in code for offload"], rows)


def profile(of):
    """Where the engine's instructions are spent, by the rooms of its source."""
    names = ("established-tcp4", "established-tcp6", "established-nat4", "second-tcp4", "miss-tcp4",
             "setup-tcp4", "sweep-expired")
    rooms = (("ffi", "the C interface (`ffi`)"), ("packet", "headers (`packet`)"),
             ("tuple", "key and hash (`tuple`)"), ("table", "index and records (`table`)"),
             ("sync", "locks, atomics (`sync`)"), ("track", "state machines (`track`)"),
             ("nat", "translation (`nat`)"), ("engine", "stages, verdict (`engine`)"),
             ("offload", "offload (`offload`)"))

    def share(name, room):
        parts = [of.get("ctoffload", f"count-{name}", 1024, metric)
                 for metric in (f"instructions_in_{room}", "instructions")]
        return "" if None in parts else f"{100 * parts[0] / parts[1]:.0f} %"

    return table(["share of instructions", *names],
                 [[title, *(share(name, room) for name in names)] for room, title in rooms])


def goals_table(judged):
    def reached(goal):
        return goal.reached() + (f" ({goal.note})" if goal.note else "")

    return table(["goal", "wanted", "reached", ""],
                 [[goal.text, goal.wanted(), reached(goal), "met" if goal.met() else "**missed**"]
                  for goal in judged])


TABLES = (established, others, scaling, tails, flood, ports, memory, fastpath, instructions,
          profile)


def rewrite(path, of, judged, rounds):
    """Replaces every table of the page."""
    made = {of_what.__name__: of_what(of) for of_what in TABLES}
    made["goals"] = goals_table(judged)
    met = sum(goal.met() for goal in judged)
    made["count"] = (f"{met} of {len(judged)} goals met; medians of {rounds} "
                     f"{'rounds' if rounds > 1 else 'round'}.")
    with open(path) as file:
        text = file.read()

    def block(match):
        name = match[1]
        return f"<!-- figures: {name} -->\n{made.pop(name)}\n<!-- end -->"

    text = re.sub(r"<!-- figures: (\w+) -->\n.*?<!-- end -->", block, text, flags=re.DOTALL)
    if made:
        raise SystemExit(f"{path} has no place for {', '.join(made)}")
    with open(path, "w") as file:
        file.write(text)
