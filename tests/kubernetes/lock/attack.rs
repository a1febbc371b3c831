//! Mutual exclusion under attack.
