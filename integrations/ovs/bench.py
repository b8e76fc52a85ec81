"""Open vSwitch's own benchmark of a tracker, on its own and on libctoffload, and what the way there costs.

`ovstest test-conntrack benchmark` sends the same 42-byte UDP packet again and again, one connection for
each thread. Runs of the two alternate, so that a busy machine is busy for both; the median counts.
"""

import argparse
import os
import re
import statistics
import subprocess
from pathlib import Path

# Threads, packets of each, packets of a batch.
CASES = [(1, 1), (1, 32), (2, 1), (2, 32)]


def run(program, threads, batch, packets, preload=None):
    """Nanoseconds for a packet of one thread."""
    environment = dict(os.environ)
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    command = [program, "test-conntrack", "benchmark", str(threads), str(packets), str(batch)]
    text = subprocess.run(command, capture_output=True, text=True, check=True,
                          env=environment).stdout
    return int(re.search(r"conntrack:\s*(\d+) ms", text)[1]) * 1e6 / packets


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stock", type=Path, required=True, help="stock ovstest")
    parser.add_argument("--ours", type=Path, required=True, help="ovstest on libctoffload")
    parser.add_argument("--marshal", type=Path, required=True, help="the library that does nothing")
    parser.add_argument("--packets", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print("threads  batch  stock ns  ours ns  marshalling ns")
    for threads, batch in CASES:
        times = [[], [], []]
        for _ in range(options.runs):
            for place, arguments in enumerate([(options.stock, None), (options.ours, None),
                                               (options.ours, options.marshal)]):
                times[place].append(run(arguments[0], threads, batch, options.packets,
                                        arguments[1]))
        stock, ours, marshal = map(statistics.median, times)
        print(f"{threads:7}  {batch:5}  {stock:8.1f}  {ours:7.1f}  {marshal:14.1f}", flush=True)


if __name__ == "__main__":
    main()
