//! Where a run lives: creating its objects, watching them, reaching its servers, and removing everything
//! again.

pub mod kubernetes;
pub mod local;
pub mod seeding;
