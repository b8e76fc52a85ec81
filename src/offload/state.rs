//! The life of a connection in each provider, in one word.
//!
//! A connection's record carries a [`Word`]: one byte for each of the [`SLOTS`] providers that may be
//! registered at a time. The byte says how far the connection got in that provider, and, when it did
//! not get there, why. The word is changed only under the record's lock, so every transition below is
//! a plain function; who wins a race is whoever holds the lock first.
//!
//! ```text
//!            offer            accepted          established
//!   None ───────────> Pending ────────> Added ───────────────> Established
//!    ^                  │  │              │                        │
//!    │ again later      │  │ refused      │ removed or flushed     │
//!    └──────────────────┘  v              v                        v
//!                        Failed        Closing ──── deleted ───> None
//! ```
//!
//! Rules:
//! 1. `conn_del` goes out exactly once after an accepted add and never before: only [`Byte::remove`]
//!    orders it, only from Added or Established, and it leaves Closing, from which nothing orders
//!    another.
//! 2. A connection that ends while its add is Pending becomes Closing with [`Due::Later`]: the
//!    completion of the add then finds Closing and orders the delete, or, when the add failed or was
//!    cancelled, nothing.
//! 3. `conn_established` goes out once the add was accepted, and the byte becomes Established only when
//!    the provider said yes. While one such question is under way (Asked) no second is asked. A reply
//!    that comes while the add is Pending is remembered, and asked about when the add was accepted.

/// Providers that may be registered with an instance at a time.
pub const SLOTS: usize = 8;

/// A provider's place in the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The slot with this number, below [`SLOTS`].
    #[must_use]
    pub const fn new(number: usize) -> Option<Slot> {
        if number < SLOTS {
            Some(Slot(number as u8))
        } else {
            None
        }
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How far a connection got in a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The provider does not have it.
    None = 0,
    /// An add is under way.
    Pending = 1,
    /// The provider has it.
    Added = 2,
    /// The provider has it and is being told that it is established.
    Asked = 3,
    /// The provider has it and knows that it is established.
    Established = 4,
    /// It ended or was taken back; a delete is under way, or an add that must be undone.
    Closing = 5,
    /// The provider refused it, and is not asked again.
    Failed = 6,
}

impl State {
    /// The name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::None => "none",
            State::Pending => "pending",
            State::Added => "added",
            State::Asked => "asked",
            State::Established => "established",
            State::Closing => "closing",
            State::Failed => "failed",
        }
    }
}

/// Why a provider does not have a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// It was not offered yet: it is too young for this provider's taste.
    #[default]
    TooEarly = 0,
    /// Offload is switched off.
    Off = 1,
    /// `can_offload` said no.
    Declined = 2,
    /// It is a helper's control connection.
    Helper = 3,
    /// The queue to the provider was full; it will be offered again.
    QueueFull = 4,
    /// The device is full; it will be offered again.
    Capacity = 5,
    /// `conn_add` failed.
    AddFailed = 6,
    /// Its protocol is not offered to this provider.
    Protocol = 7,
    /// The provider was registered after it, and it saw no packet since.
    Idle = 8,
    /// The provider gave it back.
    GivenBack = 9,
    /// It is ending.
    Closing = 10,
    /// The provider wants the connections of another zone.
    Zone = 11,
    /// Not yet, but since it was established a packet of the original direction was seen.
    SeenOriginal = 12,
    /// Not yet, but since it was established a packet of the reply direction was seen.
    SeenReply = 13,
    /// An add is under way, and there was a reply meanwhile.
    Replied = 14,
}

impl Why {
    /// Every reason, in the order of the numbers.
    pub const ALL: [Why; 15] = [
        Why::TooEarly,
        Why::Off,
        Why::Declined,
        Why::Helper,
        Why::QueueFull,
        Why::Capacity,
        Why::AddFailed,
        Why::Protocol,
        Why::Idle,
        Why::GivenBack,
        Why::Closing,
        Why::Zone,
        Why::SeenOriginal,
        Why::SeenReply,
        Why::Replied,
    ];

    /// The name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Why::TooEarly | Why::SeenOriginal | Why::SeenReply | Why::Replied => "too-early",
            Why::Off => "offload-off",
            Why::Declined => "declined",
            Why::Helper => "helper",
            Why::QueueFull => "queue-full",
            Why::Capacity => "device-full",
            Why::AddFailed => "add-failed",
            Why::Protocol => "protocol",
            Why::Idle => "idle",
            Why::GivenBack => "given-back",
            Why::Closing => "closing",
            Why::Zone => "other-zone",
        }
    }
}

