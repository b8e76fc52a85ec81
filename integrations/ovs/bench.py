"""Open vSwitch's own benchmark of a tracker, on its own and on libctoffload, and what the way there costs.

`ovstest test-conntrack benchmark` sends the same 42-byte UDP packet again and again, one connection for
each thread. What is told is processor time for a packet, without that of the program's start. Runs of the
two alternate, so that a busy machine is busy for both; the fastest one, which was disturbed least, counts.
"""

import argparse
import os
import resource
import subprocess
from pathlib import Path

# Threads, packets of a batch.
CASES = [(1, 1), (1, 32), (2, 1), (2, 32)]


def seconds(program, threads, batch, packets, preload):
    """Processor time of a run; `packets` are those of each thread."""
    environment = dict(os.environ)
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    command = [program, "test-conntrack", "benchmark", str(threads), str(packets), str(batch)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stock", type=Path, required=True, help="stock ovstest")
    parser.add_argument("--ours", type=Path, required=True, help="ovstest on libctoffload")
    parser.add_argument("--marshal", type=Path, required=True, help="the library that does nothing")
    parser.add_argument("--packets", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    programs = [(options.stock, None), (options.ours, None), (options.ours, options.marshal)]
    print("threads  batch  stock ns  ours ns  marshalling ns")
    for threads, batch in CASES:
        best = [float("inf")] * len(programs)
        start = list(best)
        for _ in range(options.runs):
            for i, (program, preload) in enumerate(programs):
                start[i] = min(start[i], seconds(program, threads, batch, batch, preload))
                best[i] = min(best[i], seconds(program, threads, batch, options.packets, preload))
        stock, ours, marshal = ((b - s) * 1e9 / options.packets / threads
                                for b, s in zip(best, start))
        print(f"{threads:7}  {batch:5}  {stock:8.1f}  {ours:7.1f}  {marshal:14.1f}", flush=True)


if __name__ == "__main__":
    main()
