//! One of several locks, and locks with several permits.
