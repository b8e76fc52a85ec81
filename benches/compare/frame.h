/* The packets of the workloads: flows by number, and the frames of a receive ring.
 *
 * A flow is a number; its addresses and ports follow from it, so that four million of them cost only
 * their sequence numbers here and no memory of the harness's own has to be waited for while an
 * engine is timed.
 *
 * The ring plays the part of a card's receive ring: buffers of 2,240 bytes (an odd number of cache
 * lines apart, as packet pools lay them out, so that headers do not share a few cache sets). After
 * they are written the header lines are flushed from all caches when 'cold' is asked for: a header
 * is then where a card without direct cache placement leaves it, in memory. */
#ifndef FRAME_H
#define FRAME_H

#include "engine.h"

enum transport { TCP, UDP };

enum { FIN = 0x01, SYN = 0x02, ACK = 0x10 };

enum direction { ORIGINAL, REPLY };

/* Payload of data packets, in bytes. */
enum { PAYLOAD = 100 };

/* Which range of client addresses a flow's number counts in. */
enum population { RESIDENT = 10, STRANGER = 11, NEWCOMER = 12 };

/* The address and port that a connection's source was translated to; port 0: it was not. */
struct alias {
    uint32_t address;
    uint16_t port;
};

struct packet {
    uint32_t flow;
    enum population population;
    enum family family;
    enum transport transport;
    enum direction direction;
    uint8_t flags;
    uint16_t payload;
    uint32_t seq;
    uint32_t ack;
    struct alias alias; /* replies go there */
    uint32_t servers;   /* how many there are; 0: the usual number */
};

enum headers { WARM, COLD };

struct ring;

/* A ring of 'batches' times BATCH buffers. */
struct ring *ring_new(unsigned batches);

/* Writes a packet into a buffer of the ring. */
void ring_write(struct ring *, unsigned index, const struct packet *);

/* The source of an IPv4 packet as it stands in its buffer now. */
struct alias ring_source(const struct ring *, unsigned index);

/* Leaves the headers of the whole ring cold. */
void ring_cool(struct ring *);

/* Loads one batch of the ring into the descriptors of a lane. */
void ring_load(const struct ring *, unsigned batch, unsigned n, struct lane *);

#endif
