//! The candidates of a choice as numbers.
//!
//! A [`Space`] is every reply tuple that differs from the others in one endpoint only: so many
//! addresses times so many ports. Candidate `i` has the address `i / ports` and the port `i % ports`.
//! Numbers make a walk a few ranges and a set of candidates a bitmap.
//!
//! The walk of Open vSwitch covers one address: from the starting port upwards, wrapping. Here the
//! other addresses follow in order, from the same port on, so every candidate is visited once.

use std::ops::Range;

use crate::tuple::{QueryKind, Tuple};

/// Addresses of one range that are used; Open vSwitch limits the span of IPv6 ranges the same way.
const MAX_ADDRESSES: u128 = 1 << 32;

/// Which endpoint of the reply tuple varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Varies {
    /// The source: the new destination of the original direction.
    Source,
    /// The destination: the new source of the original direction.
    Destination,
}

/// Addresses and ports, and where the walk through them begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) first_address: u128,
    pub(crate) addresses: u64,
    pub(crate) first_port: u16,
    pub(crate) ports: u32,
    pub(crate) start_address: u64,
    pub(crate) start_port: u32,
}

impl Grid {
    /// The grid that keeps this endpoint.
    pub(crate) fn one(address: u128, port: u16) -> Grid {
        Grid {
            first_address: address,
            addresses: 1,
            first_port: port,
            ports: 1,
            start_address: 0,
            start_port: 0,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.addresses * u64::from(self.ports)
    }

    /// Address and port of candidate `index`.
    pub(crate) fn at(&self, index: u64) -> (u128, u16) {
        let ports = u64::from(self.ports);
        (
            self.first_address + u128::from(index / ports),
            self.first_port + (index % ports) as u16,
        )
    }

    /// The candidates at the starting address, in walking order.
    pub(crate) fn here(&self) -> [Range<u64>; 2] {
        let base = self.start_address * u64::from(self.ports);
        let start = base + u64::from(self.start_port);
        [start..base + u64::from(self.ports), base..start]
    }

    /// The candidates at all other addresses, in walking order.
    pub(crate) fn elsewhere(&self) -> [Range<u64>; 3] {
        let ports = u64::from(self.ports);
        let base = self.start_address * ports;
        let port = u64::from(self.start_port);
        let next = base + ports;
        if next < self.len() {
            [next + port..self.len(), 0..base, next..next + port]
        } else {
            // The starting address is the last one: the next one is the first.
            let head = port.min(base);
            [head..base, 0..head, 0..0]
        }
    }
}

/// Number of addresses from `min` to `max`, at least one, at most 2^32.
pub(crate) fn span(min: u128, max: u128) -> u64 {
    max.saturating_sub(min).min(MAX_ADDRESSES - 1) as u64 + 1
}

/// All reply tuples that a grid gives for one endpoint while the other endpoint stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// The endpoint that stays, protocol and zone.
    pub(crate) template: Tuple,
    pub(crate) varies: Varies,
    pub(crate) grid: Grid,
}

impl Space {
    /// Candidate `index`.
    pub(crate) fn at(&self, index: u64) -> Tuple {
        let (address, port) = self.grid.at(index);
        let mut tuple = self.template;
        match self.varies {
            Varies::Source => (tuple.src, tuple.sport) = (address, port),
            Varies::Destination => (tuple.dst, tuple.dport) = (address, port),
        }
        if tuple.query != QueryKind::None {
            (tuple.sport, tuple.dport) = (port, port);
        }
        tuple
    }

    /// The number of a tuple whose other endpoint is known to be that of the space.
    pub(crate) fn index_of(&self, tuple: &Tuple) -> Option<u64> {
        let (address, port) = match self.varies {
            Varies::Source => (tuple.src, tuple.sport),
            Varies::Destination => (tuple.dst, tuple.dport),
        };
        let row = address.checked_sub(self.grid.first_address)?;
        let column = u32::from(port.checked_sub(self.grid.first_port)?);
        if row >= u128::from(self.grid.addresses) || column >= self.grid.ports {
            return None;
        }
        Some(row as u64 * u64::from(self.grid.ports) + u64::from(column))
    }

    /// The same candidates, wherever the walk begins.
    pub(crate) fn same_candidates(&self, other: &Space) -> bool {
        let (a, b) = (&self.grid, &other.grid);
        (a.first_address, a.addresses, a.first_port, a.ports)
            == (b.first_address, b.addresses, b.first_port, b.ports)
    }
}
