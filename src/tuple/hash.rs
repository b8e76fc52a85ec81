//! The keyed hash of a [`Key`].
//!
//! An attacker chooses the tuples, so the hash must be keyed for real: seeded CRC32C, the usual
//! choice of datapaths, keeps every collision under any seed. This one is NH, the universal hash
//! inside UMAC (RFC 4418, section 5.2.2), over 64-bit words: the sum of products `(m0 + k0) * (m1 +
//! k1)` in 128 bits with secret `k`. Two different keys collide in those 128 bits with probability
//! at most 2^-64 over the choice of the secret. A second secret multiply-and-fold then spreads the
//! sum over the 64 bits from which shard, bucket and tag are cut. The secret never leaves the
//! instance, and no output of the hash is visible to a peer.

use super::Key;
use crate::packet::Family;

/// The secret of an instance: random words, drawn at creation.
#[derive(Clone, Copy)]
pub struct Secret {
    words: [u64; 8],
}

impl Secret {
    /// A secret from random bytes.
    #[must_use]
    pub const fn new(words: [u64; 8]) -> Secret {
        Secret { words }
    }
}

#[inline]
const fn product(a: u64, b: u64) -> u128 {
    (a as u128) * (b as u128)
}

/// The hash of `key` under `secret`.
#[must_use]
#[inline(always)]
pub fn hash(secret: &Secret, key: &Key) -> u64 {
    let k = &secret.words;
    let mut sum = product(
        key.address[0].wrapping_add(k[0]),
        key.tail.wrapping_add(k[1]),
    );
    if matches!(key.family(), Family::V6) {
        let a = product(
            key.address[1].wrapping_add(k[2]),
            key.address[2].wrapping_add(k[3]),
        );
        let b = product(key.address[3].wrapping_add(k[4]), k[5]);
        sum = sum.wrapping_add(a).wrapping_add(b);
    }
    let folded = product((sum as u64) ^ k[6], ((sum >> 64) as u64) ^ k[7]);
    (folded as u64) ^ (folded >> 64) as u64
}
