//! `testbed run` in a cluster.

use super::attend::Signals;
use crate::cli::Run;
use crate::commands::config::Config;
use crate::commands::plan::Plan;
use crate::progress::Progress;
use crate::runtime::kubernetes::Choice;

/// Up, the command, and always down.
///
/// # Errors
/// What failed besides the command.
pub async fn run(
    _args: &Run,
    _config: Config,
    _plan: Plan,
    _choice: &Choice,
    _signals: Signals,
    _progress: &Progress,
) -> anyhow::Result<u8> {
    todo!()
}
