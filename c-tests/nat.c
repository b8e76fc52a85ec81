/* Translation and helpers through the C interface: headers rewritten in place, payloads that grow into
 * the room behind them, and every nonsense refused. */
#include "check.h"

/* 10.0.0.9, as struct ct_tuple holds it. */
static const uint8_t PUBLIC[16] = {10, 0, 0, 9};

static struct ct_action nat(uint32_t flags, uint16_t min_port, uint16_t max_port)
{
    struct ct_action a = action(CT_ACTION_COMMIT | CT_ACTION_NAT, 0);
    a.nat.flags = flags;
    a.nat.ip_version = 4;
    memcpy(a.nat.src.min_address, PUBLIC, 16);
    a.nat.src.min_port = min_port;
    a.nat.src.max_port = max_port;
    memcpy(a.nat.dst.min_address, PUBLIC, 16);
    a.nat.dst.min_port = min_port;
    a.nat.dst.max_port = max_port;
    return a;
}

static void sources_and_destinations(void)
{
    struct conntrack *ct;
    struct ct_action snat = nat(CT_NAT_SRC, 5000, 5000), apply = action(CT_ACTION_NAT, 0);
    struct udp there = udp(1, 7, 2, 80), back = udp(2, 80, 9, 5000);
    struct udp there_right = udp(9, 5000, 2, 80), back_right = udp(2, 80, 1, 7);
    struct ct_packet p = packet(&there), q = packet(&back);
    struct ct_tuple original;

    p.flags = CT_PACKET_IP_CSUM_GOOD | CT_PACKET_IP_CSUM_BAD; /* The device completes it. */
    q.flags = p.flags;
    memset(&original, 0, sizeof original);
    q.orig_tuple = &original;
    CHECK(conntrack_create(NULL, &ct) == 0);
    CHECK(conntrack_execute(ct, &p, 1, &snat, 0) == 0);
    CHECK(p.ct_state == (NEW | CT_STATE_SRC_NAT));
    CHECK(p.modified == CT_MODIFIED_SRC && p.connection == 0);
    CHECK(memcmp(there.bytes, there_right.bytes, sizeof there.bytes) == 0);
    CHECK(conntrack_execute(ct, &q, 1, &apply, 0) == 0);
    CHECK(q.ct_state == (REPLY | CT_STATE_DST_NAT));
    CHECK(q.modified == CT_MODIFIED_DST);
    CHECK(memcmp(back.bytes, back_right.bytes, sizeof back.bytes) == 0);
    CHECK(original.src_port == 7 && original.dst_port == 80);

    /* A packet that may not be changed says so. */
    struct udp fixed = udp(1, 7, 2, 80);
    p = packet(&fixed);
    p.flags |= CT_PACKET_READ_ONLY;
    CHECK(conntrack_execute(ct, &p, 1, &apply, 0) == 0);
    CHECK(p.ct_state & CT_STATE_INVALID);
    CHECK(strstr(ct_reason_text(p.reason), "read-only") != NULL);
    CHECK(p.modified == 0);

    /* The range is full: new, not stored, not changed. */
    struct udp late = udp(3, 7, 2, 80), late_right = late;
    p = packet(&late);
    CHECK(conntrack_execute(ct, &p, 1, &snat, 0) == 0);
    CHECK(p.ct_state == NEW && p.modified == 0 && p.connection == 0);
    CHECK(memcmp(late.bytes, late_right.bytes, sizeof late.bytes) == 0);
    conntrack_destroy(ct);
}

static void refused(void)
{
    struct conntrack *ct;
    struct udp bytes = udp(1, 7, 2, 80), before = bytes;
    struct ct_packet p = packet(&bytes);
    struct ct_action bad[8];

    for (size_t i = 0; i < 8; i++)
        bad[i] = nat(CT_NAT_SRC, 5000, 6000);
    bad[0].nat.flags = 1u << 20;
    bad[1].nat.ip_version = 5;
    bad[2].nat.ip_version = 0;
    bad[3].nat.reserved[1] = 1;
    bad[4].nat.src.max_port = 4999;
    bad[5].nat.src.min_address[4] = 1;
    bad[6].helper = 77;
    bad[7].nat.src.max_address[0] = 9;
    CHECK(conntrack_create(NULL, &ct) == 0);
    for (size_t i = 0; i < 8; i++) {
        CHECK(conntrack_execute(ct, &p, 1, &bad[i], 0) == EINVAL);
        CHECK(p.ct_state == 0 && memcmp(bytes.bytes, before.bytes, sizeof bytes.bytes) == 0);
    }
    conntrack_destroy(ct);
}

static uint16_t sum(const uint8_t *bytes, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        seed += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (seed >> 16)
        seed = (seed & 0xffff) + (seed >> 16);
    return (uint16_t)seed;
}

/* A SIP message whose text must grow from 10.0.0.1 to 198.51.100.200. */
static void text_that_grows(void)
{
    static const char text[] = "OPTIONS sip:b@10.0.0.2 SIP/2.0\r\n"
                               "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1\r\n"
                               "Contact: <sip:a@10.0.0.1:5060>\r\nContent-Length: 0\r\n\r\n";
    uint8_t bytes[256];
    struct ct_action a = nat(CT_NAT_SRC, 0, 0);
    const uint8_t public[16] = {198, 51, 100, 200};

    memcpy(a.nat.src.min_address, public, 16);
    a.helper = CT_HELPER_SIP;
    for (uint32_t tailroom = 0; tailroom <= 64; tailroom += 64) {
        struct conntrack *ct;
        struct udp head = udp(1, 5060, 2, 5060);
        size_t length = 28 + sizeof text - 1;
        struct ct_packet p;

        memset(bytes, 0xee, sizeof bytes);
        memcpy(bytes, head.bytes, 28);
        memcpy(bytes + 28, text, sizeof text - 1);
        bytes[2] = (uint8_t)(length >> 8);
        bytes[3] = (uint8_t)length;
        bytes[24] = (uint8_t)((length - 20) >> 8);
        bytes[25] = (uint8_t)(length - 20);
        uint16_t check = (uint16_t)~sum(bytes, 20, 0);
        bytes[10] = (uint8_t)(check >> 8);
        bytes[11] = (uint8_t)check;
        memset(&p, 0, sizeof p);
        p.data = bytes;
        p.length = (uint32_t)length;
        p.tailroom = tailroom;
        CHECK(conntrack_create(NULL, &ct) == 0);
        CHECK(conntrack_execute(ct, &p, 1, &a, 0) == 0);
        CHECK(p.ct_state == (NEW | CT_STATE_SRC_NAT));
        CHECK(sum(bytes, 20, 0) == 0xffff);
        if (tailroom == 0) {
            /* No room: translated, its text left as it was. */
            CHECK(p.modified == CT_MODIFIED_SRC && p.length == length && p.length_delta == 0);
            CHECK(memcmp(bytes + 28, text, sizeof text - 1) == 0);
        } else {
            CHECK(p.modified == (CT_MODIFIED_SRC | CT_MODIFIED_PAYLOAD));
            CHECK(p.length_delta == 12 && p.length == length + 12 && p.tailroom == 52);
            CHECK(((size_t)bytes[2] << 8 | bytes[3]) == length + 12);
            bytes[length + 12] = 0;
            CHECK(strstr((char *)bytes + 28, "198.51.100.200:5060") != NULL);
        }
        conntrack_destroy(ct);
    }
}

int main(void)
{
    sources_and_destinations();
    refused();
    text_that_grows();
    return 0;
}
