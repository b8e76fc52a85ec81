//! The filters of a datapath, the flows that were merged from them, and who descends from whom.
//!
//! The cache is read by packet threads without a lock: the shelf keeps what they see. Everything else is
//! behind one mutex that packet threads never take. Revoking flows is done in two steps. Under the mutex
//! they are taken off the shelf, the index and the lists: from then on nobody finds them. Then, without
//! the mutex, whoever may still be using one is waited for. So when a revoking call returns, no packet
//! is being handled by what it revoked, and none will be. Only then are their places free: flows lie in
//! the shelf itself, so a new one is written over the old.
//!
//! What a flow carried belongs to its parents, each of them once: while the flow lives by adding it up,
//! afterwards by what is left behind.

use super::action::Action;
use super::books::{Books, Departing, Entry, Parent, Place, Unlinked};
use super::flow::{Key, Match};
use super::fold::{Filter, Refusal};
use super::index::Index;
use super::merged::{Flow, LINES, Passing, Shape, Used};
use super::statistics::{Count, Counts};
use super::trace::{Throttle, Trace};
use crate::error::Error;
use crate::sync::counter::Counters;
use crate::sync::queue::Queue;
use crate::sync::shelf::{Shelf, Ticket, Visit};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, StdArc, lock};
use crate::tuple::ConnectionId;
use crate::tuple::hash::Secret;

/// Hashes by which one flow is found, at most: packets of a flow may differ where it matches nothing.
const HASHES: usize = 64;
/// Flows among which the least recently used one makes room.
const CANDIDATES: usize = 16;

/// What may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Merged flows, at most.
    pub flows: u32,
    /// Traces that wait to be looked at, at most.
    pub traces: u32,
    /// The cache holds TCP packets to their window. Without it they pass unseen, and the window is
    /// learned again by the first one that goes the normal way.
    pub windows: bool,
}

impl Default for Settings {
    /// 32,000 flows and 10,000 traces (NVIDIA's e2e cache); windows are kept.
    fn default() -> Settings {
        Settings {
            flows: 32_000,
            traces: 10_000,
            windows: true,
        }
    }
}

/// Most flows that may be asked for.
pub const MOST_FLOWS: u32 = 1 << 24;

/// A merged flow that is gone, for whoever has to be told.
#[derive(Debug)]
pub struct Gone {
    /// Its number.
    pub number: u64,
    /// Bits of the providers that took it.
    pub providers: u32,
}

/// A flow as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// The filters that it was merged from.
    pub parents: Vec<u64>,
    /// The connections of its packets.
    pub connections: Vec<ConnectionId>,
    /// What it matches.
    pub matches: Match,
    /// What it does.
    pub actions: Vec<Action>,
    /// What it carried.
    pub used: Used,
    /// Bits of the providers that have it.
    pub providers: u32,
}

/// Filters, flows and traces of an instance.
pub struct Store {
    settings: Settings,
    shelf: Shelf<Flow>,
    index: Index,
    traces: Queue<Trace>,
    /// Connections whose flows are no longer theirs.
    changed: Queue<u64>,
    /// There was no place for one of those: all have to be looked at.
    changed_lost: AtomicBool,
    throttle: Throttle,
    /// The version of the filters: how often they changed.
    version: AtomicU64,
    /// What is counted.
    pub counts: Counts,
    lost: Counters<1>,
    books: Mutex<Books>,
}

impl Store {
    /// An empty store.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no flows or too many; [`Error::NoMemory`].
    pub fn new(settings: &Settings, secret: Secret) -> Result<Store, Error> {
        if settings.flows == 0 || settings.flows > MOST_FLOWS {
            return Err(Error::invalid(format!(
                "merged flows: {} is not between 1 and {MOST_FLOWS}",
                settings.flows
            )));
        }
        if settings.traces == 0 || settings.traces > MOST_FLOWS {
            return Err(Error::invalid(format!(
                "traces that wait: {} is not between 1 and {MOST_FLOWS}",
                settings.traces
            )));
        }
        let flows = settings.flows as usize;
        Ok(Store {
            settings: *settings,
            shelf: Shelf::new(flows).ok_or(Error::NoMemory)?,
            index: Index::new(flows, secret).ok_or(Error::NoMemory)?,
            traces: Queue::new(settings.traces as usize).ok_or(Error::NoMemory)?,
            changed: Queue::new(flows.min(65_536)).ok_or(Error::NoMemory)?,
            changed_lost: AtomicBool::new(false),
            throttle: Throttle::default(),
            version: AtomicU64::new(0),
            counts: Counts::default(),
            lost: Counters::new(),
            books: Mutex::new(Books::new(settings.flows)),
        })
    }

