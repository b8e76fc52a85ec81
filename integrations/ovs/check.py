"""Open vSwitch's own connection tracking cases, on its own tracker and on libctoffload.

Two of Open vSwitch's test suites have such cases: the unit tests (`make check`) and the system tests
of the userspace datapath (`make check-system-userspace`), which send real traffic through network
namespaces. A suite runs its cases one after the other, because system cases share names of bridges,
ports and namespaces. Here they are dealt out to shards, each with a network and a mount namespace and
a working folder of its own, so nothing of the machine's network is touched either.

What decides is the comparison: a case that Open vSwitch's own tracker passes on this machine has to
pass on libctoffload. Needs root.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

SUITES = {"unit": "testsuite", "system": "system-userspace-testsuite"}
KEYWORD = "conntrack"
# What the suites' own Makefile passes: where the programs are, below the build folder.
PROGRAMS = ["utilities", "vswitchd", "ovsdb", "vtep", "tests", "ipsec"]
LISTED = re.compile(r"^\s*(\d+): (\S+\.at):\d+\s+(.*?)\s*$")
ENDED = re.compile(r"^\s*(\d+): .*?\s+(ok|FAILED|skipped|expected failure|UNEXPECTED PASS)\b")
PASSED = ("ok", "expected failure")
# Namespaces made by a case live in the shard's own /run/netns; /sys shows the shard's devices.
ENTER = ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c",
         "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && mount -t sysfs sysfs /sys"
         " && ip link set lo up && exec \"$@\"", "sh"]


def suite_path(options, suite):
    return options.source / "tests" / SUITES[suite]


def prepare(options, folder, programs):
    """A folder to run a suite in: the build's settings, with paths that hold from anywhere."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build, source = options.build, options.source
    (folder / "atconfig").write_text(
        f"at_testdir='tests'\nabs_builddir='{build}/tests'\n"
        f"at_srcdir='{source}/tests'\nabs_srcdir='{source}/tests'\n"
        f"at_top_srcdir='{source}'\nabs_top_srcdir='{source}'\n"
        f"at_top_build_prefix='{build}/'\nabs_top_builddir='{build}'\n"
        f"at_top_builddir='{build}/'\nEXEEXT=''\n"
        "SHELL=${CONFIG_SHELL-'/bin/bash'}\n")
    shutil.copy(build / "tests" / "atlocal", folder / "atlocal")
    return ":".join([str(programs)] * (programs is not None) + PROGRAMS)


def cases(options, suite):
    """Numbers and titles of a suite's connection tracking cases."""
    folder = options.out / "list"
    prepare(options, folder, None)
    text = subprocess.run(["sh", suite_path(options, suite), "-C", folder, "-l", "-k", KEYWORD],
                          capture_output=True, text=True, check=True).stdout
    return {int(m[1]): m[3] for m in map(LISTED.match, text.splitlines()) if m}


def run_shard(options, suite, numbers, folder, programs, results):
    """Runs some cases of a suite one after the other; what became of each goes to `results`."""
    path = prepare(options, folder, programs)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = f"{options.python}:{environment.get('PYTHONPATH', '')}"
    for name in ("TESTSUITEFLAGS", "MAKEFLAGS", "MFLAGS"):
        environment.pop(name, None)
    command = ["nice", "-n", "5", *ENTER, "sh", suite_path(options, suite), "-C", folder,
               f"AUTOTEST_PATH={path}", *map(str, numbers)]
    with open(folder / "log", "w", encoding="utf-8") as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment, errors="replace") as process:
            for line in process.stdout:
                log.write(line)
                if m := ENDED.match(line):
                    results[int(m[1])] = m[2]
                    if options.verbose:
                        print(f"{folder.name}: {line.rstrip()}", flush=True)


