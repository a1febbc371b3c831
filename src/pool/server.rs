//! A server whose databases are copied, of whichever engine.

use std::sync::Arc;

use super::core::{Closed, Id, Removed, Way};
use super::{PREFIX, key_in, mysql, postgres};
use crate::output::Connection;

pub(super) enum Server {
    Postgres(Box<postgres::Server>),
    Mysql(Arc<mysql::Server>),
}

/// From which databases are made and removed.
pub(super) enum Session {
    Postgres(postgres::Session),
    Mysql(Arc<mysql::Server>),
}

impl Server {
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::Postgres(server) => &server.connection,
            Self::Mysql(server) => &server.connection,
        }
    }

    pub(super) async fn session(&self) -> anyhow::Result<Session> {
        Ok(match self {
            Self::Postgres(server) => Session::Postgres(server.session().await?),
            Self::Mysql(server) => Session::Mysql(Arc::clone(server)),
        })
    }

    /// Where a database is; `None` where it is gone.
    pub(super) fn reach(&self, name: &str) -> Option<Connection> {
        match self {
            Self::Postgres(server) => Some(server.connection.in_database(name)),
            Self::Mysql(server) => server.reach(name),
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
        }
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        match self {
            Self::Postgres(session) => session.closed().await,
            Self::Mysql(_) => std::future::pending().await,
        }
    }

    /// Marks the pool as one that is in use, and removes what earlier ones have left.
    pub(super) async fn begin(&self, key: i64, prefix: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => {
                session.mark(key).await?;
                session.sweep(PREFIX, key_in, key).await
            }
            Self::Mysql(server) => server.begin(prefix).await,
        }
    }

    /// Marks it again, after the session that has done it before has ended.
    pub(super) async fn mark(&self, key: i64) {
        if let Self::Postgres(session) = self {
            let _ = session.mark(key).await;
        }
    }

    /// Removes all databases of the pool.
    pub(super) async fn clear(&self, prefix: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => {
                for name in session.named(prefix).await? {
                    session.remove(&name, Way::Forced).await?;
                }
                Ok(())
            }
            Self::Mysql(server) => server.clear(prefix).await,
        }
    }

    /// An empty database, for a template.
    pub(super) async fn create(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => session.create(name).await,
            Self::Mysql(server) => server.create(name, true).await,
        }
    }

    /// A template of what a seed has put into the run's database.
    pub(super) async fn create_seeded(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => session.copy_own(name).await,
            Self::Mysql(server) => server.create(name, false).await,
        }
    }

    /// From now on nobody gets in, and nobody is in.
    pub(super) async fn close(&self, server: &Server, name: &str) -> anyhow::Result<Closed> {
        match (self, server) {
            (Self::Postgres(session), Server::Postgres(server)) => session.close(server, name).await,
            (Self::Mysql(server), _) | (_, Server::Mysql(server)) => server.close(name).await,
        }
    }

    /// A copy of a template that is closed.
    pub(super) async fn copy(&self, template: &str, name: &str, has_settings: bool) -> anyhow::Result<()> {
        match self {
            Self::Postgres(session) => session.copy(template, name, has_settings).await,
            Self::Mysql(server) => server.copy(template, name).await,
        }
    }

    pub(super) async fn remove(&self, name: &str, way: Way) -> anyhow::Result<Removed> {
        match self {
            Self::Postgres(session) => session.remove(name, way).await,
            Self::Mysql(server) => server.remove(name, way).await,
        }
    }

    /// Those that somebody is logged in to, and those that anybody has ever been.
    pub(super) async fn look(&self, databases: &[(Id, String)]) -> anyhow::Result<(Vec<Id>, Vec<Id>)> {
        match self {
            Self::Postgres(session) => session.look(databases).await,
            Self::Mysql(server) => server.look(databases).await,
        }
    }
}
