//! Random histories of a container, its log and its servers: ready is never said before the evidence stands,
//! and always after it.

use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);

/// Something that happens, or is observed.
#[derive(Debug, Clone)]
enum Event {
    ContainerStops,
    ContainerStarts,
    SetUpServerStarts,
    FinalServerStarts,
    ServerStops,
    LogIsRead,
    /// Somebody else writes a 1 to the server's pid file, after the server has told what it says.
    FileIsForged,
    Attempt(Login),
}

/// What the server can be asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tells {
    Nothing,
    /// Its process id.
    Own,
    /// Its pid file.
    File,
}

/// How the server takes the tests' login.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Login {
    Taken,
    Denied,
    TooMany,
}

/// A server of the true world, which the machine under test only sees through observations.
#[derive(Debug, Clone, Copy)]
struct Server {
    is_final: bool,
    started: Instant,
}

struct World {
    now: Instant,
    tells: Tells,
    file: u32,
    container: Option<u32>,
    containers: u32,
    server: Option<Server>,
    log: Log,
    log_read: Log,
    readiness: Readiness,
    /// Attempts of the running container: when, at which server, and whether the login was taken.
    attempts: Vec<(Instant, Option<Server>, bool)>,
}

impl World {
    fn new(settle: Settle, tells: Tells) -> Self {
        let now = Instant::now() + Duration::from_secs(1_000_000);
        let readiness = Readiness::new(settle, now);
        Self {
            now,
            tells,
            file: 0,
            container: None,
            containers: 0,
            server: None,
            log: Log::Unread,
            log_read: Log::Unread,
            readiness,
            attempts: Vec::new(),
        }
    }

    fn look(&mut self) {
        let container =
            self.container.map_or(Container::Waiting("none".into()), |id| Container::Running(id.to_string()));
        self.readiness.outside(self.now, &Outside { container, log: self.log_read });
    }

    fn container(&mut self, id: Option<u32>) {
        self.container = id;
        (self.server, self.log, self.log_read) = (None, Log::Unread, Log::Unread);
        self.attempts.clear();
        self.look();
    }

    fn happen(&mut self, event: &Event) -> Option<Verdict> {
        match event {
            Event::ContainerStops => self.container(None),
            Event::ContainerStarts => {
                self.containers += 1;
                self.container(Some(self.containers));
            }
            // A container sets itself up first, and never again.
            Event::SetUpServerStarts if self.container.is_some() && !matches!(self.log, Log::Final(_)) => {
                self.server = Some(Server { is_final: false, started: self.now });
                (self.log, self.file) = (Log::SettingUp, 47);
            }
            Event::FinalServerStarts
                if self.container.is_some() && self.server.is_none_or(|server| !server.is_final) =>
            {
                self.server = Some(Server { is_final: true, started: self.now });
                (self.log, self.file) = (Log::Final("done"), 1);
            }
            Event::ServerStops => self.server = None,
            Event::FileIsForged => {
                let met = self.attempts.last().and_then(|(_, server, _)| *server);
                if self.server.zip(met).is_some_and(|(server, met)| server.started == met.started) {
                    self.file = 1;
                }
            }
            Event::LogIsRead => {
                self.log_read = self.log;
                self.look();
            }
            Event::Attempt(login) if self.container.is_some() => return Some(self.attempt(*login)),
            _ => {}
        }
        None
    }

    fn attempt(&mut self, login: Login) -> Verdict {
        // Too many connections: nobody gets in to be told anything.
        let server = self.server.filter(|_| login != Login::TooMany);
        let answer = server.map(|server| Answer {
            process_id: match self.tells {
                Tells::Nothing => None,
                Tells::Own => Some(ProcessId::Own(if server.is_final { 1 } else { 47 })),
                Tells::File => Some(ProcessId::File(self.file)),
            },
            first_process: None,
            set_up_option: None,
            // Counted anew by each server.
            connection: Some((self.now - server.started).as_millis() as u32),
            uptime: self.now - server.started,
            version: None,
        });
        let outcome = match (answer, login) {
            (None, Login::TooMany) if self.server.is_some() => {
                Outcome { server: None, login: Err(Refusal::mysql(1040, "too many")) }
            }
            (None, _) => {
                Outcome { server: None, login: Err(Refusal::plain(Kind::Refused, "connection refused")) }
            }
            (answer, Login::Taken) => Outcome { server: answer, login: Ok(()) },
            (answer, _) => Outcome { server: answer, login: Err(Refusal::mysql(1045, "denied")) },
        };
        self.attempts.push((self.now, server, outcome.login.is_ok()));
        self.readiness.attempt(self.now, self.now, &outcome)
    }

