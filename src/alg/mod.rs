//! alg
/// A helper that follows a protocol's control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Helper {
    /// FTP (RFC 959, RFC 2428).
    Ftp = 1,
    /// TFTP (RFC 1350).
    Tftp = 2,
    /// SIP over UDP (RFC 3261).
    Sip = 3,
}
