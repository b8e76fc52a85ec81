/* Frames: see frame.h. Checksums are left zero, as both engines are told that they were found good. */
#define _GNU_SOURCE
#include "frame.h"

#include <arpa/inet.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum {
    LINE = 64,
    STRIDE = 35 * LINE,
    LEAD = 2, /* the IP header is aligned to four bytes, as network stacks have it */
    ETHERNET = 14,
    IPV4_HEADER = 20,
    SERVERS = 251,
};

struct slot {
    uint16_t length;
    uint8_t family;
};

struct ring {
    uint8_t *buffers;
    struct slot *slots;
    unsigned count;
};

struct ring *
ring_new(unsigned batches)
{
    struct ring *ring = calloc(1, sizeof *ring);

    ring->count = batches * BATCH;
    ring->buffers = memory_map((size_t) ring->count * STRIDE);
    ring->slots = calloc(ring->count, sizeof *ring->slots);
    return ring;
}

static uint8_t *
frame_of(const struct ring *ring, unsigned index)
{
    return ring->buffers + (size_t) index * STRIDE + LEAD;
}

static void
put16(uint8_t *at, uint16_t value)
{
    value = htons(value);
    memcpy(at, &value, sizeof value);
}

static void
put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

static void
put_addresses(uint8_t *at, const struct packet *packet, uint32_t client, uint32_t server)
{
    bool original = packet->direction == ORIGINAL;
    uint32_t source = original ? client : server;
    uint32_t destination = original ? server : client;

    if (packet->family == IPV4) {
        put32(at, source);
        put32(at + 4, destination);
        return;
    }
    memset(at, 0, 32);
    put32(at, 0x20010db8);
    put32(at + 12, source);
    put32(at + 16, 0x20010db8);
    put32(at + 28, destination);
}

void
ring_write(struct ring *ring, unsigned index, const struct packet *packet)
{
    uint8_t *frame = frame_of(ring, index);
    uint8_t *l3 = frame + ETHERNET;
    uint32_t client = (uint32_t) packet->population << 24 | (packet->flow & 0xffffff);
    uint32_t server = 0xc0a80001 + packet->flow % (packet->servers ? packet->servers : SERVERS);
    uint16_t client_port = 1024 + packet->flow * 7919u % 60000;
    uint16_t server_port = packet->transport == TCP ? 443 : 4433;
    uint16_t header = packet->transport == TCP ? 20 : 8;
    uint16_t l4_length = header + packet->payload;
    uint8_t protocol = packet->transport == TCP ? 6 : 17;
    uint8_t *l4;

    if (packet->alias.port && packet->direction == REPLY) {
        client = packet->alias.address;
        client_port = packet->alias.port;
    }
    memset(frame, 0, ETHERNET);
    frame[0] = 0x02;
    frame[6] = 0x02;
    frame[11] = 1;
    if (packet->family == IPV4) {
        put16(frame + 12, 0x0800);
        memset(l3, 0, 20);
        l3[0] = 0x45;
        put16(l3 + 2, 20 + l4_length);
        l3[6] = 0x40;
        l3[8] = 64;
        l3[9] = protocol;
        put_addresses(l3 + 12, packet, client, server);
        l4 = l3 + 20;
    } else {
        put16(frame + 12, 0x86dd);
        memset(l3, 0, 8);
        l3[0] = 0x60;
        put16(l3 + 4, l4_length);
        l3[6] = protocol;
        l3[7] = 64;
        put_addresses(l3 + 8, packet, client, server);
        l4 = l3 + 40;
    }
    memset(l4, 0, header);
    put16(l4, packet->direction == ORIGINAL ? client_port : server_port);
    put16(l4 + 2, packet->direction == ORIGINAL ? server_port : client_port);
    if (packet->transport == TCP) {
        put32(l4 + 4, packet->seq);
        put32(l4 + 8, packet->ack);
        l4[12] = 5 << 4;
        l4[13] = packet->flags;
        put16(l4 + 14, 65535);
    } else {
        put16(l4 + 4, l4_length);
    }
    ring->slots[index].length = (uint16_t) (l4 - frame + l4_length);
    ring->slots[index].family = packet->family;
}

struct alias
ring_source(const struct ring *ring, unsigned index)
{
    const uint8_t *l3 = frame_of(ring, index) + ETHERNET;
    uint32_t address;
    uint16_t port;

    memcpy(&address, l3 + 12, sizeof address);
    memcpy(&port, l3 + IPV4_HEADER, sizeof port);
    return (struct alias) { .address = ntohl(address), .port = ntohs(port) };
}

void
ring_cool(struct ring *ring)
{
    for (unsigned i = 0; i < ring->count; i++) {
        memory_flush(ring->buffers + (size_t) i * STRIDE, 2 * LINE);
    }
    memory_fence();
}

void
ring_load(const struct ring *ring, unsigned batch, unsigned n, struct lane *lane)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned index = batch * BATCH + i;
        const struct slot *slot = &ring->slots[index];

        engine_load(lane, i, frame_of(ring, index), slot->length, slot->family);
    }
}
