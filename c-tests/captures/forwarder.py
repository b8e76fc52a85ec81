"""A wire that loses and reorders frames: copies frames between two interfaces.

usage: forwarder.py IFACE IFACE SEED

Every 50th frame or so is lost, every 25th is held back behind the one after it. Which ones is
decided by a seeded generator. Address resolution is left alone, so that the session can begin.
"""

import random
import select
import socket
import sys

ETH_P_ALL = 3
ETHERTYPE_ARP = b"\x08\x06"


def open_interface(name):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((name, 0))
    return sock


def main():
    left, right = (open_interface(name) for name in sys.argv[1:3])
    chance = random.Random(int(sys.argv[3]))
    other = {left: right, right: left}
    held = {left: None, right: None}
    while True:
        ready = select.select([left, right], [], [], 0.02)[0]
        for sock in ready:
            frame, address = sock.recvfrom(65536)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if frame[12:14] != ETHERTYPE_ARP:
                fate = chance.random()
                if fate < 0.02:
                    continue
                if fate < 0.06 and held[sock] is None:
                    held[sock] = frame
                    continue
            other[sock].send(frame)
            if held[sock] is not None:
                other[sock].send(held[sock])
                held[sock] = None
        if not ready:
            for sock, frame in held.items():
                if frame is not None:
                    other[sock].send(frame)
                    held[sock] = None


main()
