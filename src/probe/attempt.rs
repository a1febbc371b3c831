//! One attempt at a server: who is there, and does it let the tests' user in?
//!
//! An attempt is always a whole login that ends with a goodbye, never a connection that is opened and
//! dropped: MySQL counts those, and after a hundred of them it refuses the host.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::dial::Way;
use super::refusal::{Kind, Refusal};
use super::relay::{Protocol, Rules};
use super::{Target, Tls, address, mysql, postgres, relay};
use crate::bug;
use crate::database::{Engine, Login};

/// How long one login and its queries may take: a silent server must not hold the wait up. Above one second,
/// because a MySQL that looks clients up in a slow DNS needs about that long for each login.
const LOGIN: Duration = Duration::from_secs(3);

/// A server's process id in its own process namespace, by how the server knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessId {
    /// From the server itself, or from the kernel about the process that reads.
    Own(u32),
    /// From the file that the server writes its id to when it starts, and that others may write to as well.
    File(u32),
}

impl ProcessId {
    pub fn number(self) -> u32 {
        match self {
            Self::Own(id) | Self::File(id) => id,
        }
    }
}

/// What a server said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its process id, where it may be asked.
    pub process_id: Option<ProcessId>,
    /// The name of process 1 in its process namespace, where it is another process and may be asked.
    pub first_process: Option<String>,
    /// An option on its command line that only a set-up server has.
    pub set_up_option: Option<String>,
    pub uptime: Duration,
    /// Where the server counts connections from its start: a lower number is another server's.
    pub connection: Option<u32>,
    /// The version that it reports when somebody logs in, such as `17.2`.
    pub version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the server said of itself, to whoever got in.
    pub server: Option<Answer>,
    /// Whether the tests' user got in.
    pub login: Result<(), Refusal>,
}

/// Makes attempts at one target, and remembers what worked.
#[derive(Debug, Clone)]
pub struct Prober {
    target: Target,
    over_tls: bool,
    /// Whether this server is known to have no TLS. Asking costs a connection that is dropped half-way, which
    /// MySQL counts against the client's host.
    has_no_tls: bool,
    /// Which of the host's addresses answered last.
    answered: Option<IpAddr>,
}

impl Prober {
    pub fn new(target: Target) -> Self {
        Self { over_tls: target.tls == Tls::Always, has_no_tls: false, answered: None, target }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn is_over_tls(&self) -> bool {
        self.over_tls
    }

    /// A login as the tests' user, and who the server is, from the administrator where the user may not see.
    pub async fn attempt(&mut self) -> Outcome {
        let (login, admin) = (self.target.login.clone(), self.target.admin.clone());
        let mut server = None;
        // The administrator first: what proves the final server means that the later login meets it as well.
        if let Some(admin) = admin.filter(|admin| admin.user != login.user) {
            match self.log_in(&self.without_database(&admin)).await {
                Ok(answer) => server = Some(answer),
                Err(refusal) if refusal.kind.may_be_for_ever() => {}
                // Nobody gets in: no reason to knock again at once.
                Err(refusal) => return Outcome { server, login: Err(refusal) },
            }
        }
        let refusal = match self.log_in(&login).await {
            Ok(answer) => {
                let known = server.filter(|server: &Answer| server.process_id.is_some());
                return Outcome { server: known.or(Some(answer)), login: Ok(()) };
            }
            Err(refusal) => refusal,
        };
        if server.is_none() && refusal.is_about_database() {
            match self.log_in(&self.without_database(&login)).await {
                Ok(answer) => server = Some(answer),
                Err(newer) if newer.kind.means_gone() => return Outcome { server, login: Err(newer) },
                Err(_) => {}
            }
        }
        Outcome { server, login: Err(refusal) }
    }

    /// The same user where there is always something to log in to.
    fn without_database(&self, login: &Login) -> Login {
        let database = (self.target.engine == Engine::Postgres).then(|| "postgres".to_owned());
        Login { database, ..login.clone() }
    }

    /// Logs in the way that worked last, or, where TLS or its lack may be the reason of a refusal, the other.
    async fn log_in(&mut self, login: &Login) -> Result<Answer, Refusal> {
        let refusal = match self.ask(login, self.over_tls).await {
            Err(refusal) if refusal.kind.may_be_for_ever() => refusal,
            outcome => {
                // Whoever comes after a server that went away may be another one.
                self.has_no_tls &= outcome.is_ok();
                return outcome;
            }
        };
        if self.target.tls != Tls::AsNeeded || self.has_no_tls {
            return Err(refusal);
        }
        match self.ask(login, !self.over_tls).await {
            Ok(answer) => {
                self.over_tls = !self.over_tls;
                Ok(answer)
            }
            Err(other) if other.kind == Kind::NoTls => {
                self.has_no_tls = true;
                Err(refusal)
            }
            // By now there is nobody there who could mean what was said before.
            Err(newer) if newer.kind.means_gone() => Err(newer),
            // The server wants it this way, and has more to say.
            Err(other)
                if matches!(refusal.kind, Kind::Unfit | Kind::Reveals)
                    && other.code.is_some()
                    && other.kind.may_be_for_ever() =>
            {
                Err(other)
            }
            Err(_) => Err(refusal),
        }
    }

    /// Asks at the host's addresses in turn until somebody is there.
    async fn ask(&mut self, login: &Login, over_tls: bool) -> Result<Answer, Refusal> {
        let Target { host, port, way, .. } = &self.target;
        if let Some(way) = way {
            return self.ask_by(&Way::Dialled(way.clone()), self.target.may_reveal, login, over_tls).await;
        }
        let mut refusals = Vec::new();
        for address in address::addresses(host, *port, self.answered, LOGIN).await? {
            let may_reveal = self.target.may_reveal || address.is_loopback();
            match self
                .ask_by(&Way::Address(SocketAddr::new(address, *port)), may_reveal, login, over_tls)
                .await
            {
                Err(refusal) if refusal.kind.means_gone() => refusals.push(refusal),
                outcome => {
                    self.answered = Some(address);
                    return outcome;
                }
            }
        }
        Err(address::worst(refusals))
    }

    async fn ask_by(
        &self,
        way: &Way,
        may_reveal: bool,
        login: &Login,
        over_tls: bool,
    ) -> Result<Answer, Refusal> {
        let target = &self.target;
        let protocol = match target.engine {
            Engine::Mysql | Engine::Mariadb => Protocol::Mysql,
            Engine::Postgres => Protocol::Postgres,
            Engine::Sqlite => return Err(Refusal::unfit("sqlite has no server")),
        };
        let password = login.password.reveal().len();
        let rules = Rules { protocol, may_reveal, password, lasts: false };
        let work = relay::through(way, rules, async |port| {
            let answer = bug::apart(async {
                match protocol {
                    Protocol::Mysql => mysql::ask(target, port, login, over_tls).await,
                    Protocol::Postgres => postgres::ask(target, port, login, over_tls).await,
                }
            });
            answer.await.unwrap_or_else(|place| {
                let what = format!("testbed cannot read the server's answer, such as a login plugin that it does not know ({place})");
                Err(Refusal::unfit(what))
            })
        });
        match timeout(LOGIN, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::plain(
                Kind::Silent,
                format!("connected, and no answer within {} s", LOGIN.as_secs()),
            )),
        }
    }
}