    /// Whether one server took every login of the last window, as far as start times tell servers apart.
    fn has_settled(&self) -> bool {
        let Some(server) = self.server else { return false };
        let same = |other: &Option<Server>| other.is_some_and(|other| is_same(other.started, server.started));
        let unbroken: Vec<_> =
            self.attempts.iter().rev().take_while(|(_, other, taken)| *taken && same(other)).collect();
        unbroken.last().is_some_and(|(first, _, _)| self.now - *first >= WINDOW)
    }

    fn is_final(&self) -> bool {
        self.server.is_some_and(|server| server.is_final)
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::ContainerStops),
        2 => Just(Event::ContainerStarts),
        3 => Just(Event::SetUpServerStarts),
        3 => Just(Event::FinalServerStarts),
        2 => Just(Event::ServerStops),
        4 => Just(Event::LogIsRead),
        2 => Just(Event::FileIsForged),
        20 => Just(Event::Attempt(Login::Taken)),
        4 => Just(Event::Attempt(Login::Denied)),
        1 => Just(Event::Attempt(Login::TooMany)),
    ]
}

fn history() -> impl Strategy<Value = Vec<(u64, Event)>> {
    prop::collection::vec((0..2500_u64, event()), 0..80)
}

fn settle() -> impl Strategy<Value = Settle> {
    prop_oneof![Just(Settle::Never), Just(Settle::Untold(WINDOW)), Just(Settle::Any(WINDOW))]
}

fn tells() -> impl Strategy<Value = Tells> {
    prop_oneof![Just(Tells::Nothing), Just(Tells::Own), Just(Tells::File)]
}

proptest! {
    #[test]
    fn nothing_is_said_before_the_evidence(settle in settle(), tells in tells(), history in history()) {
        let mut world = World::new(settle, tells);
        for (pause, event) in &history {
            world.now += Duration::from_millis(*pause);
            match world.happen(event) {
                Some(Verdict::Ready(Evidence::Process1)) => prop_assert!(world.is_final() && tells == Tells::Own),
                Some(Verdict::Ready(Evidence::PidFile)) => prop_assert!(world.is_final() && tells == Tells::File),
                Some(Verdict::Ready(Evidence::Log(_))) => prop_assert!(world.is_final() && matches!(world.log_read, Log::Final(_))),
                Some(Verdict::Ready(Evidence::Settled(_))) => {
                    prop_assert!(world.has_settled());
                    prop_assert!(world.log_read == Log::Unread);
                    prop_assert!(matches!(settle, Settle::Any(_)) || (matches!(settle, Settle::Untold(_)) && tells == Tells::Nothing));
                }
                Some(Verdict::Never(_)) => prop_assert!(world.is_final() || matches!(settle, Settle::Any(_))),
                Some(Verdict::Waiting(_)) | None => {}
            }
        }
    }

    #[test]
    fn it_ends_once_the_evidence_stands(settle in settle(), tells in tells(), reads in any::<bool>(), history in history()) {
        let mut world = World::new(settle, tells);
        for (pause, event) in &history {
            world.now += Duration::from_millis(*pause);
            world.happen(event);
        }
        // Whatever was before: now the final server of a container is up, and stays.
        world.happen(&Event::ContainerStarts);
        world.happen(&Event::FinalServerStarts);
        if reads {
            world.happen(&Event::LogIsRead);
        }
        let timeout = match settle {
            _ if tells == Tells::Own || reads => Duration::ZERO,
            Settle::Never => return Ok(()),
            Settle::Untold(window) | Settle::Any(window) => window,
        };
        let end = world.now + timeout;
        while !matches!(world.attempt(Login::Taken), Verdict::Ready(_)) {
            prop_assert!(world.now < end);
            world.now += STEP;
        }
        if tells == Tells::Own || reads {
            let end = world.now + CONFIRMATION + STEP;
            while !matches!(world.attempt(Login::Denied), Verdict::Never(_)) {
                prop_assert!(world.now < end);
                world.now += STEP;
            }
        }
    }
}
