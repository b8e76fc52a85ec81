/* One packet at a time: every kind that is tracked, and what a descriptor may say of its checksums. */
#include "check.h"

#define HEADERS 64

struct bytes {
    uint8_t at[HEADERS];
    uint32_t length;
};

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* An IP header between two ends, in either direction; returns where the transport header begins. */
static uint8_t *ip(struct bytes *b, int version, uint8_t protocol, int back, uint32_t more)
{
    uint8_t src = back ? 2 : 1, dst = back ? 1 : 2;
    memset(b, 0, sizeof *b);
    if (version == 4) {
        b->at[0] = 0x45;
        put16(b->at + 2, 20 + more);
        b->at[8] = 64;
        b->at[9] = protocol;
        b->at[12] = b->at[16] = 10;
        b->at[15] = src;
        b->at[19] = dst;
        b->length = 20 + more;
        return b->at + 20;
    }
    b->at[0] = 0x60;
    put16(b->at + 4, more);
    b->at[6] = protocol;
    b->at[7] = 64;
    b->at[8] = b->at[24] = 0xfd;
    b->at[23] = src;
    b->at[39] = dst;
    b->length = 40 + more;
    return b->at + 40;
}

static void ports(uint8_t *l4, int back)
{
    put16(l4, back ? 80 : 1000);
    put16(l4 + 2, back ? 1000 : 80);
}

static struct bytes datagram(int version, int back)
{
    struct bytes b;
    uint8_t *udp = ip(&b, version, 17, back, 8);
    ports(udp, back);
    put16(udp + 4, 8);
    return b;
}

/* No device vouches for ICMP, so its sum must be right. */
static unsigned sum(const uint8_t *at, uint32_t length, unsigned start)
{
    for (uint32_t i = 0; i < length; i += 2)
        start += (unsigned)at[i] << 8 | at[i + 1];
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return start;
}

static struct bytes echo(int version, int back)
{
    struct bytes b;
    unsigned pseudo = 0;
    uint8_t *icmp = ip(&b, version, version == 4 ? 1 : 58, back, 8);
    icmp[0] = (uint8_t)(version == 4 ? (back ? 0 : 8) : (back ? 129 : 128));
    put16(icmp + 4, 77);
    if (version == 6)
        pseudo = sum(b.at + 8, 32, 8 + 58);
    put16(icmp + 2, ~sum(icmp, 8, pseudo) & 0xffff);
    return b;
}

static struct bytes segment(int version, int back, uint8_t flags, uint8_t seq, uint8_t ack)
{
    struct bytes b;
    uint8_t *tcp = ip(&b, version, 6, back, 20);
    ports(tcp, back);
    tcp[7] = seq;
    tcp[11] = ack;
    tcp[12] = 0x50;
    tcp[13] = flags;
    put16(tcp + 14, 1000);
    return b;
}

static struct ct_packet believed(struct bytes *b)
{
    struct ct_packet p;
    memset(&p, 0, sizeof p);
    p.data = b->at;
    p.length = b->length;
    p.flags = CT_PACKET_IP_CSUM_GOOD | CT_PACKET_L4_CSUM_GOOD;
    return p;
}

static uint32_t track(struct conntrack *ct, struct bytes b, uint64_t *connection)
{
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    struct ct_packet p = believed(&b);
    CHECK(conntrack_execute(ct, &p, 1, &commit, 0) == 0);
    CHECK(p.data == b.at && p.length == b.length);
    if (*connection != 0 && p.connection != 0)
        CHECK(p.connection == *connection);
    *connection = p.connection;
    return p.ct_state;
}

static void every_protocol(struct conntrack *ct, int version)
{
    uint64_t c = 0;
    CHECK(track(ct, datagram(version, 0), &c) == NEW);
    CHECK(track(ct, datagram(version, 1), &c) == REPLY);
    CHECK(track(ct, datagram(version, 0), &c) == EST);
    c = 0;
    CHECK(track(ct, echo(version, 0), &c) == NEW);
    CHECK(track(ct, echo(version, 1), &c) == REPLY);
    c = 0;
    CHECK(track(ct, segment(version, 0, 0x02, 1, 0), &c) == NEW);
    CHECK(track(ct, segment(version, 1, 0x12, 1, 2), &c) == REPLY);
    CHECK(track(ct, segment(version, 0, 0x10, 2, 2), &c) == EST);
}

/* What the device says of a checksum is believed; where it says nothing, the sum is computed. */
static void checksums(struct conntrack *ct)
{
    struct ct_action look = action(0, 9);
    struct bytes b = datagram(4, 0);
    static const struct {
        uint32_t flags;
        uint32_t state;
        const char *reason;
    } cases[] = {
        {CT_PACKET_IP_CSUM_GOOD, NEW, "NotCommitted"},
        {CT_PACKET_IP_CSUM_GOOD | CT_PACKET_IP_CSUM_BAD, NEW, "NotCommitted"},
        {CT_PACKET_IP_CSUM_BAD, INVALID, "IpChecksum"},
        {0, INVALID, "IpChecksum"}, /* The header's sum is zero, and wrong. */
        {CT_PACKET_IP_CSUM_GOOD | CT_PACKET_L4_CSUM_BAD, INVALID, "L4Checksum"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ct_packet p = believed(&b);
        p.flags = cases[i].flags;
        CHECK(conntrack_execute(ct, &p, 1, &look, 0) == 0);
        CHECK(p.ct_state == cases[i].state);
        CHECK(strcmp(ct_reason_name(p.reason), cases[i].reason) == 0 && p.connection == 0);
    }
}

/* A frame: the Ethernet header is looked through when the offset is unknown. */
static void frames(struct conntrack *ct)
{
    uint8_t frame[14 + HEADERS] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00};
    struct ct_action look = action(0, 9);
    struct bytes b = datagram(4, 0);
    struct ct_packet p = believed(&b);
    memcpy(frame + 14, b.at, b.length);
    p.data = frame;
    p.length = 14 + b.length;
    p.l3_offset = CT_OFFSET_UNKNOWN;
    CHECK(conntrack_execute(ct, &p, 1, &look, 0) == 0 && p.ct_state == NEW);
    conntrack_clear(&p);
    p.l3_offset = 14;
    CHECK(conntrack_execute(ct, &p, 1, &look, 0) == 0 && p.ct_state == NEW);
}

/* A packet cut off anywhere: a verdict, and no byte read behind the end (a sanitizer watches). */
static void every_length(struct conntrack *ct)
{
    struct ct_action look = action(0, 9);
    for (int version = 4; version <= 6; version += 2) {
        struct bytes whole = segment(version, 0, 0x02, 1, 0);
        for (uint32_t length = 0; length <= whole.length; length++) {
            uint8_t *exact = malloc(length ? length : 1);
            struct ct_packet p = believed(&whole);
            CHECK(exact != NULL);
            memcpy(exact, whole.at, length);
            p.data = exact;
            p.length = length;
            CHECK(conntrack_execute(ct, &p, 1, &look, 0) == 0);
            CHECK(p.ct_state == (length == whole.length ? NEW : INVALID));
            free(exact);
        }
    }
}

int main(void)
{
    struct conntrack *ct;
    CHECK(conntrack_create(NULL, &ct) == 0);
    every_protocol(ct, 4);
    every_protocol(ct, 6);
    checksums(ct);
    frames(ct);
    every_length(ct);
    conntrack_destroy(ct);
    return 0;
}