/// What must be sent when a connection leaves a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// Nothing: the provider does not have it.
    Nothing,
    /// A delete, now.
    Delete,
    /// Perhaps a delete: the completion of the add under way decides.
    Later,
}

/// The state of one connection in one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Byte {
    /// How far it got.
    pub state: State,
    /// Why not further; meaningful in None and Failed.
    pub why: Why,
}

impl Byte {
    /// A connection that was never offered.
    pub const NEW: Byte = Byte {
        state: State::None,
        why: Why::TooEarly,
    };

    /// An add goes out. `None` when there is nothing to offer.
    #[must_use]
    pub fn offer(self) -> Option<Byte> {
        (self.state == State::None).then_some(Byte {
            state: State::Pending,
            why: Why::TooEarly,
        })
    }

    /// The offer did not go out, for a reason that may pass.
    #[must_use]
    pub const fn not_now(why: Why) -> Byte {
        Byte {
            state: State::None,
            why,
        }
    }

    /// The provider never takes it.
    #[must_use]
    pub const fn refused(why: Why) -> Byte {
        Byte {
            state: State::Failed,
            why,
        }
    }

    /// The add came back. The second value says what to send: a delete when the connection ended
    /// while the add was under way and the add succeeded.
    pub fn completed(self, outcome: Result<(), Why>, again: Again) -> (Byte, Due) {
        match (self.state, outcome) {
            (State::Pending, Ok(())) => (
                Byte {
                    state: if self.why == Why::Replied {
                        State::Asked
                    } else {
                        State::Added
                    },
                    why: Why::TooEarly,
                },
                Due::Nothing,
            ),
            (State::Pending, Err(why)) => match again {
                Again::Yes => (Byte::not_now(why), Due::Nothing),
                Again::No => (Byte::refused(why), Due::Nothing),
            },
            (State::Closing, Ok(())) => (self, Due::Delete),
            (State::Closing, Err(why)) => (Byte::not_now(why), Due::Nothing),
            // A completion for a life that is over: late, and harmless.
            _ => (self, Due::Nothing),
        }
    }

    /// A packet of the reply direction: `conn_established` goes out, or will when the add was accepted.
    /// `None` when it was asked already.
    #[must_use]
    pub fn ask(self) -> Option<Byte> {
        match (self.state, self.why) {
            (State::Added, _) => Some(Byte {
                state: State::Asked,
                ..self
            }),
            (State::Pending, why) if why != Why::Replied => Some(Byte {
                why: Why::Replied,
                ..self
            }),
            _ => None,
        }
    }

    /// A packet of an established connection that is not offered before both directions were seen.
    /// Whether it may be offered now.
    pub fn seen(self, reply: bool) -> (Byte, bool) {
        let (this, other) = if reply {
            (Why::SeenReply, Why::SeenOriginal)
        } else {
            (Why::SeenOriginal, Why::SeenReply)
        };
        if self.why == other {
            (self, true)
        } else {
            (Byte { why: this, ..self }, false)
        }
    }

    /// The connection is to be offered by its packets, when the time comes. What was put off for want
    /// of room is offered again by another way, see `admission`.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self.state, State::None)
            && matches!(
                self.why,
                Why::TooEarly | Why::SeenOriginal | Why::SeenReply | Why::Idle
            )
    }

    /// It was put off for want of room.
    #[must_use]
    pub const fn is_put_off(self) -> bool {
        matches!(self.state, State::None)
            && matches!(self.why, Why::QueueFull | Why::Capacity | Why::GivenBack)
    }

    /// Its packets are looked at on behalf of the provider.
    #[must_use]
    pub const fn is_watched(self) -> bool {
        match self.state {
            State::None => self.is_open(),
            State::Failed => false,
            State::Pending | State::Added | State::Asked | State::Established | State::Closing => {
                true
            }
        }
    }

    /// The provider answered `conn_established`.
    #[must_use]
    pub fn answered(self, yes: bool) -> Byte {
        match self.state {
            State::Asked if yes => Byte {
                state: State::Established,
                ..self
            },
            State::Asked => Byte {
                state: State::Added,
                ..self
            },
            _ => self,
        }
    }

    /// The connection ends, or is taken back from the provider.
    pub fn remove(self, why: Why) -> (Byte, Due) {
        match self.state {
            State::Pending => (
                Byte {
                    state: State::Closing,
                    why,
                },
                Due::Later,
            ),
            State::Added | State::Asked | State::Established => (
                Byte {
                    state: State::Closing,
                    why,
                },
                Due::Delete,
            ),
            State::None | State::Closing | State::Failed => (self, Due::Nothing),
        }
    }

    /// The delete was carried out, on a connection that lives on in software.
    #[must_use]
    pub fn deleted(self) -> Byte {
        match self.state {
            State::Closing => Byte {
                state: State::None,
                ..self
            },
            _ => self,
        }
    }

    /// The provider carries the connection's packets, or may.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self.state, State::Added | State::Asked | State::Established)
    }

    const fn pack(self) -> u8 {
        self.state as u8 | (self.why as u8) << 3
    }

    const fn unpack(byte: u8) -> Byte {
        let state = match byte & 7 {
            1 => State::Pending,
            2 => State::Added,
            3 => State::Asked,
            4 => State::Established,
            5 => State::Closing,
            6 => State::Failed,
            _ => State::None,
        };
        let why = (byte >> 3) as usize;
        Byte {
            state,
            why: if why < Why::ALL.len() {
                Why::ALL[why]
            } else {
                Why::TooEarly
            },
        }
    }
}

