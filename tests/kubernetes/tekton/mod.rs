//! The catalog's tasks and samples on a real cluster. Where it has a Tekton of its own, that carries them
//! out. Where there is none, these tests do what its controller does: they read the YAML, put the variables
//! in, order the tasks, and make pods of the very steps, with the labels, mounts and accounts that Tekton
//! gives them. A test does not know which.

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
mod real;
pub mod rights;
mod run;
mod site;
mod task_runs;
