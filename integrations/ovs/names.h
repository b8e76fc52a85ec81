/*
 * Included before everything else in every file of Open vSwitch (gcc -include): its connection tracker
 * and this library have functions of the same names. Open vSwitch's get a prefix, so that a program may
 * hold the ones and call the others.
 */

#ifndef CTOFFLOAD_OVS_NAMES_H
#define CTOFFLOAD_OVS_NAMES_H

#define conntrack_init ovs_conntrack_init
#define conntrack_destroy ovs_conntrack_destroy
#define conntrack_execute ovs_conntrack_execute
#define conntrack_clear ovs_conntrack_clear
#define conntrack_dump_start ovs_conntrack_dump_start
#define conntrack_dump_next ovs_conntrack_dump_next
#define conntrack_dump_done ovs_conntrack_dump_done
#define conntrack_flush ovs_conntrack_flush
#define conntrack_flush_tuple ovs_conntrack_flush_tuple
#define conntrack_set_maxconns ovs_conntrack_set_maxconns
#define conntrack_get_maxconns ovs_conntrack_get_maxconns
#define conntrack_get_nconns ovs_conntrack_get_nconns
#define conntrack_set_tcp_seq_chk ovs_conntrack_set_tcp_seq_chk
#define conntrack_get_tcp_seq_chk ovs_conntrack_get_tcp_seq_chk
#define conntrack_ipf_ctx ovs_conntrack_ipf_ctx

#endif
