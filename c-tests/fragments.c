/* Fragments through the C interface: held where they are, given back with one verdict, translated
 * together; every packet comes back exactly once. */
#include "check.h"

#define PIECES 4
#define UNIT 400

/* A UDP datagram without checksum, cut into PIECES fragments of UNIT bytes. */
struct pieces {
    uint8_t bytes[PIECES][20 + UNIT];
};

static void header_checksum(uint8_t *header)
{
    uint32_t sum = 0;
    header[10] = header[11] = 0;
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)header[i] << 8 | header[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    header[10] = (uint8_t)(sum >> 8);
    header[11] = (uint8_t)sum;
}

static void cut(struct pieces *p, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport, uint16_t id)
{
    struct udp head = udp(src, sport, dst, dport);
    uint16_t length = PIECES * UNIT;

    for (int i = 0; i < PIECES; i++) {
        uint8_t *bytes = p->bytes[i];
        uint16_t offset = (uint16_t)(i * UNIT / 8 | (i < PIECES - 1 ? 0x2000 : 0));
        memset(bytes, 'a' + i, 20 + UNIT);
        memcpy(bytes, head.bytes, 20);
        bytes[2] = (20 + UNIT) >> 8;
        bytes[3] = (20 + UNIT) & 255;
        bytes[4] = (uint8_t)(id >> 8);
        bytes[5] = (uint8_t)id;
        bytes[6] = (uint8_t)(offset >> 8);
        bytes[7] = (uint8_t)offset;
        header_checksum(bytes);
    }
    memcpy(p->bytes[0] + 20, head.bytes + 20, 8);
    p->bytes[0][24] = (uint8_t)(length >> 8);
    p->bytes[0][25] = (uint8_t)length;
}

static struct ct_packet describe(struct pieces *p, int i, uint64_t cookie)
{
    struct ct_packet packet;
    memset(&packet, 0, sizeof packet);
    packet.data = p->bytes[i];
    packet.length = 20 + UNIT;
    packet.cookie = cookie;
    return packet;
}

static struct conntrack *instance(void)
{
    struct conntrack *ct;
    struct ct_ipf ipf = {.size = sizeof ipf, .v4 = 1, .v6 = 1, .min_v4_frag_size = 400};
    CHECK(conntrack_create(NULL, &ct) == 0);
    CHECK(conntrack_set_ipf(ct, &ipf) == 0);
    return ct;
}

static void whole(void)
{
    struct conntrack *ct = instance();
    struct ct_action snat = action(CT_ACTION_COMMIT | CT_ACTION_NAT, 0);
    struct pieces there, right;
    struct ct_packet packets[PIECES], back[PIECES];
    struct ct_ipf_status status = {.size = sizeof status};
    size_t taken = 77;
    struct ct_trace trace = {{0}};

    snat.nat.flags = CT_NAT_SRC;
    snat.nat.ip_version = 4;
    snat.nat.src.min_address[0] = 10;
    snat.nat.src.min_address[3] = 9;
    snat.nat.src.min_port = 5000;
    cut(&there, 1, 7, 2, 80, 3);
    cut(&right, 9, 5000, 2, 80, 3);
    for (int i = 0; i < PIECES; i++)
        packets[i] = describe(&there, i, 100 + (uint64_t)i);
    packets[0].trace = &trace;
    CHECK(conntrack_execute(ct, packets, PIECES - 1, &snat, 0) == 0);
    for (int i = 0; i < PIECES - 1; i++)
        CHECK(packets[i].verdict == CT_VERDICT_HELD && packets[i].cookie == 100 + (uint64_t)i);
    CHECK(conntrack_take_fragments(ct, 0, back, PIECES, &taken) == 0 && taken == 0);
    CHECK(conntrack_get_ipf_status(ct, &status) == 0);
    CHECK(status.frags == PIECES - 1 && status.counts_v4.accepted == PIECES - 1);
    CHECK(conntrack_execute(ct, packets + PIECES - 1, 1, &snat, 1) == 0);
    CHECK(packets[PIECES - 1].verdict == CT_VERDICT_PASS);
    CHECK(packets[PIECES - 1].ct_state == (NEW | CT_STATE_SRC_NAT));
    CHECK(conntrack_take_fragments(ct, 1, back, 1, &taken) == 0 && taken == 1);
    CHECK(conntrack_take_fragments(ct, 1, back + 1, PIECES - 1, &taken) == 0);
    CHECK(taken == PIECES - 2);
    for (int i = 0; i < PIECES - 1; i++) {
        CHECK(back[i].cookie == 100 + (uint64_t)i && back[i].data == there.bytes[i]);
        /* The trace may be another packet's by now. */
        CHECK(back[i].verdict == CT_VERDICT_PASS && back[i].trace == NULL);
        CHECK(back[i].ct_state == (NEW | CT_STATE_SRC_NAT));
        CHECK(back[i].modified == CT_MODIFIED_SRC && back[i].length == 20 + UNIT);
    }
    CHECK(memcmp(&there, &right, sizeof there) == 0);
    CHECK(conntrack_get_ipf_status(ct, &status) == 0);
    CHECK(status.frags == 0 && status.counts_v4.completed == PIECES);
    conntrack_destroy(ct);
}

