//! What becomes of databases that are up while somebody uses them.

use std::convert::Infallible;

use futures::future::join_all;

use crate::probe::{Container, change};
use crate::progress::Progress;
use crate::runtime::kubernetes::observe::Observer;
use crate::session::plan::Plan;

/// Says of each database when it goes, and when it is back, for ever.
pub(crate) async fn keep(plan: &Plan, observer: &Observer, progress: &Progress) -> Infallible {
    let watches =
        plan.discovery.databases.iter().zip(observer.outsides()).map(|(database, mut outside)| async move {
            let mut before = outside.borrow_and_update().container.clone();
            loop {
                change(&mut outside).await;
                let now = outside.borrow_and_update().container.clone();
                match (&before, &now) {
                    (before, now) if before == now => {}
                    (Container::Running(_), now) => {
                        progress.warn(&format!("{} did not stay up: {}", database.name, why(now)));
                    }
                    (_, Container::Running(_)) => {
                        progress.say(&format!("{}: its container runs again", database.name));
                    }
                    _ => {}
                }
                before = now;
            }
        });
    let _: Vec<Infallible> = join_all(watches).await;
    // There are no databases.
    std::future::pending().await
}

/// Why a database is not what it was, by its container now.
pub(crate) fn why(container: &Container) -> &str {
    match container {
        Container::Running(_) => "its container was started again",
        Container::Waiting(why) => why,
    }
}
