//! Timeout classes: what a connection is waiting for, by the field's names.
//!
//! A state machine answers with a class; how long the class lasts is policy and lives there.

macro_rules! classes {
    ($($name:ident, $attribute:literal, $seconds:literal, $text:literal;)*) => {
        /// What a connection waits for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Class { $(#[doc = $text] $name,)* }

        impl Class {
            /// Number of classes.
            pub const COUNT: usize = Class::ALL.len();

            /// Every class, in the order of [`Class::index`].
            pub const ALL: &'static [Class] = &[$(Class::$name),*];

            /// The name of the attribute that sets it: those of Open vSwitch's
            /// `CT_Timeout_Policy`, and for the others those of nf_conntrack's sysctls.
            #[must_use]
            pub const fn attribute(self) -> &'static str {
                match self { $(Class::$name => $attribute,)* }
            }

            /// How long it lasts by default, in seconds.
            #[must_use]
            pub const fn default_seconds(self) -> u32 {
                match self { $(Class::$name => $seconds,)* }
            }

            /// An established TCP or SCTP connection waits for it.
            #[must_use]
            pub const fn is_established(self) -> bool {
                matches!(
                    self,
                    Class::TcpEstablished
                        | Class::KernelTcpEstablished
                        | Class::KernelTcpUnacknowledged
                        | Class::KernelTcpRetransmit
                        | Class::SctpEstablished
                )
            }

            /// Its place in a table of all classes.
            #[must_use]
            #[inline]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

classes! {
    // Open vSwitch's userspace tracker (lib/conntrack-tp.c).
    TcpFirstPacket, "tcp_syn_sent", 30, "TCP: a SYN was seen, or a first packet in mid-stream.";
    TcpOpening, "tcp_syn_recv", 30, "TCP: one side is not established yet.";
    TcpEstablished, "tcp_established", 86_400, "TCP: both sides are established.";
    TcpClosing, "tcp_fin_wait", 900, "TCP: one side sent its FIN.";
    TcpFinWait, "tcp_time_wait", 45, "TCP: both sides sent their FIN.";
    TcpClosed, "tcp_close", 30, "TCP: both FINs are acknowledged, or there was a RST.";
    OtherFirst, "udp_first", 60, "UDP and others: one packet.";
    OtherMultiple, "udp_single", 60, "UDP and others: several packets, all from the originator.";
    OtherBidirectional, "udp_multiple", 30, "UDP and others: packets both ways.";
    IcmpFirst, "icmp_first", 60, "ICMP: a question without an answer.";
    IcmpReply, "icmp_reply", 30, "ICMP: an answered question.";
    // Linux nf_conntrack.
    KernelTcpSynSent, "tcp_syn_sent", 120, "nf_conntrack: TCP SYN_SENT.";
    KernelTcpSynRecv, "tcp_syn_recv", 60, "nf_conntrack: TCP SYN_RECV.";
    KernelTcpEstablished, "tcp_established", 432_000, "nf_conntrack: TCP ESTABLISHED.";
    KernelTcpFinWait, "tcp_fin_wait", 120, "nf_conntrack: TCP FIN_WAIT.";
    KernelTcpCloseWait, "tcp_close_wait", 60, "nf_conntrack: TCP CLOSE_WAIT.";
    KernelTcpLastAck, "tcp_last_ack", 30, "nf_conntrack: TCP LAST_ACK.";
    KernelTcpTimeWait, "tcp_time_wait", 120, "nf_conntrack: TCP TIME_WAIT.";
    KernelTcpClose, "tcp_close", 10, "nf_conntrack: TCP CLOSE.";
    KernelTcpSynSent2, "tcp_syn_sent2", 120, "nf_conntrack: TCP SYN_SENT2 (simultaneous open).";
    KernelTcpRetransmit, "tcp_retransmit", 300, "nf_conntrack: TCP, too many retransmissions.";
    KernelTcpUnacknowledged, "tcp_unack", 300, "nf_conntrack: TCP, data unacknowledged.";
    KernelUdp, "udp_single", 30, "nf_conntrack: UDP without a stream.";
    KernelUdpStream, "udp_multiple", 120, "nf_conntrack: a UDP stream.";
    KernelIcmp, "icmp_first", 30, "nf_conntrack: ICMP and ICMPv6.";
    KernelGeneric, "generic", 600, "nf_conntrack: a protocol without a tracker.";
    KernelGre, "gre", 30, "nf_conntrack: GRE without a reply.";
    KernelGreStream, "gre_stream", 180, "nf_conntrack: GRE both ways.";
    SctpClosed, "sctp_closed", 10, "nf_conntrack: SCTP CLOSED.";
    SctpCookieWait, "sctp_cookie_wait", 3, "nf_conntrack: SCTP COOKIE_WAIT.";
    SctpCookieEchoed, "sctp_cookie_echoed", 3, "nf_conntrack: SCTP COOKIE_ECHOED.";
    SctpEstablished, "sctp_established", 210, "nf_conntrack: SCTP ESTABLISHED.";
    SctpShutdownSent, "sctp_shutdown_sent", 3, "nf_conntrack: SCTP SHUTDOWN_SENT.";
    SctpShutdownReceived, "sctp_shutdown_recd", 3, "nf_conntrack: SCTP SHUTDOWN_RECD.";
    SctpShutdownAckSent, "sctp_shutdown_ack_sent", 3, "nf_conntrack: SCTP SHUTDOWN_ACK_SENT.";
    SctpHeartbeatSent, "sctp_heartbeat_sent", 30, "nf_conntrack: SCTP HEARTBEAT_SENT.";
}

#[cfg(test)]
mod tests {
    use super::Class;

    #[test]
    fn the_index_is_the_place_in_all() {
        for (i, class) in Class::ALL.iter().enumerate() {
            assert_eq!(class.index(), i);
        }
    }
}
