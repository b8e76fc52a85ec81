#!/usr/bin/env python3
"""Tests of the comparison's own parts: python3 -m unittest discover c-tests/oracle"""

import os
import struct
import tempfile
import unittest

import capture
import checksum
import differences
import kernel
import ovs

OVS_LISTING = (
    "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=5,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,"
    "sport=80,dport=5),id=0,status=0,timeout=8,protoinfo=(state_orig=CLOSING,state_reply=CLOSED,"
    "flags_orig=BE_LIBERAL,flags_reply=BE_LIBERAL)\n"
    "icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=7,type=8,code=0),reply=(src=10.0.0.2,dst=10.0.0.1,"
    "id=7,type=0,code=0),id=0,status=0,timeout=29\n"
    "47,orig=(src=10.0.0.1,dst=10.0.0.2,sport=0,dport=0),reply=(src=10.0.0.2,dst=10.0.0.1,sport=0,"
    "dport=0),id=0,status=0,timeout=1\n")
KERNEL_LISTING = (
    "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=5 dport=80 "
    "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=5 [ASSURED] mark=0 use=1\n"
    "ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 [UNREPLIED] "
    "src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7 mark=0 use=1\n")


def tcp(flags=0x02, checksum_value=0):
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes((10, 0, 0, 1)),
                         bytes((10, 0, 0, 2)))
    return header + struct.pack(">HHIIBBHHH", 5, 80, 1, 0, 0x50, flags, 100, checksum_value, 0)


def answer(verdict, table=()):
    return {"verdicts": [verdict], "table": list(table)}


def mine(state, table=()):
    return {"verdicts": [{"state": state, "reason": "None"}], "table": list(table)}


def entry(state="ESTABLISHED", left=30):
    return {"protocol": 6, "original": ["10.0.0.1", "10.0.0.2", 5, 80],
            "reply": ["10.0.0.2", "10.0.0.1", 80, 5], "state": state, "left": left}


class Captures(unittest.TestCase):
    def test_a_written_capture_is_read_back_with_its_times(self):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            packets = [capture.Packet(1, 5 * 10**9, tcp()), capture.Packet(2, 6 * 10**9, tcp())]
            capture.write(file.name, packets)
            again = list(capture.packets(file.name))
        self.assertEqual([packet.data for packet in again], [tcp(), tcp()])
        self.assertEqual(again[1].time_ns - again[0].time_ns, 10**9)

    def test_time_never_goes_back_and_long_pauses_are_cut(self):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            times = (10**9, 0, 400 * 86400 * 10**9)
            capture.write(file.name, [capture.Packet(0, time, tcp()) for time in times])
            found = [packet.time_ns - capture.BEGIN_NS for packet in capture.packets(file.name)]
        self.assertEqual(found, [0, 0, capture.LONGEST_PAUSE_NS])

    def test_a_repaired_checksum_verifies(self):
        packet = checksum.repaired(tcp(checksum_value=0x1234))
        pseudo = packet[12:20] + struct.pack(">II", 20, 6)
        self.assertEqual(checksum.internet_sum(pseudo + packet[20:]), 0)
        self.assertEqual(checksum.internet_sum(packet[:20]), 0)

    def test_a_changed_hop_limit_keeps_a_right_checksum_right_and_a_wrong_one_wrong(self):
        right = bytearray(checksum.repaired(tcp()))
        right[8] = 3
        right = checksum.repaired(bytes(right))
        self.assertEqual(checksum.internet_sum(kernel.with_hops(right)[:20]), 0)
        wrong = right[:10] + bytes((right[10] ^ 1,)) + right[11:]
        self.assertNotEqual(checksum.internet_sum(kernel.with_hops(wrong)[:20]), 0)


class Listings(unittest.TestCase):
    def test_a_listing_of_open_vswitch_is_understood(self):
        first, second, third = ovs.parse_listing(OVS_LISTING)
        self.assertEqual(first["original"], ["10.0.0.1", "10.0.0.2", 5, 80])
        self.assertEqual((first["state"], first["left"]), ("CLOSING/CLOSED", 8))
        self.assertEqual((second["original"][2:], second["reply"][2:]), ([7, 8], [7, 0]))
        self.assertEqual(third["protocol"], 47)

    def test_a_listing_of_the_kernel_is_understood(self):
        first, second = kernel.parse_listing(KERNEL_LISTING)
        self.assertEqual((first["state"], first["flags"]), ("ESTABLISHED", ["ASSURED"]))
        self.assertEqual(first["reply"], ["10.0.0.2", "10.0.0.1", 80, 5])
        self.assertEqual((second["original"][2:], second["reply"][2:]), ([7, 8], [7, 0]))
        self.assertEqual(second["flags"], ["UNREPLIED"])

    def test_state_bits_are_named_in_order(self):
        self.assertEqual(ovs.state_text(0x20 | 0x02 | 0x08), "est,rpl")
        self.assertEqual(ovs.state_text(0x20), "")


class Differences(unittest.TestCase):
    packets = [capture.Packet(1, 0, tcp())]

    def between(self, theirs, ours, profile="ovs"):
        return differences.between(self.packets, theirs, ours, profile)

    def test_equal_answers_do_not_differ(self):
        self.assertEqual(self.between(answer("new", [entry()]), mine("new", [entry()])), ([], 0))

    def test_a_packet_that_was_not_judged_is_not_compared(self):
        self.assertEqual(self.between(answer(None), mine("inv")), ([], 0))

    def test_the_table_after_a_wrong_verdict_is_a_consequence(self):
        found, consequences = self.between(answer("new", [entry()]), mine("inv"))
        self.assertEqual([difference.kind for difference in found], ["verdict"])
        self.assertEqual(consequences, 1)

    def test_missing_extra_and_changed_connections_are_told_apart(self):
        for theirs, ours, kind in (([entry()], [], "missing"), ([], [entry()], "extra"),
                                   ([entry()], [entry("CLOSING")], "state"),
                                   ([entry()], [entry(left=90)], "timeout")):
            found, _ = self.between(answer("new", theirs), mine("new", ours))
            self.assertEqual([difference.kind for difference in found], [kind])

    def test_a_connection_about_to_expire_may_be_gone(self):
        self.assertEqual(self.between(answer("new", [entry(left=1)]), mine("new")), ([], 0))
        self.assertEqual(self.between(answer("new", [entry(left=1)]),
                                      mine("new", [entry(left=0)])), ([], 0))

    def test_related_hides_new_and_established_for_the_kernel_only(self):
        self.assertEqual(differences.state("new,rel", "kernel"), "rel")
        self.assertEqual(differences.state("new,rel", "ovs"), "new+rel")

    def test_a_row_explains_only_what_its_rule_says(self):
        with tempfile.NamedTemporaryFile("w", suffix=".md") as file:
            file.write("| K1 | kernel | `kind=verdict theirs=est/new ours=inv` | because |\n")
            file.flush()
            rows = differences.read(file.name)
        found, _ = self.between(answer("est"), mine("inv"), "kernel")
        self.assertEqual(differences.explain(rows, "kernel", found[0]).name, "K1")
        self.assertIsNone(differences.explain(rows, "ovs", found[0]))
        found, _ = self.between(answer("inv"), mine("est"), "kernel")
        self.assertIsNone(differences.explain(rows, "kernel", found[0]))

    def test_without_a_list_nothing_is_known(self):
        self.assertEqual(differences.read(os.path.join(os.sep, "no", "such", "file")), [])


if __name__ == "__main__":
    unittest.main()
