//! How long a hand-over takes, and what a wait costs.
