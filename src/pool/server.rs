//! A server whose databases are copied, of whichever engine.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::core::{Closed, Id, Removed, Way};
use super::names::{PREFIX, pool_of};
use super::{mysql, postgres, schema};
use crate::output::Connection;

/// How long a pool may be without its mark before its testbed counts as killed.
const UNMARKED: Duration = Duration::from_secs(2);

pub(super) enum Server {
    Postgres(Box<postgres::Server>),
    /// Each database is a server of its own.
    Mysql(Arc<mysql::Server>),
    /// All of them are on the run's own.
    Schemas(Arc<schema::Server>),
}

/// From which databases are made and removed.
pub(super) enum Session {
    Postgres(postgres::Session),
    Mysql(Arc<mysql::Server>),
    Schemas(Box<schema::Session>),
}

impl Server {
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::Postgres(server) => &server.connection,
            Self::Mysql(server) => &server.connection,
            Self::Schemas(server) => &server.connection,
        }
    }

    pub(super) async fn session(&self) -> anyhow::Result<Session> {
        Ok(match self {
            Self::Postgres(server) => Session::Postgres(server.session().await?),
            Self::Mysql(server) => Session::Mysql(Arc::clone(server)),
            Self::Schemas(server) => Session::Schemas(Box::new(server.session().await?)),
        })
    }

    /// Where a database is; `None` where it is gone.
    pub(super) fn reach(&self, name: &str) -> Option<Connection> {
        match self {
            Self::Mysql(server) => server.reach(name),
            Self::Postgres(_) | Self::Schemas(_) => Some(self.connection().in_database(name)),
        }
    }

    /// Ends what does not end with the run's own servers.
    pub(super) async fn end(&self) {
        if let Self::Mysql(server) = self {
            server.end().await;
        }
    }
}

impl Session {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Postgres(session) => session.is_closed(),
            Self::Mysql(_) => false,
            Self::Schemas(session) => session.is_closed(),
        }
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        match self {
            Self::Postgres(session) => session.closed().await,
            Self::Mysql(_) => std::future::pending().await,
            Self::Schemas(session) => session.closed().await,
        }
    }

    /// Marks the pool as one that is in use, and removes what earlier ones have left.
    pub(super) async fn begin(&self, pool: &str) -> anyhow::Result<()> {
        match self {
            Self::Mysql(server) => server.begin(pool).await,
            Self::Postgres(_) | Self::Schemas(_) => {
                anyhow::ensure!(self.mark(pool).await?, "the server has a pool of the same name");
                self.sweep(pool).await?;
                match self {
                    Self::Schemas(session) => session.begin(pool).await,
                    Self::Postgres(_) | Self::Mysql(_) => Ok(()),
                }
            }
        }
    }

    /// Marks a pool, as long as this session lasts, unless it is marked.
    pub(super) async fn mark(&self, pool: &str) -> anyhow::Result<bool> {
        match self {
            Self::Postgres(session) => session.mark(pool).await,
            Self::Mysql(_) => Ok(true),
            Self::Schemas(session) => session.mark(pool).await,
        }
    }

    async fn unmark(&self, pool: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => session.unmark(pool).await,
            Self::Mysql(_) => Ok(()),
            Self::Schemas(session) => session.unmark(pool).await,
        }
    }

    /// The databases of all pools.
    async fn all(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Postgres(session) => session.named(PREFIX).await,
            Self::Mysql(_) => Ok(Vec::new()),
            Self::Schemas(session) => session.named(PREFIX).await,
        }
    }

    /// Removes what pools have left whose testbed was killed.
    async fn sweep(&self, own: &str) -> anyhow::Result<()> {
        if let Self::Postgres(session) = self {
            session.end_gone().await?;
        }
        let all = self.all().await?;
        // Somebody may have named one of their own like that.
        let pools = all.iter().filter_map(|name| pool_of(name)).filter(|pool| *pool != own);
        let mut others: BTreeSet<&str> = pools.collect();
        let deadline = Instant::now() + UNMARKED;
        // A pool whose session has ended, as when the server was restarted, marks itself again within this time.
        loop {
            let mut marked = Vec::new();
            for pool in &others {
                match self.mark(pool).await? {
                    true => self.unmark(pool).await?,
                    false => marked.push(*pool),
                }
            }
            others.retain(|pool| !marked.contains(pool));
            if others.is_empty() || Instant::now() >= deadline {
                break;
            }
            sleep(UNMARKED / 10).await;
        }
        for pool in others {
            if self.mark(pool).await? {
                let removed = self.clear(pool).await;
                self.unmark(pool).await?;
                removed?;
            }
        }
        Ok(())
    }

    /// Removes all databases of a pool, and tells those that the server does not let go.
    pub(super) async fn clear(&self, pool: &str) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Postgres(session) => session.clear(pool).await,
            Self::Mysql(server) => server.clear(pool).await.map(|()| Vec::new()),
            Self::Schemas(session) => session.clear(pool).await.map(|()| Vec::new()),
        }
    }

    /// An empty database, for a template.
    pub(super) async fn create(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => session.create(name).await,
            Self::Mysql(server) => server.create(name, true).await,
            Self::Schemas(session) => session.create(name).await,
        }
    }

    /// A template of what a seed has put into the run's database.
    pub(super) async fn create_seeded(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => session.copy_own(name).await,
            Self::Mysql(server) => server.create(name, false).await,
            Self::Schemas(session) => session.create_seeded(name).await,
        }
    }

    /// From now on nobody gets in, and nobody is in.
    pub(super) async fn close(&self, server: &Server, name: &str) -> anyhow::Result<Closed> {
        match (self, server) {
            (Self::Postgres(session), Server::Postgres(server)) => session.close(server, name).await,
            (Self::Mysql(server), _) => server.close(name).await,
            (Self::Schemas(session), _) => session.close(name).await,
            (Self::Postgres(_), _) => Err(anyhow::anyhow!("a session of another server")),
        }
    }

    /// A copy of a template that is closed.
    pub(super) async fn copy(&self, template: &str, name: &str, has_settings: bool) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => session.copy(template, name, has_settings).await,
            Self::Mysql(server) => server.copy(template, name).await,
            Self::Schemas(session) => session.copy(template, name).await,
        }
    }

    pub(super) async fn remove(&self, name: &str, way: Way) -> anyhow::Result<Removed> {
        match self {
            Self::Postgres(session) => session.remove(name, way).await,
            Self::Mysql(server) => server.remove(name, way).await,
            Self::Schemas(session) => session.remove(name, way).await,
        }
    }

    /// Those that somebody is logged in to, and those that anybody has ever been.
    pub(super) async fn look(&self, databases: &[(Id, String)]) -> anyhow::Result<(Vec<Id>, Vec<Id>)> {
        match self {
            Self::Postgres(session) => session.look(databases).await,
            Self::Mysql(server) => server.look(databases).await,
            Self::Schemas(session) => session.look(databases).await,
        }
    }
}
