//! What is said on standard error goes through a thread of its own. A reader may stop without going away
//! (Ctrl-S at a terminal, a pager that waits for a key): then its pipe is full, and whoever writes to it is
//! held up. A run's databases have to go all the same.
//!
//! As long as the reader reads, each message is out before the caller goes on, so that it stands before what
//! other processes write.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a message is waited for. Only once: afterwards nobody waits for this reader before the end.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long the end of the program waits for what was not read by then.
const FAREWELL: Duration = Duration::from_secs(2);

/// The bytes that may wait; what does not fit is left out, and that is told.
const MOST: usize = 1 << 20;

/// A thread that writes and does nothing else needs little.
const STACK: usize = 64 << 10;

struct Queue {
    has_thread: bool,
    /// Whether a message was waited for in vain.
    is_slow: bool,
    waiting: VecDeque<String>,
    /// The bytes of what waits or is being written.
    size: usize,
    left_out: usize,
    given: u64,
    written: u64,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    has_thread: false,
    is_slow: false,
    waiting: VecDeque::new(),
    size: 0,
    left_out: 0,
    given: 0,
    written: 0,
});
static GIVEN: Condvar = Condvar::new();
static WRITTEN: Condvar = Condvar::new();

impl Queue {
    fn give(&mut self, text: String) {
        self.size += text.len();
        self.given += 1;
        self.waiting.push_back(text);
        GIVEN.notify_one();
    }
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write(text: String) {
    let mut queue = queue();
    if !queue.has_thread {
        queue.has_thread = std::thread::Builder::new().stack_size(STACK).spawn(work).is_ok();
        if !queue.has_thread {
            return write_now(&text);
        }
    }
    if queue.size > 0 && queue.size + text.len() > MOST {
        queue.left_out += 1;
        return;
    }
    queue.give(text);
    if !queue.is_slow {
        let this = queue.given;
        let (mut queue, waited) = WRITTEN
            .wait_timeout_while(queue, TIMEOUT, |queue| queue.written < this)
            .unwrap_or_else(PoisonError::into_inner);
        queue.is_slow = waited.timed_out();
    }
}

/// Whether something waits to be read.
pub fn is_behind() -> bool {
    queue().size > 0
}

/// Waits, within a bound, until all is written.
pub fn finish() {
    drop(WRITTEN.wait_timeout_while(queue(), FAREWELL, |queue| queue.size > 0));
}

fn work() {
    let mut queue = queue();
    loop {
        let Some(text) = queue.waiting.pop_front() else {
            queue = GIVEN.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(queue);
        write_now(&text);
        queue = self::queue();
        queue.size -= text.len();
        queue.written += 1;
        let left_out = queue.left_out;
        if left_out > 0 && queue.waiting.is_empty() {
            queue.left_out = 0;
            queue.give(format!("({left_out} messages were left out here: nobody read them in time)\n"));
        }
        WRITTEN.notify_all();
    }
}

#[expect(clippy::disallowed_methods, reason = "the console owns it")]
fn write_now(text: &str) {
    // In one write, so that processes that say something at once do not mix their lines.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
