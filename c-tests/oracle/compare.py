#!/usr/bin/env python3
"""Compares the tracker with two that nobody of this project wrote, over a folder of captures.

    CTOFFLOAD_CAPTURES=FOLDER c-tests/oracle/compare.py [--oracle ovs|kernel] [--only TEXT]

Every capture in the folder is given to Open vSwitch's userspace datapath (profile ovs) and to the
Linux kernel (profile kernel), and to `ctoffload replay`; verdicts are compared packet by packet, the
tables that are left connection by connection. What differs must be a row of docs/differences.md,
where its reason stands; anything else is printed, and the exit status is 1.

Once a packet was judged differently, the later packets and the final entry of its connection differ
too, as a rule. Those are counted as consequences and not judged again.

What the foreign trackers said is kept in a cache (CTOFFLOAD_ORACLE_CACHE, by default target/oracle),
so only the first run needs them. Open vSwitch is either installed (openvswitch-switch) or built from
its source package: then CTOFFLOAD_OVS_SOURCE and CTOFFLOAD_OVS_BUILD name the two folders. The kernel
oracle needs root.
"""

import argparse
import collections
import hashlib
import json
import os
import subprocess
import sys

import capture
import checksum
import differences
import kernel
import ours
import ovs

ORACLES = {"ovs": ovs.Oracle, "kernel": kernel.Oracle}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Judge:
    """One oracle behind its cache. The oracle itself is started only when it is needed."""

    def __init__(self, name, cache, repair):
        self._repair = repair
        self._kind = ORACLES[name]
        self._oracle = None
        self._cache = os.path.join(cache, f"{name}-{self._kind.version}"
                                   + ("-repaired" if repair else ""))
        os.makedirs(self._cache, exist_ok=True)

    def packets(self, path):
        """The packets of a capture that this oracle can be asked about."""
        accepts = getattr(self._kind, "accepts", None)
        found = [packet for packet in capture.packets(path) if not accepts or accepts(packet)]
        if self._repair:
            for packet in found:
                packet.data = checksum.repaired(packet.data)
        self._set_times(found)
        return found

    def _set_times(self, packets):
        """Times that move only in steps worth a move of the oracle's clock, the same for both sides.

        An oracle whose clock cannot be moved gets all packets at once, a microsecond apart.
        """
        now = capture.BEGIN_NS
        for packet in packets:
            if self._kind.time_step_ms is None:
                now += 1000
            elif packet.time_ns - now >= self._kind.time_step_ms * 10**6:
                now = packet.time_ns // 10**6 * 10**6
            packet.time_ns = now

    def ask(self, path, packets):
        with open(path, "rb") as file:
            name = hashlib.sha256(file.read()).hexdigest()
        kept = os.path.join(self._cache, f"{name}.json")
        if os.path.exists(kept):
            with open(kept) as file:
                return json.load(file)
        if self._oracle is None:
            self._oracle = self._kind()
        answer = self._oracle.ask(packets)
        unfinished = f"{kept}.{os.getpid()}"
        with open(unfinished, "w") as file:
            json.dump(answer, file)
        os.replace(unfinished, kept)
        return answer

    def close(self):
        if self._oracle is not None:
            self._oracle.close()


def captures(folder, only):
    """Every capture below a folder, by what the files begin with."""
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(where, name)
            if only in path and next(capture.frames(path), None) is not None:
                yield path


def report(path, difference):
    print(f"{path}: {difference.text()}")


def compare(judge, profile, paths, known, options):
    """Compares capture after capture; the tally of what was found."""
    tally = collections.Counter()
    for path in paths:
        packets = judge.packets(path)
        if not packets:
            continue
        theirs = judge.ask(path, packets)
        tally["captures"] += 1
        tally["packets"] += sum(verdict is not None for verdict in theirs["verdicts"])
        tally["connections"] += len(theirs["table"])
        if options.ask_only:
            continue
        mine = ours.replay(options.program, profile, packets)
        found, consequences = differences.between(packets, theirs, mine, profile)
        tally["consequences"] += consequences
        for difference in found:
            row = differences.explain(known, profile, difference)
            if row is None:
                tally["unexplained"] += 1
                report(os.path.relpath(path, options.folder), difference)
            else:
                tally[f"known {row.name}"] += 1
                if options.verbose:
                    report(f"{row.name} {os.path.relpath(path, options.folder)}", difference)
    return tally


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", choices=sorted(ORACLES), action="append")
    parser.add_argument("--only", default="", help="captures whose path has this text")
    parser.add_argument("--every", type=int, default=1, help="every n-th capture only")
    parser.add_argument("--repair", action="store_true",
                        help="make all checksums right before anybody sees the packets")
    parser.add_argument("--ask-only", action="store_true", help="fill the cache, compare nothing")
    parser.add_argument("--verbose", action="store_true", help="print known differences too")
    parser.add_argument("--program", default=os.environ.get(
        "CTOFFLOAD", os.path.join(ROOT, "target", "release", "ctoffload")))
    options = parser.parse_args()

    options.folder = os.environ.get("CTOFFLOAD_CAPTURES")
    if not options.folder:
        print("skipped: CTOFFLOAD_CAPTURES names no folder of captures")
        return 0
    cache = os.environ.get("CTOFFLOAD_ORACLE_CACHE", os.path.join(ROOT, "target", "oracle"))
    known = differences.read(os.path.join(ROOT, "docs", "differences.md"))
    paths = list(captures(options.folder, options.only))[::options.every]
    status = 0
    for name in options.oracle or sorted(ORACLES):
        judge = Judge(name, cache, options.repair)
        try:
            tally = compare(judge, ORACLES[name].profile, paths, known, options)
        except (ovs.Missing, kernel.Missing) as missing:
            print(f"{name}: skipped: {missing}")
            continue
        except subprocess.CalledProcessError as error:
            print(f"{name}: {error} {error.stderr or ''}")
            status = 1
            continue
        finally:
            judge.close()
        print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in sorted(tally.items())))
        status |= tally["unexplained"] > 0
    return status


if __name__ == "__main__":
    sys.exit(main())
