/*
 * A firewall with source NAT between two interfaces, on raw sockets: what a datapath does with this
 * library, in one file.
 *
 *     nat INSIDE OUTSIDE PUBLIC_IPV4 PUBLIC_IPV6
 *
 * Hosts inside may connect to hosts outside, under the public addresses. From outside come answers,
 * errors about packets that were sent, and what a helper announced (FTP, TFTP, SIP); everything else
 * is dropped. ARP and neighbour discovery pass. SIGTERM ends it: it prints its connections.
 *
 * Interfaces must not leave checksums or segmentation to the device (ethtool -K IFACE tx off tso off
 * gso off gro off), since a raw socket has none. Linux only; needs CAP_NET_RAW.
 */
#define _GNU_SOURCE
#include <ctoffload.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define FRAME 2048
/* The longest frame that is received: what follows is room for a helper. */
#define MOST 1600

enum { INSIDE, OUTSIDE };

static struct conntrack *ct;
static int sockets[2];
static uint8_t frames[BATCH][FRAME];
static struct ct_packet packets[BATCH];
static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int open_interface(const char *name)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(0x0003)};
    int fd = socket(AF_PACKET, SOCK_RAW, htons(0x0003));

    address.sll_ifindex = (int)if_nametoindex(name);
    if (fd < 0 || address.sll_ifindex == 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror(name);
        exit(1);
    }
    /* Frames for any address, as a bridge sees them. */
    struct packet_mreq promiscuous = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous);
    return fd;
}

/* Fills a batch with the frames that came in, as far as they wait there; what this host sent itself is
 * not among them. */
static size_t receive(int side)
{
    size_t n = 0;

    while (n < BATCH) {
        struct sockaddr_ll from;
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(sockets[side], frames[n], MOST, MSG_DONTWAIT,
                                  (struct sockaddr *)&from, &size);
        if (length < 0)
            break;
        if (from.sll_pkttype == PACKET_OUTGOING)
            continue;
        memset(&packets[n], 0, sizeof packets[n]);
        packets[n].data = frames[n];
        packets[n].length = (uint32_t)length;
        packets[n].tailroom = FRAME - (uint32_t)length;
        packets[n].l3_offset = CT_OFFSET_UNKNOWN;
        packets[n].l4_offset = CT_OFFSET_UNKNOWN;
        packets[n].in_port = (uint32_t)side + 1;
        n++;
    }
    return n;
}

/* Which helper a packet from inside asks for: by the destination port, as rules do. */
static uint32_t helper_of(const struct ct_packet *packet)
{
    const uint8_t *ip = packet->data + 14;
    size_t header = ip[0] >> 4 == 4 ? (ip[0] & 15u) * 4 : 40;

    if (packet->length < 14 + header + 4)
        return CT_HELPER_NONE;
    uint8_t protocol = ip[0] >> 4 == 4 ? ip[9] : ip[6];
    unsigned port = ip[header + 2] << 8 | ip[header + 3];
    if (protocol == 6 && port == 21)
        return CT_HELPER_FTP;
    if (protocol == 17 && port == 69)
        return CT_HELPER_TFTP;
    if (protocol == 17 && port == 5060)
        return CT_HELPER_SIP;
    return CT_HELPER_NONE;
}

/* 4, 6, or 0 for what is no IP packet. */
static int version_of(const struct ct_packet *packet)
{
    unsigned type = packet->length < 15 ? 0 : packet->data[12] << 8 | packet->data[13];
    return type == 0x0800 ? 4 : type == 0x86dd ? 6 : 0;
}

/* Neighbour discovery goes with ARP. */
static int is_neighbour_discovery(const struct ct_packet *packet)
{
    return version_of(packet) == 6 && packet->length > 54 && packet->data[20] == 58 &&
           packet->data[54] >= 133 && packet->data[54] <= 137;
}

/* Packets from inside: committed and translated. Neighbours that want the same go in one call. */
static void track_inside(size_t n, const struct ct_action by_version[2], int64_t now)
{
    for (size_t first = 0, next; first < n; first = next) {
        int version = version_of(&packets[first]);
        uint32_t helper = helper_of(&packets[first]);

        next = first + 1;
        while (next < n && version_of(&packets[next]) == version &&
               helper_of(&packets[next]) == helper)
            next++;
        struct ct_action action = by_version[version == 6];
        action.helper = helper;
        conntrack_execute(ct, packets + first, next - first, &action, now);
    }
}