static void never_whole(void)
{
    struct conntrack *ct = instance();
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    struct pieces some, others;
    struct ct_packet packets[2], back[4];
    size_t taken;

    cut(&some, 1, 7, 2, 80, 3);
    cut(&others, 1, 7, 2, 80, 4);
    packets[0] = describe(&some, 0, 1);
    packets[1] = describe(&others, 1, 2);
    CHECK(conntrack_execute(ct, packets, 1, &commit, 1000) == 0);
    CHECK(conntrack_execute(ct, packets + 1, 1, &commit, 2000) == 0);
    CHECK(conntrack_take_fragments(ct, 15999, back, 4, &taken) == 0 && taken == 0);
    CHECK(conntrack_take_fragments(ct, 16000, back, 4, &taken) == 0 && taken == 1);
    CHECK(back[0].cookie == 1 && back[0].ct_state == INVALID);
    CHECK(strstr(ct_reason_text(back[0].reason), "did not become whole") != NULL);
    CHECK(conntrack_flush_fragments(ct) == 0);
    CHECK(conntrack_take_fragments(ct, 16000, back, 4, &taken) == 0 && taken == 1);
    CHECK(back[0].cookie == 2);
    conntrack_destroy(ct);
}

/* As long as the limit allows, then one byte longer: nothing waits, the others are there to be taken. */
static void too_long(void)
{
    struct conntrack *ct = instance();
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    struct ct_ipf ipf = {.size = sizeof ipf, .v4 = 1, .min_v4_frag_size = 400};
    struct ct_ipf_status status = {.size = sizeof status};
    struct pieces some;
    struct ct_packet packets[PIECES], back[PIECES];
    size_t taken;

    CHECK(conntrack_get_ipf_status(ct, &status) == 0 && status.max_packet == 65575);
    for (uint16_t longer = 0; longer < 2; longer++) {
        uint8_t state = longer ? INVALID : NEW;

        ipf.max_packet = 20 + PIECES * UNIT - longer;
        CHECK(conntrack_set_ipf(ct, &ipf) == 0);
        CHECK(conntrack_get_ipf_status(ct, &status) == 0);
        CHECK(status.max_packet == ipf.max_packet && status.reserved == 0);
        cut(&some, 1, 7, 2, 80 + longer, 3);
        for (int i = 0; i < PIECES; i++)
            packets[i] = describe(&some, i, 100 + (uint64_t)i);
        CHECK(conntrack_execute(ct, packets, PIECES, &commit, 0) == 0);
        CHECK(packets[PIECES - 1].verdict == CT_VERDICT_PASS);
        CHECK(packets[PIECES - 1].ct_state == state);
        CHECK(conntrack_take_fragments(ct, 0, back, PIECES, &taken) == 0 && taken == PIECES - 1);
        for (int i = 0; i < PIECES - 1; i++)
            CHECK(back[i].cookie == 100 + (uint64_t)i && back[i].ct_state == state);
        CHECK(!longer || strcmp(ct_reason_name(back[0].reason), "DatagramTooLong") == 0);
    }
    /* Who knows a shorter struct gets that much. */
    memset(&status, 0xff, sizeof status);
    status.size = offsetof(struct ct_ipf_status, max_packet);
    CHECK(conntrack_get_ipf_status(ct, &status) == 0);
    CHECK(status.frags == 0 && status.max_packet == UINT32_MAX);
    conntrack_destroy(ct);
}

static void refused(void)
{
    struct conntrack *ct;
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    struct ct_ipf bad = {.size = sizeof bad, .v4 = 2};
    struct ct_ipf_status status = {.size = sizeof status};
    struct pieces some;
    struct ct_packet p;
    size_t taken = 9;

    CHECK(conntrack_create(NULL, &ct) == 0);
    CHECK(conntrack_set_ipf(ct, &bad) == EINVAL);
    bad.v4 = 1;
    bad.max_frags = 5001;
    CHECK(conntrack_set_ipf(ct, &bad) == EINVAL);
    CHECK(conntrack_set_ipf(ct, NULL) == EINVAL && conntrack_set_ipf(NULL, &bad) == EINVAL);
    CHECK(conntrack_get_ipf_status(ct, NULL) == EINVAL);
    CHECK(conntrack_get_ipf_status(ct, &status) == 0 && status.v4 == 0 && status.v6 == 0);
    CHECK(conntrack_take_fragments(ct, 0, NULL, 1, &taken) == EINVAL);
    CHECK(conntrack_take_fragments(ct, 0, &p, 1, NULL) == EINVAL);
    CHECK(conntrack_take_fragments(NULL, 0, &p, 1, &taken) == EINVAL);
    CHECK(conntrack_flush_fragments(NULL) == EINVAL);
    /* Nobody asked for reassembly: invalid, at once. */
    cut(&some, 1, 7, 2, 80, 3);
    p = describe(&some, 0, 1);
    CHECK(conntrack_execute(ct, &p, 1, &commit, 0) == 0);
    CHECK(p.verdict == CT_VERDICT_PASS && p.ct_state == INVALID && p.cookie == 1);
    conntrack_destroy(ct);
}

int main(void)
{
    whole();
    never_whole();
    too_long();
    refused();
    return 0;
}