def run_suite(options, suite, engine, programs, numbers):
    """Runs cases of a suite on all shards, and alone once more those that failed in company."""
    results = {}
    shards = [numbers[i::options.shards] for i in range(min(options.shards, len(numbers)))]
    threads = [threading.Thread(target=run_shard, args=(
        options, suite, shard, options.out / engine / f"{suite}-{i}", programs, results))
        for i, shard in enumerate(shards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = [n for n in numbers if results.get(n, "no result") not in (*PASSED, "skipped")]
    if again and options.again:
        run_shard(options, suite, again, options.out / engine / f"{suite}-again", programs, results)
    return {n: results.get(n, "no result") for n in numbers}


def run_engine(options, engine, programs, listed):
    outcome = {}
    for suite, titles in listed.items():
        numbers = [n for n in titles if not options.cases or n in options.cases]
        done = run_suite(options, suite, engine, programs, numbers)
        outcome.update({f"{suite} {n}": [titles[n], result] for n, result in done.items()})
    return outcome


def report(stock, ours):
    """Prints the table; tells how many that pass stock pass and fail ours."""
    passed = failed = 0
    width = max((len(f"{case}: {title}") for case, (title, _) in stock.items()), default=0)
    print(f"{'case':{width}}  {'stock':8}  ours")
    for case, (title, on_stock) in stock.items():
        on_ours = ours.get(case, [title, "no result"])[1]
        counted = on_stock in PASSED
        good = on_ours in PASSED
        passed += counted and good
        failed += counted and not good
        print(f"{f'{case}: {title}':{width}}  {on_stock:8}  {on_ours}"
              f"{'  <--' if counted and not good else ''}")
    return passed, failed


def write_table(path, stock, ours):
    """The same as a table in Markdown."""
    lines = ["| case | | stock | on libctoffload |", "|---|---|---|---|"]
    lines += [f"| {case} | {title} | {on_stock} | {ours.get(case, [title, 'no result'])[1]} |"
              for case, (title, on_stock) in stock.items()]
    path.write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="Open vSwitch's source")
    parser.add_argument("--build", type=Path, required=True, help="its stock build")
    parser.add_argument("--ours", type=Path, required=True,
                        help="folder of ovs-vswitchd and ovstest on libctoffload")
    parser.add_argument("--python", type=Path, required=True, help="folder of Python packages")
    parser.add_argument("--out", type=Path, required=True, help="working folder")
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--suite", choices=SUITES, help="only this suite")
    parser.add_argument("--cases", type=int, nargs="+", help="only these cases of it")
    parser.add_argument("--keep-stock", action="store_true",
                        help="take the stock results of the last complete run")
    parser.add_argument("--only-stock", action="store_true")
    parser.add_argument("--again", action=argparse.BooleanOptionalAction, default=True,
                        help="run failed cases alone once more")
    parser.add_argument("--table", type=Path, help="also write the table here, in Markdown")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    for name in ("source", "build", "ours", "python", "out"):
        setattr(options, name, getattr(options, name).resolve())
    if os.geteuid() != 0:
        sys.exit("check-ovs: the system tests need root")

    options.out.mkdir(parents=True, exist_ok=True)
    listed = {suite: cases(options, suite) for suite in SUITES if options.suite in (None, suite)}
    recorded = options.out / "stock.json"
    if options.keep_stock and recorded.exists():
        stock = json.loads(recorded.read_text())
        wanted = {f"{suite} {n}" for suite, titles in listed.items() for n in titles
                  if not options.cases or n in options.cases}
        stock = {case: result for case, result in stock.items() if case in wanted}
    else:
        stock = run_engine(options, "stock", None, listed)
        if not (options.suite or options.cases):
            recorded.write_text(json.dumps(stock, indent=1) + "\n")
    if options.only_stock:
        for case, (title, result) in stock.items():
            print(f"{case}: {title}  {result}")
        return 0
    ours = run_engine(options, "ours", options.ours, listed)
    (options.out / "ours.json").write_text(json.dumps(ours, indent=1) + "\n")
    passed, failed = report(stock, ours)
    if options.table:
        write_table(options.table, stock, ours)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
