//! Threads of the library that call queued providers, for callers that do not want to lend their own.

use std::cell::Cell;
use std::time::Duration;

use crate::engine::Engine;
use crate::error::Error;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock, thread};

/// How long a worker waits when there is nothing to do.
const IDLE: Duration = Duration::from_millis(1);
/// Connections that a worker serves before it looks whether it shall stop.
const SLICE: usize = 1024;

thread_local! {
    /// The address of the engine that the calling thread is a worker of.
    static SERVES: Cell<usize> = const { Cell::new(0) };
}

struct Worker {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

/// The workers of an instance.
#[derive(Default)]
pub(super) struct Workers(Mutex<Vec<Worker>>);

impl Workers {
    /// Stops those that run, and starts `n` others.
    pub(super) fn set(&self, engine: &Arc<Engine>, n: usize) -> Result<(), Error> {
        if SERVES.get() == Arc::as_ptr(engine).addr() {
            return Err(Error::Busy("a worker cannot stop itself".into()));
        }
        let mut workers = lock(&self.0);
        stop(&mut workers);
        for number in 0..n {
            let stop = Arc::new(AtomicBool::new(false));
            let (engine, told) = (engine.clone(), stop.clone());
            let thread = thread::Builder::new()
                .name(format!("ct_offload{number}"))
                .spawn(move || work(&engine, &told, number, n))
                .map_err(|_| Error::Again("a thread cannot be started".into()));
            match thread {
                Ok(thread) => workers.push(Worker { stop, thread }),
                Err(error) => {
                    // All or none: half of them would leave queues unserved.
                    self::stop(&mut workers);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Workers {
    /// Stops those that run.
    pub(super) fn stop(&self) {
        stop(&mut lock(&self.0));
    }
}

fn stop(workers: &mut Vec<Worker>) {
    for worker in workers.iter() {
        worker.stop.store(true, Ordering::Relaxed);
        worker.thread.thread().unpark();
    }
    for worker in workers.drain(..) {
        // A panic of the thread was its own; there is nothing left to save.
        drop(worker.thread.join());
    }
}

fn work(engine: &Engine, stop: &AtomicBool, number: usize, workers: usize) {
    SERVES.set(std::ptr::from_ref(engine).addr());
    while !stop.load(Ordering::Relaxed) {
        if engine.work(number, workers, SLICE) == 0 {
            thread::park_timeout(IDLE);
        }
    }
}
