//! The catalog as data: Tekton's types, the files that hold them, and the variables in them. The tests
//! without a cluster check them, those on the cluster run them.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod combinations;
pub mod documents;
pub mod model;
pub mod variables;
