/* The smallest datapath: two packets of one conversation. */
#include <ctoffload.h>
#include <stdio.h>

static uint8_t question[] = {
    0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, /* 10.0.0.1 > 10.0.0.2 */
    0x9c, 0x40, 0, 53, 0, 9, 0, 0, '?'};                                /* UDP 40000 > 53 */
static uint8_t answer[] = {
    0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1,
    0, 53, 0x9c, 0x40, 0, 9, 0, 0, '!'};

int main(void)
{
    struct ct_action commit = {.size = sizeof commit, .flags = CT_ACTION_COMMIT};
    struct ct_packet packets[2] = {
        {.data = question, .length = sizeof question, .flags = CT_PACKET_IP_CSUM_GOOD},
        {.data = answer, .length = sizeof answer, .flags = CT_PACKET_IP_CSUM_GOOD}};
    struct conntrack *ct;
    if (conntrack_create(NULL, &ct) || conntrack_execute(ct, packets, 2, &commit, 0)) {
        fprintf(stderr, "%s\n", ct_last_error());
        return 1;
    }
    printf("%#x %#x\n", packets[0].ct_state, packets[1].ct_state); /* 0x21 new, 0x2a reply */
    conntrack_destroy(ct);
    return 0;
}
