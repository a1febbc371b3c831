//! The archive: what became of each run, so that its objects, pods and files can be deleted at once.
//!
//! A [`record`] is what is kept of one run, and goes with the [`log`]s of its containers; a [`place`] says
//! where it is kept, and a [`store`] keeps it there: SQLite on a developer's machine, PostgreSQL for many
//! pipelines. [`query`] is what can be asked of a store, and a [`page`] is what a person looks at;
//! [`results`] tells Tekton Results. A [`clip`] says how much of a log is kept. What is written was freed of
//! secrets before: a store knows none.

pub mod clip;
pub mod log;
pub mod page;
pub mod place;
pub mod query;
pub mod record;
pub mod results;
pub mod since;
pub mod store;
