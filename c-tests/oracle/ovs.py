"""Open vSwitch as an oracle: its userspace datapath between dummy ports, on a virtual clock.

Every packet goes once through ct(commit). The switch then writes the packet's ct_state into its
Ethernet destination and sends it out of a port that records what it sends; the Ethernet source holds
the packet's number, so that a verdict finds its packet even where the switch holds fragments back and
sends them together. At the end the connections are listed.

The clock stands still but for what is asked of it: before a packet it is moved on to the packet's time.
Every move costs 10 ms of real time, so packets' times are made to move in steps (compare.py).
"""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time

import capture

NAME = "ovs"
PROFILE = "ovs"
BETWEEN_MS = 60000  # between captures: longer than fragments are kept
QUEUE = 32  # packets fed before they are waited for; a dummy port holds 100
PATIENCE = 20  # looks at the output before a packet counts as held back
LONGEST_WARP_MS = 10**9
STATE_BITS = ((1, "new"), (2, "est"), (4, "rel"), (8, "rpl"), (16, "inv"))
TRACKED = 32
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "icmpv6": 58, "sctp": 132, "udplite": 136,
}
FLOWS = """\
table=0,priority=1,in_port=1,ip,actions=ct(commit,table=1)
table=0,priority=1,in_port=1,ipv6,actions=ct(commit,table=1)
table=1,actions=move:NXM_NX_CT_STATE[]->NXM_OF_ETH_DST[0..31],output:2
"""


class Missing(Exception):
    """Something that the oracle needs is not there."""


