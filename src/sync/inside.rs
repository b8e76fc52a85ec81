//! Which gates the calling thread is inside of.
//!
//! Whoever waits until nobody is inside a gate must not wait for itself: a callback may ask that its
//! own provider be removed. A thread therefore remembers what it entered, by the gate's token.

use std::cell::RefCell;

type Entered = RefCell<Vec<usize>>;

#[cfg(not(loom))]
thread_local! {
    static ENTERED: Entered = const { RefCell::new(Vec::new()) };
}

#[cfg(loom)]
loom::thread_local! {
    static ENTERED: Entered = RefCell::new(Vec::new());
}

/// The calling thread enters the gate with this token.
pub fn enter(token: usize) {
    ENTERED.with(|entered| entered.borrow_mut().push(token));
}

/// The calling thread leaves the gate once.
pub fn leave(token: usize) {
    ENTERED.with(|entered| {
        let mut entered = entered.borrow_mut();
        if let Some(last) = entered.iter().rposition(|&inside| inside == token) {
            entered.remove(last);
        }
    });
}

/// How often the calling thread is inside this gate, and inside any gate.
#[must_use]
pub fn depth(token: usize) -> (usize, usize) {
    ENTERED.with(|entered| {
        let entered = entered.borrow();
        let this = entered.iter().filter(|&&inside| inside == token).count();
        (this, entered.len())
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{depth, enter, leave};

    #[test]
    fn a_thread_knows_only_its_own_gates() {
        enter(7);
        enter(9);
        enter(7);
        assert_eq!(depth(7), (2, 3));
        let other = std::thread::spawn(|| depth(7));
        assert_eq!(other.join().expect("no panic"), (0, 0));
        leave(7);
        leave(9);
        leave(7);
        assert_eq!(depth(7), (0, 0));
    }
}