/* Packets from outside: translated back. Those that a helper announced begin a connection. */
static void track_outside(size_t n, int64_t now)
{
    struct ct_action action = {.size = sizeof action, .flags = CT_ACTION_NAT};

    conntrack_execute(ct, packets, n, &action, now);
    action.flags |= CT_ACTION_COMMIT;
    for (size_t i = 0; i < n; i++) {
        if ((packets[i].ct_state & (CT_STATE_NEW | CT_STATE_RELATED)) ==
            (CT_STATE_NEW | CT_STATE_RELATED))
            conntrack_execute(ct, &packets[i], 1, &action, now);
    }
}

static int may_pass(const struct ct_packet *packet, int side)
{
    if (version_of(packet) == 0 || is_neighbour_discovery(packet))
        return 1;
    if (packet->ct_state & CT_STATE_INVALID)
        return 0;
    if (side == INSIDE) /* Not stored: no answer would come back. */
        return !(packet->ct_state & CT_STATE_NEW) || packet->ct_state & CT_STATE_SRC_NAT;
    return (packet->ct_state & (CT_STATE_ESTABLISHED | CT_STATE_RELATED)) != 0;
}

static void print_connections(void)
{
    struct ct_dump dump = {.size = sizeof dump};
    struct ct_connection c = {.size = sizeof c};
    char text[4][INET6_ADDRSTRLEN];

    conntrack_dump_start(ct, NULL, &dump);
    while (conntrack_dump_next(ct, &dump, now_ms(), &c) == 0) {
        int family = c.original.ip_version == 6 ? AF_INET6 : AF_INET;
        inet_ntop(family, c.original.src, text[0], sizeof text[0]);
        inet_ntop(family, c.original.dst, text[1], sizeof text[1]);
        inet_ntop(family, c.reply.src, text[2], sizeof text[2]);
        inet_ntop(family, c.reply.dst, text[3], sizeof text[3]);
        printf("%u src=%s dst=%s sport=%u dport=%u src=%s dst=%s sport=%u dport=%u helper=%u%s\n",
               c.original.protocol, text[0], text[1], c.original.src_port, c.original.dst_port,
               text[2], text[3], c.reply.src_port, c.reply.dst_port, c.helper,
               c.parent.ip_version ? " related" : "");
    }
}

int main(int argc, char **argv)
{
    struct ct_action out[2];
    int64_t swept = 0;

    if (argc != 5) {
        fprintf(stderr, "usage: %s INSIDE OUTSIDE PUBLIC_IPV4 PUBLIC_IPV6\n", argv[0]);
        return 2;
    }
    memset(out, 0, sizeof out);
    for (int i = 0; i < 2; i++) {
        out[i].size = sizeof out[i];
        out[i].flags = CT_ACTION_COMMIT | CT_ACTION_NAT;
        out[i].nat.flags = CT_NAT_SRC;
        out[i].nat.ip_version = i ? 6 : 4;
        if (inet_pton(i ? AF_INET6 : AF_INET, argv[3 + i], out[i].nat.src.min_address) != 1) {
            fprintf(stderr, "%s: not an address\n", argv[3 + i]);
            return 2;
        }
    }
    if (conntrack_create(NULL, &ct) != 0) {
        fprintf(stderr, "%s\n", ct_last_error());
        return 1;
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    for (int side = 0; side < 2; side++)
        sockets[side] = open_interface(argv[1 + side]);
    printf("ready\n");
    fflush(stdout);
    while (!stopped) {
        struct pollfd polled[2] = {{.fd = sockets[INSIDE], .events = POLLIN},
                                   {.fd = sockets[OUTSIDE], .events = POLLIN}};

        poll(polled, 2, 200);
        int64_t now = now_ms();
        for (int side = 0; side < 2; side++) {
            size_t n = receive(side);

            if (side == INSIDE)
                track_inside(n, out, now);
            else
                track_outside(n, now);
            for (size_t i = 0; i < n; i++) {
                if (may_pass(&packets[i], side) &&
                    send(sockets[!side], packets[i].data, packets[i].length, 0) < 0 && errno != ENOBUFS)
                    perror("send");
            }
        }
        if (now - swept >= 1000) {
            conntrack_sweep(ct, now, 0, NULL);
            swept = now;
        }
    }
    print_connections();
    conntrack_destroy(ct);
    return 0;
}
