/* A batch gives what its packets give one by one, whatever its size. */
#include "check.h"

#define N 1000

int main(void)
{
    static struct udp bytes[N];
    static struct ct_packet together[N], apart[N];
    struct ct_action commit = action(CT_ACTION_COMMIT, 3);
    struct conntrack *a, *b;
    uint32_t seed = 1;

    commit.mark = 0x10;
    commit.mark_mask = 0xf0;
    memset(commit.label, 0, sizeof commit.label);
    commit.label[0] = 0x80;
    commit.label_mask[0] = 0xff;
    CHECK(conntrack_create(NULL, &a) == 0 && conntrack_create(NULL, &b) == 0);
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t client = seed >> 24 & 15;
        bytes[i] = seed & 1u << 20 ? udp(client, 1000, 77, 53) : udp(77, 53, client, 1000);
        if (i % 17 == 0)
            bytes[i].bytes[0] = 0x65; /* Neither IPv4 nor a whole IPv6 header. */
        together[i] = packet(&bytes[i]);
        apart[i] = packet(&bytes[i]);
    }
    CHECK(conntrack_execute(a, together, N, &commit, 5) == 0);
    for (int i = 0; i < N; i++) {
        CHECK(conntrack_execute(b, &apart[i], 1, &commit, 5) == 0);
        CHECK(apart[i].ct_state == together[i].ct_state);
        CHECK(apart[i].reason == together[i].reason);
        CHECK(apart[i].ct_mark == together[i].ct_mark);
        CHECK(memcmp(apart[i].ct_label, together[i].ct_label, 16) == 0);
        CHECK(i % 17 == 0 || (apart[i].ct_mark == 0x10 && apart[i].ct_label[0] == 0x80));
    }
    conntrack_destroy(a);
    conntrack_destroy(b);
    return 0;
}
