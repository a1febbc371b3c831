//! A command that holds a lock.
