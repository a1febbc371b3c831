//! Keeps a lock that is held: does in a cluster what its [`Holding`] asks for, and tells it the outcome.

use futures::StreamExt;
use futures::stream::BoxStream;

use super::candidacy::Held;
use super::clock::{Moment, until};
use super::holding::{Action, Holding, News};
use super::object::{Event, Kind, Target, WatchEvent};

pub struct Keeper {
    target: Target,
    pub holding: Holding,
    events: BoxStream<'static, anyhow::Result<WatchEvent>>,
}

impl Keeper {
    /// Begins to keep a lock that was just taken. `None`: the holder is not in it.
    pub fn new(target: &Target, held: Held) -> Option<Self> {
        let holding = Holding::new(held, target.kind == Kind::Lease)?;
        Some(Self { target: target.clone(), holding, events: target.watch() })
    }

    /// What happens next. After a loss the lock is kept on as far as possible, so that the command has the
    /// time to end, and a worse loss is told.
    pub async fn next(&mut self) -> News {
        loop {
            let event = match self.holding.next(&Moment::now()) {
                Action::Lost(loss) => return News::Lost(loss),
                Action::Send(request, timeout) => Event::Answered(self.target.send(&request, timeout).await),
                Action::Wait(wake) => tokio::select! {
                    biased;
                    () = until(wake) => continue,
                    event = self.events.next() => match event {
                        Some(event) => Event::Seen(event.unwrap_or_else(WatchEvent::Trouble)),
                        None => {
                            self.events = self.target.watch();
                            continue;
                        }
                    }
                },
            };
            if let Some(news) = self.holding.on(event, &Moment::now()) {
                return news;
            }
        }
    }
}
