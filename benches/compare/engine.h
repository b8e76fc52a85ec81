/* The two engines behind one interface.
 *
 * A workload knows frames, verdict bits and time. It does not know what a dp_packet or a ct_packet
 * is: that is the business of engine_ovs.c and engine_ctoffload.c, of which each program links one
 * (both define conntrack_execute(), so they could not stand in one program anyway).
 *
 * What is timed is engine_execute() and nothing else. engine_load() plays the part of the datapath
 * that received the packet: it fills the engine's own descriptor with what a datapath knows by then
 * (pointers, offsets, checksums found good by the card) and never touches the bytes of the frame. */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BATCH = 32 };

/* Verdict bits, with the values that both engines give them. */
enum {
    STATE_NEW = 0x01,
    STATE_EST = 0x02,
    STATE_RPL = 0x08,
    STATE_INV = 0x10,
    STATE_TRK = 0x20,
    STATE_SRC_NAT = 0x40,
    STATE_DST_NAT = 0x80,
};

enum family { IPV4, IPV6 };

/* ct(nat(...)): sources of new connections become one of these addresses, host byte order, and ports.
 * With 'choose' unset it is ct(nat): packets are translated as their connection was committed. */
struct translation {
    bool choose;
    uint32_t first, last;
    uint16_t low, high; /* 0: the port is kept where that is possible */
};

/* What is asked of the tracker for a batch. */
struct request {
    uint16_t zone;
    bool commit;
    enum family family;
    const struct translation *nat; /* or NULL */
};

/* What one call of engine_sweep() did. */
struct swept {
    bool complete;       /* nothing is left that was due */
    long long next_ms;   /* when the engine itself would sweep again */
};

struct engine;

/* The descriptors of one thread's batch. */
struct lane;

extern const char engine_name[];

/* An instance for at most 'limit' connections. Its own sweeping thread, if any, is stopped: the
 * workload decides when to sweep. 'limit' also makes room for none of them ahead of time. */
struct engine *engine_create(uint32_t limit);

/* A full table makes room by dropping connections that were never answered, instead of refusing the new
 * one; false: this engine cannot. */
bool engine_drop_early(struct engine *);

/* The time at which the instance was created, in its own clock's milliseconds. */
long long engine_epoch(const struct engine *);

struct lane *engine_lane(struct engine *);
void engine_load(struct lane *, unsigned slot, void *frame, uint16_t length, enum family);
void engine_execute(struct lane *, unsigned n, const struct request *, long long now_ms);
uint8_t engine_state(const struct lane *, unsigned slot);

/* The calling thread holds nothing of the engine at this moment (a quiescent state). */
void engine_rest(void);

/* Waits until memory that the engine gives back later has been given back. */
void engine_settle(void);

struct swept engine_sweep(struct engine *, long long now_ms);
void engine_flush_zone(struct engine *, uint16_t zone, long long now_ms);
size_t engine_dump(struct engine *, long long now_ms);
uint32_t engine_count(struct engine *);

/* Workloads that only this engine has; the last one has no name. */
struct cell;

struct workload {
    const char *name;
    uint64_t (*run)(const struct cell *);
};

extern const struct workload engine_workloads[];

#endif
