//! Whether a holder has abandoned its lock: one answer for those who wait, and for `testbed lock show`.

use std::time::Duration;

use super::state::{Holder, Terms};
use crate::runtime::kubernetes::pipeline_run::Life;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandonment {
    /// Abandoned: its PipelineRun is over.
    Over,
    /// Abandoned: it has not renewed for its ttl.
    Expired,
    /// Not abandoned, unless it does not renew for so much longer.
    In(Duration),
    /// Not abandoned as long as its PipelineRun goes on, whatever the clock says.
    Running,
    /// Never abandoned: it has no ttl.
    Never,
}

impl Abandonment {
    /// Of a holder that is known not to have renewed for so long.
    pub fn of(holder: &Holder, life: Life, idle: Duration) -> Self {
        let Terms { ttl_is_asked_for, pipeline_run, .. } = &holder.terms;
        match (pipeline_run, life) {
            (Some(_), life) if life.is_over() => return Self::Over,
            // Unless the ttl was meant to end it.
            (Some(_), Life::Running | Life::Unasked) if !ttl_is_asked_for => return Self::Running,
            _ => {}
        }
        match holder.terms.ttl() {
            None => Self::Never,
            Some(ttl) if idle >= ttl => Self::Expired,
            Some(ttl) => Self::In(ttl - idle),
        }
    }

    /// What is left until the lock may be taken away; `None` where the clock does not tell.
    pub fn rest(self) -> Option<Duration> {
        match self {
            Self::Over | Self::Expired => Some(Duration::ZERO),
            Self::In(rest) => Some(rest),
            Self::Running | Self::Never => None,
        }
    }
}
