//! What a person looks at: one HTML page of a run, and one of many runs.
//!
//! [`phase`] says what a database was doing when; [`axis`] and [`timeline`] lay that out as bars, in percent
//! of the width; [`excerpt`] takes the lines of a log that matter; `run` puts a page together of them, and
//! [`report`] counts over runs. All of it is pure: records and logs go in, text comes out. The pages need no
//! network, no script and no font of their own, and say so to the browser.
//!
//! Names, messages and logs were written by anybody. They are escaped by the templates, of which none has a
//! `safe`, and the console's own [`clean`](crate::console::clean) makes visible what could mislead a reader.

mod axis;
mod excerpt;
mod logs;
mod phase;
pub mod report;
mod run;
mod template;
mod timeline;
mod times;

pub use self::run::run;
