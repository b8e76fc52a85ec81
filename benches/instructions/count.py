#!/usr/bin/env python3
"""Counts the instructions of the engine's hot functions and compares them with the baseline.

Runs the program of count.c under callgrind, which writes one file for each workload, and prints what a
packet (set-up, sweep: a connection) costs. With --baseline, fails when a workload costs more than
TOLERANCE over what the baseline says, or is not in it.
"""

import argparse
import csv
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

TOLERANCE = 0.03

# As in count.c.
CONNECTIONS = 1024

# Source files and functions that are there for offload, fast paths and merged flows only. With no
# provider registered and none of them asked for, an established packet should not come by.
OFFLOAD = re.compile(r"src/(offload|merge)/|src/engine/(offload|flow|flow_key|flow_lookup|fastpath|merging|resume)\.rs"
                     r"|src/ffi/(offload|provider|flow|flow_table|merge)\.rs"
                     r"|\b(offload|merge)::")

# glibc chooses its string functions by processor, and valgrind counts each byte of `rep stosb` as an
# instruction: with these, all machines count the same ones.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS,-FSRM,-AVX2,-AVX512F,-AVX512VL"}


def room_of(file, function):
    """The folder of src that the code is of; the standard library's belongs to who inlined it."""
    match = re.search(r"\bctoffload::(\w+)::", function)
    if "/rustc/" not in file:
        match = re.search(r"/src/(\w+)(?:\.rs|/)", file) or match
    return match[1] if match else "other"


class Profile:
    """What callgrind counted for one workload: in all, by source file, function and room, for offload."""

    def __init__(self, path):
        self.name = None
        self.total = 0
        self.offload = 0
        self.files = Counter()
        self.functions = Counter()
        self.rooms = Counter()
        file = function = None
        called = False
        for line in path.read_text().splitlines():
            if line.startswith("desc: Trigger: Client Request: "):
                self.name = line.rsplit(" ", 1)[1]
            elif match := re.match(r"(fl|fi|fe|fn)=(.*)", line):
                kind, value = match.groups()
                if kind == "fn":
                    function = value
                else:
                    file = value
            elif line.startswith("calls="):
                called = True
            elif match := re.match(r"[+-]?\d+ (\d+)$|\* (\d+)$", line):
                # The line after a call is what was spent in the function that was called, where it is
                # counted too.
                if not called:
                    cost = int(match[1] or match[2])
                    self.total += cost
                    self.files[file] += cost
                    self.functions[function] += cost
                    self.rooms[room_of(file, function)] += cost
                    if OFFLOAD.search(file) or OFFLOAD.search(function):
                        self.offload += cost
                called = False


class Failed(Exception):
    """A program that could not be counted."""


def run(program, out):
    """The profile and the divisor of every workload."""
    out.mkdir(parents=True, exist_ok=True)
    pattern = f"{program.name}.callgrind"
    for old in out.glob(f"{pattern}*"):
        old.unlink()
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--compress-strings=no",
         "--compress-pos=no", f"--callgrind-out-file={out / pattern}", str(program)],
        capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    if done.returncode:
        raise Failed(f"{program} under valgrind: {done.stdout}{done.stderr[-2000:]}")
    units = {name: int(n) for name, n in map(str.split, done.stdout.splitlines())}
    profiles = {}
    for path in out.glob(f"{pattern}.*"):
        profile = Profile(path)
        if profile.name in units:
            profiles[profile.name] = profile
    missing = units.keys() - profiles.keys()
    if missing:
        raise Failed(f"callgrind wrote nothing for {', '.join(sorted(missing))}")
    return {name: (profiles[name], n) for name, n in units.items()}


def counts(program, out):
    """Instructions per unit of every workload."""
    return {name: profile.total / n for name, (profile, n) in run(program, out).items()}


def compiler():
    return subprocess.run(["rustc", "--version"], capture_output=True, text=True,
                          check=True).stdout.strip()


def write(path, measured):
    with open(path, "w") as file:
        file.write(f"# {compiler()}, {platform.machine()}\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["workload", "instructions"])
        out.writerows((name, f"{count:.1f}") for name, count in measured.items())
    print(f"written: {path}")


def check(path, measured):
    """Prints every workload beside the baseline; whether none of them grew."""
    with open(path) as file:
        made_with = file.readline().strip("# \n")
        held = {row["workload"]: float(row["instructions"]) for row in csv.DictReader(file)}
    grown, shrunk = [], []
    print(f"{'instructions':22}{'baseline':>10}{'now':>10}{'change':>9}")
    for name in dict.fromkeys([*held, *measured]):
        before, now = held.get(name), measured.get(name)
        if before is None or now is None:
            print(f"{name:22}{'not in the ' + ('baseline' if now else 'program')}")
            grown.append(name)
            continue
        change = now / before - 1
        print(f"{name:22}{before:10.1f}{now:10.1f}{change:+9.1%}")
        if change > TOLERANCE:
            grown.append(name)
        elif change < -TOLERANCE:
            shrunk.append(name)
    if shrunk:
        print(f"less than before, so `make instructions-baseline` can hold it: {', '.join(shrunk)}")
    if grown:
        print(f"more than {TOLERANCE:.0%} over the baseline: {', '.join(grown)}")
        print(f"baseline: {made_with}; this is {compiler()}")
        print("If that is meant: `make instructions-baseline`, and say why in the commit.")
    return not grown


def annotate(profile, units):
    """Where a workload's instructions are spent."""
    print(f"{profile.name}: {profile.total / units:.1f} instructions")
    for title, parts in (("by room", profile.rooms), ("by source file", profile.files),
                         ("by function", profile.functions)):
        print(f"\n{title}")
        for name, cost in parts.most_common(15):
            print(f"{cost / units:9.1f} {cost / profile.total:6.1%}  {shorten(name)}")


def shorten(name):
    """A file from 'src' on, a function without its hash."""
    name = re.sub(r"^.*/(?=src/)|::h[0-9a-f]{16}$", "", name)
    return name if len(name) <= 100 else f"{name[:97]}..."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for callgrind's files")
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--write", action="store_true", help="write the baseline")
    parser.add_argument("--profile", metavar="WORKLOAD")
    parser.add_argument("--beside", type=Path, metavar="PROGRAM", help="another engine's program")
    options = parser.parse_args()

    if options.profile:
        workloads = run(options.program, options.out)
        if options.profile not in workloads:
            sys.exit(f"there are {', '.join(workloads)}")
        annotate(*workloads[options.profile])
        return
    measured = counts(options.program, options.out)
    if options.beside:
        other = counts(options.beside, options.out)
        print("| instructions | Open vSwitch | ctoffload | ratio |\n|---|---|---|---|")
        for name, count in measured.items():
            theirs = other.get(name)
            print(f"| {name} | {theirs:.0f} | {count:.0f} | {theirs / count:.1f}x |" if theirs else
                  f"| {name} | – | {count:.0f} | – |")
    elif options.write:
        write(options.baseline, measured)
    elif not check(options.baseline, measured):
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(str(failure))
