"""The tracker of this project, asked through its own command.

Verdicts are read as JSON; the table is listed in the form of the oracle that it is compared with and
read by the same parser, so the two forms of listing are put to the test with it.
"""

import json
import os
import subprocess
import tempfile

import capture
import kernel
import ovs

LISTINGS = {
    "ovs": (("--format", "ovs", "-m", "-s"), ovs.parse_listing),
    "kernel": (("--format", "conntrack"), kernel.parse_listing),
}


def _replay(program, profile, path, *options):
    done = subprocess.run([program, "replay", "--profile", profile, *options, path],
                          check=True, capture_output=True, text=True)
    return done.stdout


def replay(program, profile, packets):
    """The verdict of every packet with its reason, and the final table."""
    verdicts = [{"state": "", "reason": "None"} for _ in packets]
    options, parse = LISTINGS[profile]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "packets.pcap")
        capture.write(path, packets)
        for line in _replay(program, profile, path, "--format", "json", "--verdicts",
                            "--no-list").splitlines():
            verdict = json.loads(line)
            verdicts[verdict["packet"] - 1] = {
                "state": ",".join(bit for bit in verdict["ct_state"] if bit != "trk"),
                "reason": verdict["reason"] or "None",
            }
        table = parse(_replay(program, profile, path, *options))
    return {"verdicts": verdicts, "table": table}
