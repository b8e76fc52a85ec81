//! Numbers, addresses, masks and states, as both languages write them.

use std::net::IpAddr;
use std::str::FromStr;

use crate::engine::action::{Masked, NatRange};
use crate::engine::descriptor::state;
use crate::merge::flow::{Field, Match};
use crate::packet::Family;

/// What is wrong with a line.
pub(super) type Wrong = String;

/// A number, decimal or with `0x`.
pub(super) fn number(text: &str) -> Result<u128, Wrong> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number"))
}

/// A number that fits.
pub(super) fn narrow<T: TryFrom<u128>>(text: &str) -> Result<T, Wrong> {
    T::try_from(number(text)?).map_err(|_| format!("`{text}` is too large"))
}

/// `value` or `value/mask`.
pub(super) fn masked(text: &str, full: u128) -> Result<(u128, u128), Wrong> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (number(value)?, number(mask)?),
        None => (number(text)?, full),
    };
    if mask & !full != 0 || value & !mask != 0 {
        return Err(format!(
            "`{text}` has bits outside of its mask or its field"
        ));
    }
    Ok((value, mask))
}

/// A mark or label to be set.
pub(super) fn to_set<T: TryFrom<u128>>(text: &str, full: u128) -> Result<Masked<T>, Wrong> {
    let (value, mask) = masked(text, full)?;
    let fit = |number| T::try_from(number).map_err(|_| format!("`{text}` is too large"));
    Ok(Masked {
        value: fit(value)?,
        mask: fit(mask)?,
    })
}

/// An Ethernet address.
pub(super) fn mac(text: &str) -> Result<u128, Wrong> {
    let wrong = || format!("`{text}` is no Ethernet address");
    let mut parts = 0;
    let mut address = 0;
    for part in text.split(':') {
        address = address << 8 | u128::from(u8::from_str_radix(part, 16).map_err(|_| wrong())?);
        parts += 1;
    }
    if parts == 6 {
        Ok(address)
    } else {
        Err(wrong())
    }
}

/// An IP address.
pub(super) fn address(text: &str) -> Result<(Family, u128), Wrong> {
    let parsed = IpAddr::from_str(text.trim_matches(['[', ']']));
    match parsed.map_err(|_| format!("`{text}` is no IP address"))? {
        IpAddr::V4(v4) => Ok((Family::V4, u128::from(v4.to_bits()))),
        IpAddr::V6(v6) => Ok((Family::V6, v6.to_bits())),
    }
}

/// `address` or `address/length`: value and mask.
pub(super) fn prefix(text: &str) -> Result<(Family, u128, u128), Wrong> {
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip, Some(narrow::<u32>(length)?)),
        None => (text, None),
    };
    let (family, value) = address(ip)?;
    let width = match family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let length = length.unwrap_or(width);
    if length > width {
        return Err(format!("`{text}` is no prefix"));
    }
    let full = u128::MAX >> (128 - width);
    let mask = full & !full.checked_shr(length).unwrap_or(0);
    Ok((family, value & mask, mask))
}

/// `low`, `low-high`, `low-high:port-port`.
pub(super) fn range(text: &str) -> Result<(Family, NatRange), Wrong> {
    // The ports come behind the last colon, but an IPv6 address needs brackets for that.
    let (addresses, ports) = match text.rsplit_once(':') {
        Some((addresses, ports)) if addresses.contains(']') || !addresses.contains(':') => {
            (addresses, Some(ports))
        }
        _ => (text, None),
    };
    let (low, high) = addresses.split_once('-').unwrap_or((addresses, addresses));
    let ((family, min_address), (other, max_address)) = (address(low)?, address(high)?);
    let ports = match ports.map(|ports| ports.split_once('-').unwrap_or((ports, ports))) {
        Some((low, high)) => Some((narrow::<u16>(low)?, narrow::<u16>(high)?)),
        None => None,
    };
    if family != other {
        return Err(format!("`{text}` is no range"));
    }
    let range = NatRange {
        min_address,
        max_address,
        ports,
    };
    Ok((family, range))
}

/// `+name-name...`: value and mask of the bits that `bit` knows.
pub(super) fn signs(text: &str, bit: impl Fn(&str) -> Option<u8>) -> Result<(u128, u128), Wrong> {
    let (mut value, mut mask) = (0, 0);
    let mut rest = text;
    while !rest.is_empty() {
        let Some(name) = rest.strip_prefix(['+', '-']) else {
            return Err(format!("`{text}` does not begin with a sign"));
        };
        let end = name.find(['+', '-']).unwrap_or(name.len());
        let name = &name[..end];
        let bit = bit(name).ok_or_else(|| format!("`{name}` is not known"))?;
        mask |= u128::from(bit);
        if rest.starts_with('+') {
            value |= u128::from(bit);
        }
        rest = &rest[1 + end..];
    }
    Ok((value, mask))
}

/// `+new-est...`: value and mask of the state bits.
fn ct_state(text: &str) -> Result<(u128, u128), Wrong> {
    signs(text, |name| {
        let bit = match name {
            "new" => state::NEW,
            "est" => state::EST,
            "rel" => state::REL,
            "rpl" => state::RPL,
            "inv" => state::INV,
            "trk" => state::TRK,
            "snat" => state::SNAT,
            "dnat" => state::DNAT,
            _ => return None,
        };
        Some(bit)
    })
}

/// A match, being built.
#[derive(Default)]
pub(super) struct Matching(pub(super) Match);

impl Matching {
    /// What of the tracker is matched, which both languages write alike. `false`: `name` is no such field.
    pub(super) fn tracked(&mut self, name: &str, value: &str) -> Result<bool, Wrong> {
        let (field, (value, mask)) = match name {
            "ct_state" => (Field::CtState, ct_state(value)?),
            "ct_zone" => return self.is(Field::CtZone, number(value)?).map(|()| true),
            "ct_mark" => (Field::CtMark, masked(value, Field::CtMark.full())?),
            "ct_label" => (Field::CtLabel, masked(value, Field::CtLabel.full())?),
            _ => return Ok(false),
        };
        self.and(field, value, mask).map(|()| true)
    }

    /// One more field.
    pub(super) fn and(&mut self, field: Field, value: u128, mask: u128) -> Result<(), Wrong> {
        let both = self.0.and(field, value, mask);
        self.0 = both.ok_or_else(|| format!("it contradicts itself in {field:?}"))?;
        Ok(())
    }

    /// One more whole field.
    pub(super) fn is(&mut self, field: Field, value: u128) -> Result<(), Wrong> {
        if value > field.full() {
            return Err(format!("{value:#x} is too large for {field:?}"));
        }
        self.and(field, value, field.full())
    }

    /// An address, which says the EtherType too.
    pub(super) fn prefix(&mut self, field: Field, text: &str) -> Result<(), Wrong> {
        let (family, value, mask) = prefix(text)?;
        self.is(Field::EthType, ether_type(family))?;
        self.and(field, value, mask)
    }
}

/// EtherType of a family.
pub(super) const fn ether_type(family: Family) -> u128 {
    match family {
        Family::V4 => 0x0800,
        Family::V6 => 0x86dd,
    }
}
