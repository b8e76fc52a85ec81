//! `/proc/net/nf_conntrack`.

use super::conntrack::{Parts, flow, layer3, push};
use super::{Entry, Look};

/// The line of a connection.
#[must_use]
pub fn line(entry: &Entry, look: &Look) -> String {
    let connection = entry.connection;
    let mut line = layer3(connection.original.family);
    line += &flow(
        entry,
        &Parts {
            full_addresses: true,
            ..Parts::LISTING
        },
    );
    push(
        &mut line,
        format_args!("mark={} zone={}", connection.mark, connection.original.zone),
    );
    if look.age {
        push(
            &mut line,
            format_args!("delta-time={}", entry.now.since(connection.created) / 1000),
        );
    }
    line += "use=2";
    line
}
