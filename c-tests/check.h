/* What the tests share: a check that says where it failed, and packets. */
#ifndef CHECK_H
#define CHECK_H

#include <ctoffload.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__,   \
                    #condition, ct_last_error());                                 \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

#define NEW (CT_STATE_TRACKED | CT_STATE_NEW)
#define EST (CT_STATE_TRACKED | CT_STATE_ESTABLISHED)
#define REPLY (EST | CT_STATE_REPLY_DIR)
#define INVALID (CT_STATE_TRACKED | CT_STATE_INVALID)

struct udp {
    uint8_t bytes[29];
};

/* A UDP datagram between 10.x.y.z addresses, without checksums. */
static inline struct udp udp(uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport)
{
    struct udp p = {{0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0,
                     10, (uint8_t)(src >> 16), (uint8_t)(src >> 8), (uint8_t)src,
                     10, (uint8_t)(dst >> 16), (uint8_t)(dst >> 8), (uint8_t)dst,
                     (uint8_t)(sport >> 8), (uint8_t)sport,
                     (uint8_t)(dport >> 8), (uint8_t)dport, 0, 9, 0, 0, '?'}};
    return p;
}

static inline struct ct_packet packet(struct udp *p)
{
    struct ct_packet packet;
    memset(&packet, 0, sizeof packet);
    packet.data = p->bytes;
    packet.length = sizeof p->bytes;
    packet.flags = CT_PACKET_IP_CSUM_GOOD;
    return packet;
}

static inline struct ct_action action(uint32_t flags, uint16_t zone)
{
    struct ct_action action;
    memset(&action, 0, sizeof action);
    action.size = sizeof action;
    action.flags = flags;
    action.zone = zone;
    return action;
}

/* Smaller under valgrind. */
static inline uint32_t rounds(uint32_t normal)
{
    return getenv("QUICK") != NULL ? normal / 50 + 1 : normal;
}

#endif
