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
    ABI(conntrack_delete_timeout_policy);
    ABI(conntrack_delete_zone_limit);
    ABI(conntrack_destroy);
    ABI(conntrack_dump_next);
    ABI(conntrack_dump_next_matching);
    ABI(conntrack_dump_start);
    ABI(conntrack_execute);
    ABI(conntrack_find_timeout_policy);
    ABI(conntrack_flush);
    ABI(conntrack_flush_fragments);
    ABI(conntrack_flush_matching);
    ABI(conntrack_flush_tuple);
    ABI(conntrack_get);
    ABI(conntrack_get_default_zone_limit);
    ABI(conntrack_get_expectations);
    ABI(conntrack_get_ipf_status);
    ABI(conntrack_get_maxconns);
    ABI(conntrack_get_nconns);
    ABI(conntrack_get_option);
    ABI(conntrack_get_reason_count);
    ABI(conntrack_get_stats);
    ABI(conntrack_get_timeout_policies);
    ABI(conntrack_get_timeout_policy);
    ABI(conntrack_get_zone_limit);
    ABI(conntrack_get_zone_limits);
    ABI(conntrack_get_zone_timeout_policy);
    ABI(conntrack_listen);
    ABI(conntrack_lookup);
    ABI(conntrack_resume);
    ABI(conntrack_set_default_zone_limit);
    ABI(conntrack_set_ipf);
    ABI(conntrack_set_maxconns);
    ABI(conntrack_set_option);
    ABI(conntrack_set_timeout_policy);
    ABI(conntrack_set_zone_guarantee);
    ABI(conntrack_set_zone_liberal);
    ABI(conntrack_set_zone_limit);
    ABI(conntrack_set_zone_timeout_policy);
    ABI(conntrack_sweep);
    ABI(conntrack_take_events);
    ABI(conntrack_take_fragments);
    ABI(conntrack_unlisten);
    ABI(ct_flow_table_add);
    ABI(ct_flow_table_carried);
    ABI(ct_flow_table_get);
    ABI(ct_flow_table_get_stats);
    ABI(ct_flow_table_lookup);
    ABI(ct_flow_table_put);
    ABI(ct_flow_table_remove);
    ABI(ct_flow_table_set_timeout);
    ABI(ct_last_error);
    ABI(ct_miss_get);
    ABI(ct_miss_lookup);
    ABI(ct_miss_put);
    ABI(ct_offload_complete);
    ABI(ct_offload_dummy_contains);
    ABI(ct_offload_dummy_free);
    ABI(ct_offload_dummy_get_counts);
    ABI(ct_offload_dummy_register);
    ABI(ct_offload_dummy_reset_counts);
    ABI(ct_offload_enable);
    ABI(ct_offload_enabled);
    ABI(ct_offload_get_standing);
    ABI(ct_offload_get_stats);
    ABI(ct_offload_give_back);
    ABI(ct_offload_refresh);
    ABI(ct_offload_register);
    ABI(ct_offload_report);
    ABI(ct_offload_set_data);
    ABI(ct_offload_sim_carry);
    ABI(ct_offload_sim_close);
    ABI(ct_offload_sim_free);
    ABI(ct_offload_sim_get_counts);
    ABI(ct_offload_sim_register);
    ABI(ct_offload_sim_run);
    ABI(ct_offload_start_workers);
    ABI(ct_offload_unregister);
    ABI(ct_offload_work);
    ABI(ct_reason_name);
    ABI(ct_reason_text);
    ABI(ct_version);
} ctoffload_abi = {0};
