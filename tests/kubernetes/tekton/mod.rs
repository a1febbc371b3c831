//! The catalog's tasks and samples on a real cluster. There is no Tekton here that would carry them out, so these tests do what its controller
//! does: they read the YAML, put the variables in, order the tasks, and make pods of the very steps, with the labels, mounts and accounts
//! that Tekton gives them.

mod cancel;
mod combinations;
pub mod definitions;
mod ended;
mod fan_out;
mod gc;
mod installable;
mod locks;
mod pipelines;
mod pod;
pub mod rights;
mod run;
mod site;
mod task_runs;