    /// What was chosen.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

/// What packet threads do: none of it waits.
impl Store {
    /// Begins to look flows up: what is found stays until the visit ends.
    pub fn visit(&self) -> Visit<'_, Flow> {
        self.shelf.visit()
    }

    /// Ends a visit that was kept. `false` for a ticket that nobody has.
    pub fn leave(&self, ticket: Ticket) -> bool {
        self.shelf.leave(ticket)
    }

    /// The hash of a packet; asks for the line where its flow is noted.
    #[inline(always)]
    pub fn hash(&self, key: &Key) -> u64 {
        let hash = self.index.hash(key);
        self.index.prefetch(hash);
        hash
    }

    /// The place where the flow of a packet may be; asks for its lines. The match is `long`, perhaps.
    #[must_use]
    #[inline(always)]
    pub fn hint(&self, visit: &Visit<'_, Flow>, hash: u64, long: bool) -> Option<usize> {
        let place = self.index.hint(hash)?;
        visit.prefetch(place, LINES[usize::from(long)]);
        Some(place)
    }

    /// The flow of a packet that may be in the place of the hint.
    #[inline(always)]
    pub fn find<'v>(
        &self,
        visit: &'v Visit<'_, Flow>,
        hint: usize,
        hash: u64,
        key: &Key,
    ) -> Option<&'v Flow> {
        let flow = visit.get(hint).filter(|flow| flow.fits(key));
        flow.or_else(|| self.search(visit, hash, key))
    }

    #[cold]
    fn search<'v>(&self, visit: &'v Visit<'_, Flow>, hash: u64, key: &Key) -> Option<&'v Flow> {
        self.index
            .candidates(hash)
            .filter_map(|place| visit.get(place))
            .find(|flow| flow.fits(key))
    }

    /// The version of the filters.
    #[must_use]
    #[inline]
    pub fn version(&self) -> u64 {
        // Acquire: a packet that meets a filter later meets one of this version or a later one.
        self.version.load(Ordering::Acquire)
    }

    /// Which packets of connections are traced.
    #[must_use]
    pub const fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// A trace ended.
    pub fn send(&self, trace: &Trace) {
        use super::trace::Condition;

        let count = match trace.condition() {
            Condition::None => return,
            Condition::Aborted => Count::Aborted,
            Condition::Throttled => Count::Throttled,
            Condition::Overflown => Count::Discarded,
            Condition::Good if trace.met().next().is_none() => Count::Discarded,
            Condition::Good if self.traces.put(trace) => Count::Traces,
            Condition::Good => Count::Lost,
        };
        self.counts.add(count, 1);
    }

    /// The flows of this connection are no longer right. Nobody uses them already; they are to be
    /// cleared away.
    pub fn changed(&self, id: ConnectionId) {
        if !self.changed.put(&id.0) {
            self.lost.add(0, 1);
            self.changed_lost.store(true, Ordering::Release);
        }
    }
}