/// Whether a failed add is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The reason may pass.
    Yes,
    /// It will not.
    No,
}

/// The bytes of all providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    /// The byte of one provider.
    #[must_use]
    pub const fn get(self, slot: Slot) -> Byte {
        Byte::unpack((self.0 >> (slot.0 * 8)) as u8)
    }

    /// The word with one byte changed.
    #[must_use]
    pub const fn with(self, slot: Slot, byte: Byte) -> Word {
        let shift = slot.0 * 8;
        Word(self.0 & !(0xff << shift) | (byte.pack() as u64) << shift)
    }

    /// Some provider has the connection.
    #[must_use]
    pub fn is_held(self) -> bool {
        self.bytes().any(Byte::is_held)
    }

    /// No provider has anything to do with the connection.
    #[must_use]
    pub fn is_idle(self) -> bool {
        self.bytes()
            .all(|byte| matches!(byte.state, State::None | State::Failed))
    }

    fn bytes(self) -> impl Iterator<Item = Byte> {
        (0..SLOTS).map(move |i| Byte::unpack((self.0 >> (i * 8)) as u8))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_byte() -> impl Strategy<Value = Byte> {
        (0u8..7, 0usize..Why::ALL.len()).prop_map(|(state, why)| Byte {
            state: Byte::unpack(state).state,
            why: Why::ALL[why],
        })
    }

    proptest! {
        #[test]
        fn a_byte_survives_its_word(byte in any_byte(), other in any_byte(), slot in 0usize..SLOTS) {
            let slot = Slot::new(slot).expect("below the limit");
            let next = Slot::new((slot.index() + 1) % SLOTS).expect("below the limit");
            let word = Word::default().with(next, other).with(slot, byte);
            prop_assert_eq!(word.get(slot), byte);
            prop_assert_eq!(word.get(next), other);
        }

        /// Any interleaving of offers, completions, questions and removals sends at most one delete
        /// per accepted add, and never one without.
        #[test]
        fn a_delete_follows_every_accepted_add_exactly_once(steps in prop::collection::vec(0u8..7, 0..64)) {
            let mut byte = Byte::NEW;
            let (mut adds, mut deletes, mut in_flight, mut yes) = (0, 0, false, 0);
            for step in steps {
                match step {
                    0 => if let Some(next) = byte.offer() { prop_assert!(!in_flight); byte = next; in_flight = true; },
                    1 | 2 if in_flight => {
                        in_flight = false;
                        let outcome = if step == 1 { adds += 1; Ok(()) } else { Err(Why::AddFailed) };
                        let (next, due) = byte.completed(outcome, Again::Yes);
                        byte = next;
                        if due == Due::Delete { deletes += 1; byte = byte.deleted(); }
                    }
                    3 => if let Some(next) = byte.ask() { byte = next; },
                    4 => { if byte.state == State::Asked { yes += 1; } byte = byte.answered(true); }
                    5 => byte = byte.answered(false),
                    6 => {
                        let (next, due) = byte.remove(Why::Closing);
                        byte = next;
                        if due == Due::Delete { deletes += 1; byte = byte.deleted(); }
                    }
                    _ => {}
                }
                prop_assert_eq!(adds - deletes, i32::from(byte.is_held()));
                prop_assert!(yes <= adds);
            }
        }
    }

    #[test]
    fn established_is_asked_again_until_the_provider_says_yes() {
        let (byte, _) = Byte::NEW.offer().expect("new").completed(Ok(()), Again::No);
        let byte = byte.ask().expect("added").answered(false);
        let byte = byte.ask().expect("asked again").answered(true);
        assert_eq!(byte.state, State::Established);
        assert_eq!(byte.ask(), None);
    }

    #[test]
    fn one_question_is_under_way_at_a_time() {
        let (byte, _) = Byte::NEW.offer().expect("new").completed(Ok(()), Again::No);
        assert_eq!(byte.ask().expect("added").ask(), None);
    }
}
