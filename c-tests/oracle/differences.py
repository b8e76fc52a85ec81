"""What differs between two trackers' answers, and which differences are known.

A difference has a kind and a few fields; a row of docs/differences.md names the values that they have
in a known one:

    | id | profile | rule | why |
    | K1 | kernel | `kind=verdict theirs=est ours=inv protocol=6` | ... |

A field may list alternatives, divided by '/'. A field that the rule does not name may be anything.
States are written with '+' between their bits, in the order new, est, rel, rpl, inv.
"""

import ipaddress
import re
import struct
from dataclasses import dataclass

PORT_PROTOCOLS = (6, 17, 132, 136)


@dataclass(frozen=True)
class Difference:
    """One thing on which the two disagree."""

    kind: str
    fields: tuple

    def text(self):
        return self.kind + " " + " ".join(f"{name}={value}" for name, value in self.fields)


@dataclass(frozen=True)
class Row:
    """A row of the list of known differences."""

    name: str
    profile: str
    rule: dict

    def matches(self, profile, difference):
        values = {"kind": difference.kind, **{k: str(v) for k, v in difference.fields}}
        return self.profile in (profile, "all") and all(
            values.get(name) in alternatives for name, alternatives in self.rule.items())


def read(path):
    """The rows of a list of known differences; none if there is no such file."""
    rows = []
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return rows
    for line in lines:
        match = re.match(r"\|\s*([A-Z]+\d+)\s*\|\s*(\w+)\s*\|\s*`([^`]+)`\s*\|", line)
        if match:
            rule = dict(part.split("=", 1) for part in match.group(3).split())
            rows.append(Row(match.group(1), match.group(2),
                            {name: value.split("/") for name, value in rule.items()}))
    return rows


def explain(rows, profile, difference):
    """The row that knows a difference, or None."""
    return next((row for row in rows if row.matches(profile, difference)), None)


def state(text, profile):
    """A state as both sides are made to write it."""
    bits = set(text.split(",")) if text else set()
    if profile == "kernel" and "rel" in bits:
        bits -= {"new", "est"}
    return "+".join(bit for bit in ("new", "est", "rel", "rpl", "inv", "untracked")
                    if bit in bits) or "none"


def conversation(packet):
    """What packets of one conversation have in common, as far as it can be seen at a glance."""
    data = packet.data
    if data[0] >> 4 == 4 and len(data) >= 20:
        protocol, at = data[9], (data[0] & 15) * 4
        ends = [data[12:16], data[16:20]]
        later_fragment = struct.unpack_from(">H", data, 6)[0] & 0x1fff
    elif data[0] >> 4 == 6 and len(data) >= 40:
        protocol, at = data[6], 40
        ends = [data[8:24], data[24:40]]
        later_fragment = 0
    else:
        return None
    ends = [str(ipaddress.ip_address(end)) for end in ends]
    if protocol in PORT_PROTOCOLS and not later_fragment and len(data) >= at + 4:
        ports = struct.unpack_from(">HH", data, at)
        return protocol, frozenset(zip(ends, ports))
    return protocol, frozenset(ends)


def _protocol(packet):
    return packet.data[9 if packet.data[0] >> 4 == 4 else 6]


def _entry_conversation(key):
    protocol, original = key[0], key[1]
    if protocol in PORT_PROTOCOLS:
        return protocol, frozenset(((original[0], original[2]), (original[1], original[3])))
    return protocol, frozenset(original[:2])


def _verdicts(packets, theirs, mine, profile):
    """(conversation, difference) for every packet that is judged differently."""
    for packet, their, my in zip(packets, theirs["verdicts"], mine["verdicts"]):
        if their is None:
            continue
        their_state, my_state = state(their, profile), state(my["state"], profile)
        if their_state != my_state:
            yield conversation(packet), Difference("verdict", (
                ("packet", packet.number), ("protocol", _protocol(packet)),
                ("theirs", their_state), ("ours", my_state), ("reason", my["reason"])))


def _tables(theirs, mine):
    """(conversation, difference) for every connection that only one table has, or has otherwise."""
    their_table, my_table = _by_tuple(theirs["table"]), _by_tuple(mine["table"])
    for key in sorted(set(their_table) | set(my_table), key=str):
        their, my = their_table.get(key), my_table.get(key)
        if all(entry is None or _about_to_expire(entry) for entry in (their, my)):
            continue
        name = f"{key[1][0]}:{key[1][2]}>{key[1][1]}:{key[1][3]}"
        fields = (("protocol", key[0]), ("tuple", name))
        if their is None or my is None:
            difference = Difference("missing" if their else "extra", (
                *fields, ("state", (their or my)["state"])))
        elif their["state"] != my["state"]:
            difference = Difference("state", (
                *fields, ("theirs", their["state"]), ("ours", my["state"])))
        elif their.get("left") is not None and abs(their["left"] - my["left"]) > 1:
            difference = Difference("timeout", (
                *fields, ("state", their["state"]), ("theirs", their["left"]),
                ("ours", my["left"])))
        else:
            continue
        yield _entry_conversation(key), difference


def _by_tuple(table):
    return {(entry["protocol"], tuple(entry["original"]), tuple(entry["reply"])): entry
            for entry in table}


def _about_to_expire(entry):
    """The clocks of both sides agree to a second; what has less left may be gone on one of them."""
    return entry.get("left") is not None and entry["left"] <= 1


def between(packets, theirs, mine, profile):
    """The differences, without consequences of earlier ones, and the number of those."""
    found, seen, consequences = [], set(), 0
    for differences in (_verdicts(packets, theirs, mine, profile), _tables(theirs, mine)):
        for key, difference in differences:
            if key in seen:
                consequences += 1
            else:
                seen.add(key)
                found.append(difference)
    return found, consequences
