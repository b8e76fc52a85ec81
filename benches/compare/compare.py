#!/usr/bin/env python3
"""Runs every cell of the comparison, and says which goals are met.

A cell is one workload at one size; each run of it is a process of its own, and the engines take
turns, round after round, so that a slow minute of the machine hits both. What is kept is the median.

Writes results.csv and the plots to --out and prints the CSV; the last line is "N of M goals met".
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass

import goals
import plot

K, M = 1000, 1000 * 1000
ENGINES = ("ovs", "ctoffload")


@dataclass(frozen=True)
class Cell:
    """One workload at one size."""

    workload: str
    connections: int
    threads: int = 1
    headers: str = "cold"
    family: str = "ipv4"
    transport: str = "tcp"

    def arguments(self):
        return [self.workload, str(self.connections), str(self.threads), self.headers,
                self.family, self.transport]


SIZES = (K, 100 * K, M, 4 * M)

QUICK = [
    *(Cell("established", n) for n in SIZES),
    Cell("established", M, threads=2),
    Cell("shared", M),
    Cell("shared", M, threads=2),
    Cell("established", M, transport="udp"),
    Cell("established", M, family="ipv6"),
    Cell("second", M),
    Cell("miss", M),
    Cell("setup", M),
    Cell("setup", M, threads=2),
    Cell("churn", M),
    Cell("sweep", M),
    Cell("memory", M),
    Cell("memory", M, transport="udp"),
    Cell("memory", M, family="ipv6"),
    *(Cell(f"tail-{what}", M) for what in ("expiry", "flush", "growth", "dump")),
    Cell("flood", M),
]

FULL = QUICK + [
    *(Cell("established", n, headers="warm") for n in SIZES),
    *(Cell("established", n, threads=2) for n in (K, 100 * K, 4 * M)),
    *(Cell("established", n, transport="udp") for n in (K, 100 * K, 4 * M)),
    *(Cell("established", n, family="ipv6") for n in (K, 100 * K, 4 * M)),
    *(Cell("miss", n) for n in (K, 100 * K, 4 * M)),
    *(Cell("setup", n) for n in (100 * K, 4 * M)),
    *(Cell("setup", M, threads=t, transport="udp") for t in (1, 2)),
    Cell("memory", 4 * M),
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


def measure(programs, cells, engines, rounds):
    """All values of every metric: samples[(engine, cell, metric)] is a list."""
    samples = defaultdict(list)
    failures = []
    failed = set()
    jobs = [("limit", os.path.join(programs, "limit"), Cell("established", n)) for n in SIZES]
    jobs += [(engine, os.path.join(programs, f"compare-{engine}"), cell)
             for cell in cells for engine in engines]
    start = time.monotonic()
    for number in range(rounds):
        for engine, program, cell in jobs:
            if (engine, cell) in failed:
                continue
            arguments = [str(cell.connections)] if engine == "limit" else cell.arguments()
            try:
                for metric, value in run(program, arguments).items():
                    samples[engine, cell, metric].append(value)
            except Failure as failure:
                failed.add((engine, cell))
                failures.append(str(failure))
        print(f"# round {number + 1} of {rounds}: {time.monotonic() - start:.0f} s",
              file=sys.stderr)
    for engine, cell in failed:
        for key in [key for key in samples if key[:2] == (engine, cell)]:
            del samples[key]
    return samples, failures


def write_csv(file, samples):
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["engine", "workload", "connections", "threads", "headers", "family",
                  "transport", "metric", "median", "least", "most", "rounds"])
    for (engine, cell, metric), values in samples.items():
        out.writerow([engine, *cell.arguments(), metric, f"{statistics.median(values):.3f}",
                      f"{min(values):.3f}", f"{max(values):.3f}", len(values)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", required=True, help="folder of the built programs")
    parser.add_argument("--out", required=True, help="folder for results.csv and the plots")
    parser.add_argument("--quick", action="store_true", help="the cells of the goals only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", choices=ENGINES, action="append", help="only this one")
    parser.add_argument("--workload", action="append", help="only this one (repeatable)")
    options = parser.parse_args()

    cells = [cell for cell in (QUICK if options.quick else FULL)
             if not options.workload or cell.workload in options.workload]
    samples, failures = measure(options.programs, cells, options.engine or ENGINES,
                                options.rounds)
    medians = {key: statistics.median(values) for key, values in samples.items()}

    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "results.csv"), "w") as file:
        write_csv(file, samples)
    write_csv(sys.stdout, samples)
    plot.established(medians, os.path.join(options.out, "established.svg"))
    plot.ratios(goals.ratios(medians), os.path.join(options.out, "ratios.svg"))
    for failure in failures:
        print(f"failed: {failure}")
    met, count = goals.judge(medians)
    print(f"{met} of {count} goals met")


if __name__ == "__main__":
    main()