/// Filters.
impl Store {
    /// Adds a filter.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one of this name.
    pub fn add(&self, cookie: u64, filter: Filter) -> Result<(), Error> {
        let mut books = self.books();
        if books.filters.contains_key(&cookie) {
            return Err(Error::Exists(format!("there is a filter {cookie}")));
        }
        let since = self.next_version();
        let entry = Entry {
            filter: StdArc::new(filter),
            since,
            left: Used::default(),
            children: Vec::new(),
        };
        books.filters.insert(cookie, entry);
        Ok(())
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Replaces a filter. Its counters stay; the flows that were merged from it are revoked.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Busy`] from a thread that is looking flows up.
    pub fn update(&self, cookie: u64, filter: Filter) -> Result<Vec<Gone>, Error> {
        self.not_visiting()?;
        let unlinked = {
            let mut books = self.books();
            let since = self.next_version();
            let entry = books.filters.get_mut(&cookie).ok_or_else(|| none(cookie))?;
            entry.filter = StdArc::new(filter);
            entry.since = since;
            let children = entry.places();
            self.unlink(&mut books, &children)
        };
        self.counts.add(Count::Revoked, unlinked.gone.len() as u64);
        Ok(self.finish(unlinked))
    }

    /// Revokes the flows that were merged from a filter, and lets nobody merge it any more.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn retire(&self, cookie: u64) -> Result<Vec<Gone>, Error> {
        self.not_visiting()?;
        let unlinked = {
            let mut books = self.books();
            let entry = books.filters.get_mut(&cookie).ok_or_else(|| none(cookie))?;
            entry.since = u64::MAX;
            self.next_version();
            let children = entry.places();
            self.unlink(&mut books, &children)
        };
        self.counts.add(Count::Revoked, unlinked.gone.len() as u64);
        Ok(self.finish(unlinked))
    }

    /// Removes a filter that was retired. What its flows carried, to the last packet.
    pub fn remove(&self, cookie: u64) -> Used {
        let entry = self.books().filters.remove(&cookie);
        entry.map_or(Used::default(), |entry| entry.left)
    }

    /// What the descendants of a filter carried.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn used(&self, cookie: u64) -> Result<Used, Error> {
        let books = self.books();
        let entry = books.filters.get(&cookie).ok_or_else(|| none(cookie))?;
        let visit = self.shelf.visit();
        let living = entry.children.iter();
        Ok(living.fold(entry.left, |sum, &(place, longer)| {
            let flow = visit.get(place as usize);
            sum.and(flow.map_or(Used::default(), Flow::used).longer(longer))
        }))
    }

    /// Number of filters.
    #[must_use]
    pub fn filters(&self) -> usize {
        self.books().filters.len()
    }

    /// The filters that a trace met, in order, or why it is of no use any more.
    pub fn filters_of(&self, trace: &Trace, cookies: &[u64]) -> Option<Vec<StdArc<Filter>>> {
        let books = self.books();
        let found = cookies.iter().map(|cookie| {
            let entry = books.filters.get(cookie)?;
            (entry.since <= trace.version()).then(|| entry.filter.clone())
        });
        found.collect()
    }

    fn not_visiting(&self) -> Result<(), Error> {
        if self.shelf.is_visiting() {
            let text = "not between ct_fastpath_lookup() and ct_fastpath_done() of the same thread";
            return Err(Error::Busy(text.into()));
        }
        Ok(())
    }
}

fn none(cookie: u64) -> Error {
    Error::NotFound(format!("there is no filter {cookie}"))
}

/// Flows.
impl Store {
    /// The next trace to be looked at.
    #[must_use]
    pub fn next_trace(&self) -> Option<Trace> {
        let trace = self.traces.take()?;
        self.counts.add(Count::Processed, 1);
        Some(trace)
    }

    /// A trace has no merged flow.
    pub fn reject(&self, why: Refusal) {
        self.counts.add(Count::Rejected, 1);
        if let Some(at) = Refusal::ALL.iter().position(|&other| other == why) {
            self.books().refusals[at] += 1;
        }
    }

    /// How many traces were rejected for each reason.
    #[must_use]
    pub fn refusals(&self) -> Vec<(Refusal, u64)> {
        Refusal::ALL
            .into_iter()
            .zip(self.books().refusals)
            .collect()
    }

    /// The connection has flows, whether they are still right or not.
    #[must_use]
    pub fn has_flows(&self, id: ConnectionId) -> bool {
        self.books().by_connection.contains_key(&id)
    }

    /// A new number of a flow.
    #[must_use]
    pub fn number(&self) -> u64 {
        let mut books = self.books();
        books.numbers += 1;
        books.numbers
    }

    /// The shape of a match: that of other flows, if there is one.
    #[must_use]
    pub fn shape(&self, matches: &Match) -> StdArc<Shape> {
        let shape = Shape::of(matches);
        let mut books = self.books();
        if let Some(known) = books.shapes.iter().find(|known| ***known == shape) {
            return known.clone();
        }
        books.shapes.retain(|known| StdArc::strong_count(known) > 1);
        let shape = StdArc::new(shape);
        books.shapes.push(shape.clone());
        shape
    }

    /// If there is a flow that matches and does exactly this, packets with the trace's hash find it too.
    #[must_use]
    pub fn is_known(&self, matches: &Match, actions: &[Action], hash: u64) -> bool {
        let mut books = self.books();
        let Some(&place) = books.by_match.get(matches) else {
            return false;
        };
        let Some(known) = &mut books.places[place as usize] else {
            return false;
        };
        if known.actions != actions {
            return false;
        }
        self.note_hash(known, place, hash);
        self.counts.add(Count::Known, 1);
        true
    }

    fn note_hash(&self, place: &mut Place, number: u32, hash: u64) {
        if !place.hashes.contains(&hash) {
            if place.hashes.len() == HASHES {
                self.index.remove(place.hashes.remove(0), number);
            }
            place.hashes.push(hash);
        }
        self.index.insert(hash, number);
    }

    /// Puts a flow into the cache, for packets of the trace's hash. A flow with the same match is
    /// replaced; when there is no room, the least recently used of a few makes some. `false`, and the
    /// flow is not there, when a parent changed since the trace began. One caller at a time, and not on a
    /// visit.
    pub fn insert(&self, flow: Flow, trace: &Trace, cookies: &[u64]) -> (bool, Vec<Gone>) {
        let mut parents: Vec<Parent> = Vec::new();
        for (&cookie, &longer) in cookies.iter().zip(&flow.made().merged.longer) {
            // Each of them once.
            if parents.iter().all(|parent| parent.cookie != cookie) {
                parents.push(Parent { cookie, longer });
            }
        }
        let gone = self.make_room(flow.matches(), trace, &parents);
        let mut books = self.books();
        let inserted =
            books.are_current(&parents, trace) && self.link(&mut books, flow, trace, parents);
        let count = if inserted {
            Count::Merged
        } else {
            Count::Stale
        };
        self.counts.add(count, 1);
        (inserted, gone)
    }

    /// Takes a flow off whose place a new one needs: that with its match, or the least recently used of
    /// a few when there is no free place.
    fn make_room(&self, matches: &Match, trace: &Trace, parents: &[Parent]) -> Vec<Gone> {
        let unlinked = {
            let mut books = self.books();
            if !books.are_current(parents, trace) {
                return Vec::new();
            }
            let place = match books.by_match.get(matches) {
                Some(&replaced) => replaced,
                None if books.free.is_empty() => {
                    self.counts.add(Count::Evicted, 1);
                    self.victim(&mut books)
                }
                None => return Vec::new(),
            };
            self.unlink(&mut books, &[place])
        };
        self.finish(unlinked)
    }

    /// `false`: there is no place.
    fn link(&self, books: &mut Books, flow: Flow, trace: &Trace, parents: Vec<Parent>) -> bool {
        let Some(place) = books.free.pop() else {
            return false;
        };
        for parent in &parents {
            if let Some(entry) = books.filters.get_mut(&parent.cookie) {
                entry.children.push((place, parent.longer));
            }
        }
        let mut connections: Vec<ConnectionId> =
            flow.made().passings.iter().map(|p| p.id).collect();
        connections.sort_unstable();
        connections.dedup();
        for &id in &connections {
            books.by_connection.entry(id).or_default().push(place);
        }
        books.by_match.insert(*flow.matches(), place);
        books.by_number.insert(flow.made().number, place);
        let mut noted = Place {
            number: flow.made().number,
            matches: *flow.matches(),
            actions: flow.made().merged.actions.clone(),
            parents,
            connections,
            hashes: Vec::new(),
            providers: 0,
        };
        let put = self.shelf.put(place as usize, flow).is_ok();
        debug_assert!(put, "it is no longer free before its flow is gone");
        self.note_hash(&mut noted, place, trace.hash());
        books.places[place as usize] = Some(noted);
        put
    }

    /// The least recently used of a few flows.
    fn victim(&self, books: &mut Books) -> u32 {
        let visit = self.shelf.visit();
        let all = books.places.len();
        let begin = books.hand;
        books.hand = (begin + CANDIDATES) % all;
        (0..CANDIDATES.min(all))
            .map(|i| (begin + i) % all)
            .min_by_key(|&place| visit.get(place).map_or(0, Flow::recent))
            .unwrap_or(begin) as u32
    }

    /// Nobody finds these flows any more.
    fn unlink(&self, books: &mut Books, places: &[u32]) -> Unlinked<'_> {
        let mut unlinked = Unlinked {
            places: Vec::new(),
            taken: Vec::new(),
            gone: Vec::new(),
            credits: Vec::new(),
        };
        for &number in places {
            let Some(place) = books.places[number as usize].take() else {
                continue;
            };
            for &hash in &place.hashes {
                self.index.remove(hash, number);
            }
            books.by_number.remove(&place.number);
            if books.by_match.get(&place.matches) == Some(&number) {
                books.by_match.remove(&place.matches);
            }
            for id in &place.connections {
                if let Some(flows) = books.by_connection.get_mut(id) {
                    flows.retain(|&flow| flow != number);
                    if flows.is_empty() {
                        books.by_connection.remove(id);
                    }
                }
            }
            let (used, passings) = {
                let visit = self.shelf.visit();
                let flow = visit.get(number as usize);
                let passings = flow.map_or(Vec::new(), |flow| flow.made().passings.to_vec());
                (flow.map_or(Used::default(), Flow::used), passings)
            };
            if place.providers != 0 {
                let parents = place.parents.clone();
                let departing = Departing { parents, passings };
                books.departing.insert(place.number, departing);
            }
            for parent in &place.parents {
                if let Some(entry) = books.filters.get_mut(&parent.cookie) {
                    entry.children.retain(|&(child, _)| child != number);
                }
            }
            books.credit(&place.parents, used);
            unlinked.places.push(number);
            unlinked.taken.extend(self.shelf.take(number as usize));
            unlinked.gone.push(Gone {
                number: place.number,
                providers: place.providers,
            });
            unlinked.credits.push((place.parents, used));
        }
        unlinked
    }

    /// Waits until nobody uses what was unlinked, and gives parents what it carried to the last.
    fn finish(&self, unlinked: Unlinked<'_>) -> Vec<Gone> {
        if unlinked.taken.is_empty() {
            return unlinked.gone;
        }
        let flows = self.shelf.wait(unlinked.taken);
        let mut books = self.books();
        for (flow, (parents, credited)) in flows.iter().zip(&unlinked.credits) {
            books.credit(parents, flow.used().since(*credited));
        }
        books.free.extend(unlinked.places);
        unlinked.gone
    }

    /// Revokes the flows of connections that changed, and of those that `is_over` says so of when that
    /// could not be noted.
    ///
    /// # Errors
    /// [`Error::Busy`] from a thread that is looking flows up.
    pub fn clear_changed(
        &self,
        is_over: impl Fn(ConnectionId) -> bool,
    ) -> Result<Vec<Gone>, Error> {
        self.not_visiting()?;
        let mut ids = Vec::new();
        if self.changed_lost.swap(false, Ordering::AcqRel) {
            let all: Vec<_> = self.books().by_connection.keys().copied().collect();
            ids.extend(all.into_iter().filter(|&id| is_over(id)));
        }
        while let Some(id) = self.changed.take() {
            ids.push(ConnectionId(id));
        }
        // A connection may have been merged again since it was noted.
        ids.retain(|&id| is_over(id));
        self.revoke(|books| {
            let flows = ids.iter().filter_map(|id| books.by_connection.get(id));
            flows.flatten().copied().collect()
        })
    }

    /// Revokes the flows of a connection.
    ///
    /// # Errors
    /// [`Error::Busy`] from a thread that is looking flows up.
    pub fn clear_connection(&self, id: ConnectionId) -> Result<Vec<Gone>, Error> {
        self.not_visiting()?;
        self.revoke(|books| books.by_connection.get(&id).cloned().unwrap_or_default())
    }

    /// Revokes the flows that have to do with a port.
    ///
    /// # Errors
    /// As [`Store::clear_connection`].
    pub fn clear_port(&self, port: u32) -> Result<Vec<Gone>, Error> {
        self.clear_where(|flow| flow.uses_port(port))
    }

    /// Revokes all flows.
    ///
    /// # Errors
    /// As [`Store::clear_connection`].
    pub fn clear(&self) -> Result<Vec<Gone>, Error> {
        self.clear_where(|_| true)
    }

    fn clear_where(&self, wanted: impl Fn(&Flow) -> bool) -> Result<Vec<Gone>, Error> {
        self.not_visiting()?;
        self.revoke(|books| {
            let visit = self.shelf.visit();
            let all = 0..books.places.len() as u32;
            all.filter(|&place| visit.get(place as usize).is_some_and(&wanted))
                .collect()
        })
    }

    fn revoke(&self, which: impl FnOnce(&Books) -> Vec<u32>) -> Result<Vec<Gone>, Error> {
        let unlinked = {
            let mut books = self.books();
            let places = which(&books);
            self.unlink(&mut books, &places)
        };
        self.counts.add(Count::Revoked, unlinked.gone.len() as u64);
        Ok(self.finish(unlinked))
    }

    /// Number of flows.
    #[must_use]
    pub fn len(&self) -> usize {
        let books = self.books();
        books.places.len() - books.free.len()
    }

    /// There are no flows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The flow in the first occupied place from `position` on, which is moved behind it.
    #[must_use]
    pub fn next(&self, position: &mut u32) -> Option<Listed> {
        let books = self.books();
        let visit = self.shelf.visit();
        while (*position as usize) < books.places.len() {
            let at = *position as usize;
            *position += 1;
            if let (Some(place), Some(flow)) = (&books.places[at], visit.get(at)) {
                return Some(Listed {
                    number: place.number,
                    parents: place.parents.iter().map(|parent| parent.cookie).collect(),
                    connections: place.connections.clone(),
                    matches: place.matches,
                    actions: place.actions.clone(),
                    used: flow.used(),
                    providers: place.providers,
                });
            }
        }
        None
    }

    /// Uses a flow, if it lives.
    pub fn with<R>(&self, number: u64, use_it: impl FnOnce(&Flow) -> R) -> Option<R> {
        let visit = self.shelf.visit();
        let place = *self.books().by_number.get(&number)?;
        visit.get(place as usize).map(use_it)
    }
}

/// Flows in providers.
impl Store {
    /// A provider carried packets of a flow that lives, or that is gone and was not yet
    /// [`Store::departed`]. Returns the flow's connections.
    pub fn carried(&self, number: u64, used: Used) -> Vec<Passing> {
        let count = |flow: &Flow| {
            flow.count(used);
            flow.made().passings.to_vec()
        };
        if let Some(passings) = self.with(number, count) {
            return passings;
        }
        let mut books = self.books();
        let Some(departing) = books.departing.get(&number) else {
            return Vec::new();
        };
        let (parents, passings) = (departing.parents.clone(), departing.passings.clone());
        books.credit(&parents, used);
        passings
    }

    /// No provider has this flow, which is gone.
    pub fn departed(&self, number: u64) {
        self.books().departing.remove(&number);
    }

    /// A provider took a flow. `false` when the flow is gone.
    pub fn took(&self, number: u64, bit: u32) -> bool {
        let mut books = self.books();
        let books = &mut *books;
        let place = books.by_number.get(&number);
        match place.and_then(|&place| books.places[place as usize].as_mut()) {
            Some(place) => {
                place.providers |= bit;
                true
            }
            None => false,
        }
    }

    /// The flows that a provider has, which are no longer its.
    pub fn release(&self, bit: u32) -> Vec<u64> {
        let mut books = self.books();
        let places = books.places.iter_mut().flatten();
        let had = places.filter(|place| place.providers & bit != 0);
        had.map(|place| {
            place.providers &= !bit;
            place.number
        })
        .collect()
    }

    /// The flows that providers have, and their bits.
    #[must_use]
    pub fn in_providers(&self) -> Vec<(u64, u32)> {
        let books = self.books();
        let places = books.places.iter().flatten();
        let had = places.filter(|place| place.providers != 0);
        had.map(|place| (place.number, place.providers)).collect()
    }
}
