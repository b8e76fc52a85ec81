//! The engine, the actions and the clock that most tests begin with.

use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::action::Action;
use crate::engine::config::Config;

/// Track only.
pub(crate) const LOOK: Action = Action {
    zone: 0,
    commit: false,
    force: false,
    mark: None,
    label: None,
    helper: None,
    nat: None,
    timeout_policy: None,
};

/// Track, and store what is new.
pub(crate) const COMMIT: Action = Action {
    commit: true,
    ..LOOK
};

/// An engine with room for so many connections, the same in every run.
pub(crate) fn limited(max_connections: u32) -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        max_connections,
        ..Config::default()
    })
    .expect("valid")
}

/// An engine, the same in every run.
pub(crate) fn engine() -> Engine {
    limited(1_000)
}

/// So many milliseconds.
pub(crate) fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}
