/*
 * The C ABI as a compiler sees it: one object whose type leads to the type of every function, and so to
 * every struct. abidw writes it down; the library itself cannot be asked, because its debugging
 * information speaks of Rust's types.
 */
#include <ctoffload.h>

#define ABI(function) __typeof__(&(function)) function

const struct {
    ABI(conntrack_clear);
    ABI(conntrack_create);
    ABI(conntrack_destroy);
    ABI(conntrack_dump_next);
    ABI(conntrack_dump_start);
    ABI(conntrack_execute);
    ABI(conntrack_flush);
    ABI(conntrack_flush_fragments);
    ABI(conntrack_flush_tuple);
    ABI(conntrack_get);
    ABI(conntrack_get_expectations);
    ABI(conntrack_get_ipf_status);
    ABI(conntrack_get_maxconns);
    ABI(conntrack_get_nconns);
    ABI(conntrack_get_option);
    ABI(conntrack_get_reason_count);
    ABI(conntrack_get_stats);
    ABI(conntrack_lookup);
    ABI(conntrack_set_ipf);
    ABI(conntrack_set_maxconns);
    ABI(conntrack_set_option);
    ABI(conntrack_set_zone_liberal);
    ABI(conntrack_sweep);
    ABI(conntrack_take_fragments);
    ABI(ct_last_error);
    ABI(ct_reason_name);
    ABI(ct_reason_text);
    ABI(ct_version);
} ctoffload_abi = {0};
