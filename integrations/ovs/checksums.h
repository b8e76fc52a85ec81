/*
 * What is known of a packet's checksums, in Open vSwitch's words, which change from version to version, and
 * in the library's. One that was not verified but will be completed at transmission is neither good nor bad:
 * the library's word for that is both.
 *
 * For engine.c alone.
 */

#ifndef CTOFFLOAD_OVS_CHECKSUMS_H
#define CTOFFLOAD_OVS_CHECKSUMS_H

#include <netinet/in.h>

#include "coverage.h"
#include "dp-packet.h"
#include "packets.h"

#include <ctoffload.h>

#if OVS_VERSION < 400
/* Flags that say something of checksums. Others may be anything. */
#define CHECKSUM_FLAGS (DP_PACKET_OL_SUPPORTED_MASK & ~(DP_PACKET_OL_RSS_HASH | DP_PACKET_OL_FLOW_MARK))
#endif

#if OVS_VERSION >= 400

/* That is Open vSwitch's word, too. */
static inline uint32_t
checksums(const struct dp_packet *packet)
{
    uint32_t is = packet->offloads;

    return (is & DP_PACKET_OL_IP_CKSUM_GOOD ? CT_PACKET_IP_CSUM_GOOD : 0)
           | (is & DP_PACKET_OL_IP_CKSUM_BAD ? CT_PACKET_IP_CSUM_BAD : 0)
           | (is & DP_PACKET_OL_L4_CKSUM_GOOD ? CT_PACKET_L4_CSUM_GOOD : 0)
           | (is & DP_PACKET_OL_L4_CKSUM_BAD ? CT_PACKET_L4_CSUM_BAD : 0);
}

#elif OVS_VERSION >= 305

/* One that is good is complete, whether or not the packet is marked for transmission: it is mended. */
static inline uint32_t
checksums(const struct dp_packet *packet)
{
    uint64_t is = *dp_packet_ol_flags_ptr(packet);
    uint32_t flags;

    if (!(is & CHECKSUM_FLAGS)) {
        return 0;
    }
    flags = (is & DP_PACKET_OL_RX_IP_CKSUM_GOOD ? CT_PACKET_IP_CSUM_GOOD : 0)
            | (is & DP_PACKET_OL_RX_IP_CKSUM_BAD ? CT_PACKET_IP_CSUM_BAD : 0)
            | (is & DP_PACKET_OL_RX_L4_CKSUM_GOOD ? CT_PACKET_L4_CSUM_GOOD : 0)
            | (is & DP_PACKET_OL_RX_L4_CKSUM_BAD ? CT_PACKET_L4_CSUM_BAD : 0);
    if (!(is & DP_PACKET_OL_RX_IP_CKSUM_MASK) && dp_packet_hwol_l3_ipv4(packet)) {
        flags |= CT_PACKET_IP_CSUM_GOOD | CT_PACKET_IP_CSUM_BAD;
    }
    if (!(is & DP_PACKET_OL_RX_L4_CKSUM_MASK) && is & DP_PACKET_OL_TX_L4_MASK) {
        flags |= CT_PACKET_L4_CSUM_GOOD | CT_PACKET_L4_CSUM_BAD;
    }
    return flags;
}

#else

static inline uint32_t
checksums(const struct dp_packet *packet)
{
    uint32_t flags = 0;

    if (!(*dp_packet_ol_flags_ptr(packet) & CHECKSUM_FLAGS)) {
        return 0;
    }
    if (dp_packet_ip_checksum_valid(packet)) {
        flags |= CT_PACKET_IP_CSUM_GOOD;
    } else if (dp_packet_ip_checksum_bad(packet)) {
        flags |= CT_PACKET_IP_CSUM_BAD;
    } else if (dp_packet_hwol_is_ipv4(packet)) {
        flags |= CT_PACKET_IP_CSUM_GOOD | CT_PACKET_IP_CSUM_BAD;
    }
    if (dp_packet_l4_checksum_bad(packet)) {
        flags |= CT_PACKET_L4_CSUM_BAD;
    } else if (dp_packet_hwol_tx_l4_checksum(packet)) {
        flags |= CT_PACKET_L4_CSUM_GOOD | CT_PACKET_L4_CSUM_BAD;
    } else if (dp_packet_l4_checksum_valid(packet)) {
        flags |= CT_PACKET_L4_CSUM_GOOD;
    }
    return flags;
}
#endif

#if OVS_VERSION >= 400

COVERAGE_DEFINE(conntrack_l3csum_checked);
COVERAGE_DEFINE(conntrack_l4csum_checked);

/* There is a checksum that the library verifies behind the IP header, which has no extensions. */
static inline bool
has_checksum(const struct dp_packet *packet, ovs_be16 dl_type)
{
    const struct udp_header *udp = dp_packet_l4(packet);
    bool v4 = dl_type == htons(ETH_TYPE_IP);
    uint8_t protocol;

    if (v4) {
        protocol = ((const struct ip_header *) dp_packet_l3(packet))->ip_proto;
    } else if (packet->l4_ofs == packet->l3_ofs + IPV6_HEADER_LEN) {
        protocol = ((const struct ovs_16aligned_ip6_hdr *) dp_packet_l3(packet))
                   ->ip6_ctlun.ip6_un1.ip6_un1_nxt;
    } else {
        return false;
    }
    return protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP
           || (protocol == IPPROTO_UDP && (!v4 || udp->udp_csum));
}

/* Says of a packet what the library verified: nobody needs to do it again. `valid`: everything of it that was
 * unknown is good; otherwise one may be known to be bad. */
static inline void
checksums_verified(struct dp_packet *packet, ovs_be16 dl_type, bool valid, bool bad_ip, bool bad_l4)
{
    if (dl_type == htons(ETH_TYPE_IP) && dp_packet_ip_checksum_unknown(packet) && (valid || bad_ip)) {
        COVERAGE_INC(conntrack_l3csum_checked);
        if (valid) {
            dp_packet_ip_checksum_set_good(packet);
        } else {
            dp_packet_ip_checksum_set_bad(packet);
        }
    }
    if (dp_packet_l4_checksum_unknown(packet) && (valid || bad_l4) && has_checksum(packet, dl_type)) {
        COVERAGE_INC(conntrack_l4csum_checked);
        if (valid) {
            dp_packet_l4_checksum_set_good(packet);
        } else {
            dp_packet_l4_checksum_set_bad(packet);
        }
    }
}

#endif

#endif
