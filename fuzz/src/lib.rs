//! What the targets have in common: a text of the input, an input in several parts, a clock that stands
//! still, and a cluster that is not there.

pub mod cluster;
pub mod server;

use std::ffi::OsString;
use std::sync::LazyLock;

use testbed::run_id::RunId;
use tokio::runtime::{Builder, Runtime};

/// A password that no input has by chance. Where it stands as one, no message may show it.
pub const SECRET: &str = "zq8vWx3kR5tY";

/// The run.
pub static RUN: LazyLock<RunId> = LazyLock::new(|| RunId::parse("run-1").expect("a run id"));

/// Called once, before anything else. Templates with more than plain variables are rendered by a process of
/// the same executable, which here is the target: it has to do what testbed does then.
pub fn init() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == testbed::template::apart::NAME) {
        std::process::exit(testbed::template::apart::run(&args[1..]).into());
    }
}

/// The input as a text; an input that is none says nothing.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// What stands between the parts of an input that has several.
pub const BETWEEN: &[u8] = b"\n%%\n";

/// The parts of an input.
pub fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let all = rest?;
        let at = all.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let (part, left) = at.map_or((all, None), |at| (&all[..at], Some(&all[at + BETWEEN.len()..])));
        rest = left;
        Some(part)
    })
}

/// A runtime whose clock moves on only when nothing else can be done, so that no pause and no patience costs
/// time.
pub fn without_waiting() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// A runtime with the clock that everybody has: for what waits for a thread.
pub fn with_a_clock() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}
