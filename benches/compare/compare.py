#!/usr/bin/env python3
"""Runs every cell of the comparison, and says which goals are met.

A cell is one workload at one size; each run of it is a process of its own, and the engines take
turns, round after round, so that a slow minute of the machine hits both. What is kept is the median.

Writes results.csv and the plots to --out and prints the CSV; the last line is "N of M goals met". With
--results nothing is run: plots, goals and (with --page) the tables of the documentation are made again
from what was measured.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import goals
import page
import plot
import results
from results import K, M, Cell

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "instructions"))
import count  # noqa: E402

ENGINES = ("ovs", "ctoffload")
SIZES = (K, 100 * K, M, 4 * M)
TAILS = ("expiry", "flush", "growth", "dump")

# What Open vSwitch's library does not have.
OURS_ALONE = ("eviction", "flow-table", "merged")

# With --quick, these have one round: they say the same each time, or no goal asks for them.
ONCE = ("sweep", "memory", "ports", "merged", "flow-table")
ONCE_OF_OVS = (*(f"tail-{what}" for what in TAILS), "flood")

QUICK = [
    *(Cell("established", n) for n in SIZES),
    Cell("established", M, threads=2),
    Cell("shared", M),
    Cell("shared", M, threads=2),
    Cell("established", M, transport="udp"),
    Cell("established", M, family="ipv6"),
    Cell("established", M, nat="nat"),
    Cell("second", M),
    Cell("miss", M),
    Cell("setup", M),
    Cell("setup", M, threads=2),
    Cell("churn", M),
    Cell("ports", M),
    Cell("sweep", M),
    Cell("memory", M),
    Cell("memory", M, transport="udp"),
    Cell("memory", M, family="ipv6"),
    Cell("memory", M, nat="nat"),
    *(Cell(f"tail-{what}", M) for what in TAILS),
    Cell("flood", M),
    Cell("eviction", M),
    Cell("flow-table", M),
    Cell("merged", 10 * K),
]

FULL = QUICK + [
    *(Cell("established", n, headers="warm") for n in SIZES),
    *(Cell("established", n, threads=2) for n in (K, 100 * K, 4 * M)),
    *(Cell("established", n, transport="udp") for n in (K, 100 * K, 4 * M)),
    *(Cell("established", n, family="ipv6") for n in (K, 100 * K, 4 * M)),
    *(Cell("established", n, nat="nat") for n in (K, 100 * K, 4 * M)),
    *(Cell("second", n) for n in (K, 100 * K)),
    *(Cell("miss", n) for n in (K, 100 * K, 4 * M)),
    *(Cell("setup", n) for n in (100 * K, 4 * M)),
    *(Cell("setup", M, threads=t, transport="udp") for t in (1, 2)),
    Cell("memory", 4 * M),
    Cell("memory", M, transport="udp", nat="nat"),
    *(Cell("flow-table", n) for n in (K, 100 * K)),
]


class Failure(Exception):
    """A program that did not give a figure that counts."""


def run(program, arguments):
    """The metrics that one process printed."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{error}") from error
    metrics = {}
    for line in done.stdout.splitlines():
        name, value = line.split()
        metrics[name] = float(value)
    if done.returncode or metrics.get("bad") != 0:
        wrong = f"{metrics['bad']:.0f} wrong verdicts" if "bad" in metrics else "no figures"
        raise Failure(f"{' '.join([program, *arguments])}: {wrong} {done.stderr.strip()}")
    return metrics


def jobs_of(programs, cells, engines):
    """Triples of engine, program and cell, in the order in which a round runs them."""
    jobs = [("limit", os.path.join(programs, "limit"), Cell("established", n)) for n in SIZES]
    jobs += [(engine, os.path.join(programs, f"compare-{engine}"), cell)
             for cell in cells for engine in engines
             if engine == "ctoffload" or cell.workload not in OURS_ALONE]
    return jobs


def once(engine, cell):
    return cell.workload in ONCE or engine == "ovs" and cell.workload in ONCE_OF_OVS