class Control:
    """The switch's control socket: JSON requests and answers."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._buffer = ""
        self._id = 0

    def call(self, method, *parameters):
        self._id += 1
        request = {"id": self._id, "method": method, "params": list(parameters)}
        self._socket.sendall(json.dumps(request).encode())
        decoder = json.JSONDecoder()
        while True:
            try:
                answer, end = decoder.raw_decode(self._buffer)
            except ValueError:
                received = self._socket.recv(1 << 20)
                if not received:
                    raise Missing("Open vSwitch ended unexpectedly") from None
                self._buffer += received.decode()
                continue
            self._buffer = self._buffer[end:].lstrip()
            if answer["error"]:
                raise Missing(f"{method}: {answer['error']}")
            return answer["result"]


class Switch:
    """A running switch with its state in a folder of its own."""

    def __init__(self):
        programs = self._programs()
        self._folder = tempfile.mkdtemp(prefix="ctoffload-ovs-")
        self._sent = os.path.join(self._folder, "sent.pcap")
        self._processes = []
        self._environment = dict(os.environ)
        for name in ("RUNDIR", "DBDIR", "SYSCONFDIR", "LOGDIR"):
            self._environment[f"OVS_{name}"] = self._folder
        self._start(programs)
        self.control = Control(os.path.join(self._folder, "switch.ctl"))
        self.control.call("time/stop")

    @staticmethod
    def _programs():
        """The programs, built from the source package (CTOFFLOAD_OVS_BUILD) or installed."""
        build = os.environ.get("CTOFFLOAD_OVS_BUILD")
        source = os.environ.get("CTOFFLOAD_OVS_SOURCE")
        if build and source:
            places = {"ovsdb-tool": "ovsdb", "ovsdb-server": "ovsdb", "ovs-vsctl": "utilities",
                      "ovs-ofctl": "utilities", "ovs-vswitchd": "vswitchd"}
            programs = {name: os.path.join(build, place, name)
                        for name, place in places.items()}
            programs["schema"] = os.path.join(source, "vswitchd", "vswitch.ovsschema")
        else:
            path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/openvswitch-switch"
            programs = {name: shutil.which(name, path=path) for name in
                        ("ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-ofctl", "ovs-vswitchd")}
            programs["schema"] = "/usr/share/openvswitch/vswitch.ovsschema"
        for name, path in programs.items():
            if not path or not os.path.exists(path):
                raise Missing(f"Open vSwitch's {name} (install openvswitch-switch)")
        return programs

    def _run(self, *command):
        subprocess.run(command, check=True, env=self._environment, stdout=subprocess.DEVNULL)

    def _daemon(self, name, *command):
        pid = os.path.join(self._folder, f"{name}.pid")
        self._run(*command, "-vconsole:off", f"--pidfile={pid}", "--detach",
                  f"--log-file={os.path.join(self._folder, name)}.log",
                  f"--unixctl={os.path.join(self._folder, name)}.ctl")
        with open(pid) as file:
            self._processes.append(int(file.read()))

    def _start(self, programs):
        database = os.path.join(self._folder, "conf.db")
        remote = f"unix:{self._folder}/db.sock"
        self._run(programs["ovsdb-tool"], "create", database, programs["schema"])
        self._daemon("database", programs["ovsdb-server"], database, f"--remote=p{remote}")
        self._run(programs["ovs-vsctl"], f"--db={remote}", "--no-wait", "init")
        self._daemon("switch", programs["ovs-vswitchd"], remote, "--enable-dummy",
                     "--disable-system")
        self._run(programs["ovs-vsctl"], f"--db={remote}", "add-br", "br0",
                  "--", "set", "bridge", "br0", "datapath_type=dummy", "fail-mode=secure",
                  "--", "add-port", "br0", "p1",
                  "--", "set", "interface", "p1", "type=dummy", "ofport_request=1",
                  "--", "add-port", "br0", "p2",
                  "--", "set", "interface", "p2", "type=dummy", "ofport_request=2",
                  f"options:tx_pcap={self._sent}")
        flows = os.path.join(self._folder, "flows")
        with open(flows, "w") as file:
            file.write(FLOWS)
        self._run(programs["ovs-ofctl"], "add-flows", f"{self._folder}/br0.mgmt", flows)

    def advance(self, milliseconds):
        while milliseconds > 0:
            step = min(milliseconds, LONGEST_WARP_MS)
            self.control.call("time/warp", str(step))
            milliseconds -= step

    def sent(self, offset):
        """The frames recorded from a byte offset on, and the new offset."""
        with open(self._sent, "rb") as file:
            file.seek(max(offset, 24))
            data = file.read()
        at, found = 0, []
        while at + 16 <= len(data):
            length = struct.unpack_from("<I", data, at + 8)[0]
            if at + 16 + length > len(data):
                break
            found.append(data[at + 16:at + 16 + length])
            at += 16 + length
        return found, max(offset, 24) + at

    def stop(self):
        for process in reversed(self._processes):
            os.kill(process, 15)
        shutil.rmtree(self._folder, ignore_errors=True)


def state_text(bits):
    """The state bits of a packet in the order new, est, rel, rpl, inv; '' when untracked."""
    return ",".join(name for bit, name in STATE_BITS if bits & bit)


class Oracle:
    """Asks one running switch about capture after capture."""

    name = NAME
    profile = PROFILE
    version = 2
    time_step_ms = 100

    def __init__(self):
        self._switch = Switch()
        self._offset = 0

    def ask(self, some_packets):
        """The verdict of every packet, and the final table."""
        control = self._switch.control
        verdicts = [None] * len(some_packets)
        now = some_packets[0].time_ns // 10**6 if some_packets else 0
        for index, packet in enumerate(some_packets):
            ahead = packet.time_ns // 10**6 - now
            if ahead:
                self._collect(verdicts, index)
                self._switch.advance(ahead)
                now += ahead
            header = bytes(6) + struct.pack(">HIH", 0x0200, index, packet.ethertype)
            control.call("netdev-dummy/receive", "p1", (header + packet.data).hex())
            if index % QUEUE == QUEUE - 1:
                self._collect(verdicts, index + 1)
        self._collect(verdicts, len(some_packets))
        table = parse_listing(control.call("dpctl/dump-conntrack", "-m", "-s"))
        control.call("dpctl/flush-conntrack")
        self._switch.advance(BETWEEN_MS)
        self._offset = self._switch.sent(self._offset)[1]
        return {"verdicts": verdicts, "table": table}

    def _collect(self, verdicts, fed):
        """Waits until the packets fed so far came out (held fragments may not), and notes them."""
        for _ in range(PATIENCE):
            frames, self._offset = self._switch.sent(self._offset)
            for frame in frames:
                bits, = struct.unpack_from(">I", frame, 2)
                index, = struct.unpack_from(">I", frame, 8)
                if index < fed and bits & TRACKED:
                    verdicts[index] = state_text(bits)
            if None not in verdicts[:fed]:
                return
            self._switch.control.call("version")
            time.sleep(0.0005)

    def close(self):
        self._switch.stop()


def _tuple(text):
    fields = dict(part.split("=", 1) for part in text.split(","))
    if "id" in fields:
        ports = [int(fields["id"]), int(fields["type"])]
    else:
        ports = [int(fields.get("sport", 0)), int(fields.get("dport", 0))]
    return [fields["src"], fields["dst"], *ports]


def parse_listing(text):
    """The connections of a dump-conntrack listing with more than a second left."""
    table = []
    for line in text.splitlines():
        protocol = line.split(",", 1)[0]
        left = re.search(r"timeout=(\d+)", line)
        states = re.findall(r"state_(?:orig|reply)=(\w+)", line)
        table.append({
            "protocol": PROTOCOLS.get(protocol) or int(protocol),
            "original": _tuple(re.search(r"orig=\(([^)]*)\)", line).group(1)),
            "reply": _tuple(re.search(r"reply=\(([^)]*)\)", line).group(1)),
            "state": "/".join(states) or None,
            "left": int(left.group(1)) if left else None,
        })
    return table
