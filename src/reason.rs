//! Why a packet is invalid, or why its connection was not stored.
//!
//! Other trackers answer "invalid" and leave the user to guess. Here every verdict carries the
//! rule that decided it. The numbers are part of the C ABI and never move.

const fn nul_terminated(text: &'static str) -> &'static std::ffi::CStr {
    match std::ffi::CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The rule behind a verdict.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $text] $(#[$meta])* $name = $number,)*
        }

        impl Reason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// The text that `ct_reason_text` gives for it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The reason with this number.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Reason> {
                Reason::ALL.iter().copied().find(|&reason| reason as u8 == number)
            }

            /// [`Reason::text`], NUL-terminated.
            #[must_use]
            pub const fn c_text(self) -> &'static std::ffi::CStr {
                match self { $(Reason::$name => nul_terminated(concat!($text, "\0")),)* }
            }

            /// [`Reason::name`], NUL-terminated.
            #[must_use]
            pub const fn c_name(self) -> &'static std::ffi::CStr {
                match self {
                    $(Reason::$name => nul_terminated(concat!(stringify!($name), "\0")),)*
                }
            }

            /// The name of the reason, as it stands in listings and statistics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    #[default]
    None = 0, "nothing is wrong";
    // The packet itself.
    NotIp = 1, "neither IPv4 nor IPv6";
    Truncated = 2, "the packet ends before its headers do";
    IpHeader = 3, "the IP version, header length or total length is wrong";
    IpChecksum = 4, "the IPv4 header checksum is wrong";
    Fragment = 5, "a fragment that was not reassembled";
    FragmentTooSmall = 6, "a fragment below the minimum size";
    FragmentOverlap = 7, "a fragment that overlaps another one";
    Ipv6Extension = 8, "an IPv6 extension header is malformed or unknown";
    L4Header = 9, "the transport header is malformed";
    L4Checksum = 10, "the transport checksum is wrong";
    PortZero = 11, "a port is zero";
    IcmpType = 12, "an ICMP type that is not tracked";
    IcmpCode = 13, "an ICMP query with a code other than zero";
    IcmpInner = 14, "the packet inside an ICMP error is malformed";
    IcmpInnerAddress = 15, "an ICMP error goes to another host than the one whose packet it quotes";
    FragmentExpired = 16, "a fragment of a datagram that did not become whole";
    DatagramTooLong = 17, "a fragment of a datagram that is longer than a packet may be";
    // The state of its connection.
    TcpFlags = 32, "an illegal combination of TCP flags";
    TcpSynAckFirst = 33, "a SYN-ACK cannot open a connection";
    TcpMidstream = 34, "a TCP packet in mid-stream cannot open a connection here";
    TcpAboveWindow = 35, "TCP data beyond the receiver's window";
    TcpBelowWindow = 36, "TCP data too far before the receiver's window";
    TcpAckAboveData = 37, "a TCP acknowledgement of data that was never sent";
    TcpAckTooOld = 38, "a TCP acknowledgement too far in the past";
    TcpResetSequence = 39, "a TCP RST that does not hit the expected sequence number";
    TcpState = 40, "a TCP packet that its connection's state does not allow";
    IcmpReplyFirst = 48, "an ICMP reply cannot open a connection";
    IcmpErrorUnrelated = 49, "an ICMP error about no known connection";
    SctpChunk = 56, "an SCTP chunk that cannot stand where it does";
    SctpTag = 57, "a wrong SCTP verification tag";
    SctpState = 58, "an SCTP chunk that its association's state does not allow";
    // Why it was not stored.
    NotCommitted = 64, "new, and the action does not commit";
    ZoneLimit = 65, "the limit of the zone is reached";
    TableFull = 66, "the connection table is full";
    NatExhausted = 67, "no free address and port is left in the NAT range";
    NoMemory = 68, "no memory for another connection";
    NatFamily = 69, "the NAT range is of the other address family";
    ReplyTaken = 70, "packets of its reply direction belong to another connection";
    // Why it could not be handled.
    ReadOnly = 80, "the packet must be rewritten but is read-only";
    NoRoom = 81, "the packet must grow but has no room";
    Alg = 82, "a helper refused the message";
    NotLinear = 83, "the headers are not contiguous and cannot be made so";
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn numbers_and_names_are_unique() {
        for (i, a) in Reason::ALL.iter().enumerate() {
            for b in &Reason::ALL[i + 1..] {
                assert!((*a as u8) < (*b as u8));
                assert_ne!(a.name(), b.name());
            }
        }
    }
}