def measure(programs, cells, engines, rounds, quick):
    """All values of every metric: samples[(engine, cell, metric)] is a list."""
    samples = defaultdict(list)
    failures = []
    failed = set()
    spent = defaultdict(float)
    start = time.monotonic()
    for number in range(rounds):
        for engine, program, cell in jobs_of(programs, cells, engines):
            if (engine, cell) in failed or (quick and number and once(engine, cell)):
                continue
            arguments = [str(cell.connections)] if engine == "limit" else cell.arguments()
            before = time.monotonic()
            try:
                for metric, value in run(program, arguments).items():
                    samples[engine, cell, metric].append(value)
            except Failure as failure:
                failed.add((engine, cell))
                failures.append(str(failure))
            spent[engine, cell.workload] += time.monotonic() - before
        print(f"# round {number + 1} of {rounds}: {time.monotonic() - start:.0f} s",
              file=sys.stderr)
    for (engine, workload), seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"# {seconds:6.1f} s  {engine} {workload}", file=sys.stderr)
    for engine, cell in failed:
        for key in [key for key in samples if key[:2] == (engine, cell)]:
            del samples[key]
    return samples, failures


def count_instructions(programs, engines, out):
    """Instructions of the hot functions, as samples of the workloads' own names."""
    samples = {}
    if not shutil.which("valgrind"):
        return samples, ["instructions: there is no valgrind"]
    for engine in engines:
        program = Path(programs) / f"count-{engine}"
        try:
            counted = count.run(program, Path(out) / "instructions")
        except count.Failed as failure:
            return samples, [str(failure)]
        for name, (profile, units) in counted.items():
            cell = Cell(f"count-{name}", count.CONNECTIONS)
            samples[engine, cell, "instructions"] = [profile.total / units]
            samples[engine, cell, "instructions_for_offload"] = [profile.offload / units]
            if engine == "ctoffload":
                for room, instructions in profile.rooms.items():
                    samples[engine, cell, f"instructions_in_{room}"] = [instructions / units]
    return samples, []


def options_of():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", help="folder of the built programs")
    parser.add_argument("--out", help="folder for results.csv and the plots")
    parser.add_argument("--quick", action="store_true",
                        help="the cells of the goals only, three rounds")
    parser.add_argument("--rounds", type=int, help="3 with --quick, otherwise 5")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="only this one")
    parser.add_argument("--workload", action="append", help="only this one (repeatable)")
    parser.add_argument("--results", help="a results.csv, instead of running anything")
    parser.add_argument("--page", help="the page whose tables are to be made again")
    options = parser.parse_args()
    if not (options.results or options.programs and options.out):
        parser.error("either --results, or --programs and --out")
    return options


def main():
    options = options_of()
    failures = []
    if options.results:
        medians, rounds = results.read(options.results)
        out = options.out
    else:
        rounds = options.rounds or (3 if options.quick else 5)
        engines = options.engine or ENGINES
        cells = [cell for cell in (QUICK if options.quick else FULL)
                 if not options.workload or cell.workload in options.workload]
        out = options.out
        os.makedirs(out, exist_ok=True)
        samples, failures = measure(options.programs, cells, engines, rounds,
                                    options.quick)
        if not options.workload:
            counted, uncounted = count_instructions(options.programs, engines, out)
            samples |= counted
            failures += uncounted
        with open(os.path.join(out, "results.csv"), "w") as file:
            results.write(file, samples)
        results.write(sys.stdout, samples)
        medians = results.medians_of(samples)
    judged = list(goals.every(medians))
    if out:
        os.makedirs(out, exist_ok=True)
        plot.all_of(medians, judged, out)
    if options.page:
        page.rewrite(options.page, medians, judged, rounds)
    for failure in failures:
        print(f"failed: {failure}")
    for goal in judged:
        print(goal)
    print(f"{sum(goal.met() for goal in judged)} of {len(judged)} goals met")


if __name__ == "__main__":
    main()
