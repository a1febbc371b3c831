//! The replica of a workload as a lock.
