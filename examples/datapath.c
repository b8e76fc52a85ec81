/*
 * A minimal datapath: reads captures, tracks them in batches by the captures' own clock, and prints
 * the connection table.
 *
 *     datapath [-v] FILE.pcap...
 *
 * It reads classic pcap files of Ethernet frames only; `ctoffload replay` reads everything else.
 */
#include <ctoffload.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 32
#define FRAME 65536

struct capture {
    FILE *file;
    int swapped;
    uint32_t per_ms; /* Timestamp units in a millisecond. */
};

static uint32_t u32(const struct capture *capture, uint32_t value)
{
    return capture->swapped ? __builtin_bswap32(value) : value;
}

static int capture_open(struct capture *capture, const char *name)
{
    uint32_t header[6];
    capture->file = fopen(name, "rb");
    if (capture->file == NULL) {
        perror(name);
        return -1;
    }
    if (fread(header, sizeof header, 1, capture->file) != 1) {
        fprintf(stderr, "%s: not a capture\n", name);
        return -1;
    }
    capture->swapped = header[0] == 0xd4c3b2a1 || header[0] == 0x4d3cb2a1;
    uint32_t magic = u32(capture, header[0]);
    if (magic != 0xa1b2c3d4 && magic != 0xa1b23c4d) {
        fprintf(stderr, "%s: not a pcap file\n", name);
        return -1;
    }
    if (u32(capture, header[5]) != 1) {
        fprintf(stderr, "%s: not a capture of Ethernet frames\n", name);
        return -1;
    }
    capture->per_ms = magic == 0xa1b23c4d ? 1000000 : 1000;
    return 0;
}

/* The next frame and its time in milliseconds; 0 at the end, -1 when the file is damaged. */
static int capture_next(struct capture *capture, uint8_t *frame, uint32_t *length,
                        uint32_t *whole, int64_t *now_ms)
{
    uint32_t header[4];
    if (fread(header, sizeof header, 1, capture->file) != 1)
        return 0;
    *length = u32(capture, header[2]);
    *whole = u32(capture, header[3]);
    *now_ms = (int64_t)u32(capture, header[0]) * 1000 + u32(capture, header[1]) / capture->per_ms;
    if (*length > FRAME || fread(frame, 1, *length, capture->file) != *length)
        return -1;
    return 1;
}

static const char *state_text(uint32_t state)
{
    static const char *const names[] = {"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"};
    static char text[64];
    text[0] = '\0';
    for (int bit = 0; bit < 8; bit++) {
        if (state & 1u << bit) {
            if (text[0] != '\0')
                strcat(text, "|");
            strcat(text, names[bit]);
        }
    }
    return text;
}

static void print_tuple(const struct ct_tuple *tuple)
{
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
    int family = tuple->ip_version == 6 ? AF_INET6 : AF_INET;
    inet_ntop(family, tuple->src, src, sizeof src);
    inet_ntop(family, tuple->dst, dst, sizeof dst);
    printf("(src=%s,dst=%s", src, dst);
    if (tuple->protocol == 1 || tuple->protocol == 58)
        printf(",id=%u,type=%u,code=%u", tuple->src_port, tuple->icmp_type, tuple->icmp_code);
    else
        printf(",sport=%u,dport=%u", tuple->src_port, tuple->dst_port);
    printf(")");
}

static const char *protocol_text(uint8_t protocol)
{
    static char number[4];
    switch (protocol) {
    case 1: return "icmp";
    case 6: return "tcp";
    case 17: return "udp";
    case 58: return "icmpv6";
    case 132: return "sctp";
    default: snprintf(number, sizeof number, "%u", protocol); return number;
    }
}

static void print_table(struct conntrack *ct, int64_t now_ms)
{
    struct ct_dump dump = {.size = sizeof dump};
    struct ct_connection c = {.size = sizeof c};
    conntrack_dump_start(ct, NULL, &dump);
    while (conntrack_dump_next(ct, &dump, now_ms, &c) == 0) {
        printf("%s,orig=", protocol_text(c.original.protocol));
        print_tuple(&c.original);
        printf(",reply=");
        print_tuple(&c.reply);
        printf(",timeout=%llu", (unsigned long long)(c.remaining_ms / 1000));
        if (c.state[0] != '\0')
            printf(",protoinfo=(state=%s)", (const char *)c.state);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    static uint8_t frames[BATCH][FRAME];
    struct ct_packet packets[BATCH];
    struct ct_action commit = {.size = sizeof commit, .flags = CT_ACTION_COMMIT};
    int verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    int status = 0;

    for (int i = 1 + verbose; i < argc; i++) {
        struct conntrack *ct;
        struct capture capture = {0};
        unsigned long long count = 0, invalid = 0;
        int64_t now_ms = 0;
        int more = 1;

        if (conntrack_create(NULL, &ct) != 0) {
            fprintf(stderr, "%s\n", ct_last_error());
            return 1;
        }
        if (capture_open(&capture, argv[i]) != 0) {
            conntrack_destroy(ct);
            status = 1;
            continue;
        }
        while (more > 0) {
            size_t n = 0;
            int64_t batch_ms = 0;
            memset(packets, 0, sizeof packets);
            while (n < BATCH) {
                uint32_t length, whole;
                more = capture_next(&capture, frames[n], &length, &whole, &now_ms);
                if (more <= 0)
                    break;
                packets[n].data = frames[n];
                packets[n].length = length;
                packets[n].total_length = whole;
                packets[n].l3_offset = CT_OFFSET_UNKNOWN;
                packets[n].l4_offset = CT_OFFSET_UNKNOWN;
                batch_ms = now_ms;
                n++;
            }
            conntrack_execute(ct, packets, n, &commit, batch_ms);
            for (size_t p = 0; p < n; p++) {
                count++;
                invalid += (packets[p].ct_state & CT_STATE_INVALID) != 0;
                if (verbose)
                    printf("%6llu %s%s%s\n", count, state_text(packets[p].ct_state),
                           packets[p].reason ? " " : "",
                           packets[p].reason ? ct_reason_name(packets[p].reason) : "");
            }
            conntrack_sweep(ct, batch_ms, 1024, NULL);
        }
        if (more < 0) {
            fprintf(stderr, "%s: damaged after packet %llu\n", argv[i], count);
            status = 1;
        }
        printf("== %s: %llu packets, %llu invalid\n", argv[i], count, invalid);
        print_table(ct, now_ms);
        fclose(capture.file);
        conntrack_destroy(ct);
    }
    return status;
}
