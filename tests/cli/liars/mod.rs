//! A full table of lies: each protocol, each place of a conversation, each kind of lie. `make soak` goes
//! through all of it and changes honest answers at random besides, `make test` takes a sample.
//!
//! Every server is honest up to the lie. A failure shows the seed; `TESTBED_TEST_SEED` repeats the random
//! part.

pub mod mysql;
pub mod postgres;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::random::Random;
use crate::support::{Folder, count};

/// How many calls wait at a time: nearly all of them do nothing else.
const AT_ONCE: usize = 32;
/// How many cases of the table `make test` takes.
const SAMPLE: usize = 60;
/// What a table without random changes has at least.
const WHOLE: usize = 300;

/// What is asked of a lying server.
#[derive(Debug, Clone, Copy)]
struct Question {
    name: &'static str,
    speaks: Protocol,
    args: &'static [&'static str],
    is_history: bool,
    /// The places before this one are those of the question before.
    from: usize,
    /// Those from this one on are like those before.
    until: usize,
    /// What the program may have for its data, in bytes.
    memory: u64,
    /// From the start to the end, on a busy machine.
    limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Mysql,
    Postgres,
}

const WAIT: Question = Question {
    name: "wait postgres",
    speaks: Protocol::Postgres,
    args: &["wait", "--timeout", "2s", "--settle", "200ms"],
    is_history: false,
    from: 0,
    until: usize::MAX,
    memory: 64 << 20,
    limit: Duration::from_secs(8),
};

/// One that does not answer is given up after a minute.
const LIST: Question = Question {
    name: "history list",
    args: &["history", "list"],
    is_history: true,
    memory: 256 << 20,
    limit: Duration::from_secs(75),
    ..WAIT
};

/// Login and versions are the same for all.
const OPENED: usize = 4;

const QUESTIONS: [Question; 8] = [
    WAIT,
    Question { name: "wait mysql", speaks: Protocol::Mysql, ..WAIT },
    LIST,
    Question { name: "history show", args: &["history", "show", "run-1"], from: OPENED, ..LIST },
    Question { name: "history logs", args: &["history", "logs", "run-1"], from: OPENED, ..LIST },
    Question { name: "history report", args: &["history", "report"], from: OPENED, ..LIST },
    Question { name: "history prune", args: &["history", "prune", "--keep", "0"], from: OPENED, ..LIST },
    // Whatever becomes of its story, the run is the command's.
    Question {
        name: "run",
        args: &[
            "run",
            "--runtime",
            "local",
            "--with",
            "sqlite",
            "--run-id",
            "r",
            "--archive-timeout",
            "2s",
            "--",
            "true",
        ],
        from: OPENED,
        // A record is written, and changed.
        until: 18,
        limit: Duration::from_secs(20),
        ..LIST
    },
];

/// A kind of lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lie {
    /// None: what the others are compared with.
    Honest,
    Silent,
    Closes,
    Skips,
    CutOff,
    CutOffAndSilent,
    Reversed,
    Twice,
    /// Says one of its messages for ever.
    EndlessFirst,
    EndlessLast,
    EndlessAll,
    Empty,
    Zeros,
    Ones,
    AnotherProtocol,
    /// A length of the message, and then what there is of it.
    NoLength,
    HugeLength,
    HugeMessage,
    WithoutFirst,
    WithoutLast,
    /// What only this protocol has, by its number.
    Own(usize),
    Random(u64),
}

const KINDS: [Lie; 19] = [
    Lie::Silent,
    Lie::Closes,
    Lie::Skips,
    Lie::CutOff,
    Lie::CutOffAndSilent,
    Lie::Reversed,
    Lie::Twice,
    Lie::EndlessFirst,
    Lie::EndlessLast,
    Lie::EndlessAll,
    Lie::Empty,
    Lie::Zeros,
    Lie::Ones,
    Lie::AnotherProtocol,
    Lie::NoLength,
    Lie::HugeLength,
    Lie::HugeMessage,
    Lie::WithoutFirst,
    Lie::WithoutLast,
];

impl Lie {
    /// Whether the program cannot but wait for more.
    fn keeps_waiting(self) -> bool {
        matches!(
            self,
            Self::Silent
                | Self::Skips
                | Self::CutOffAndSilent
                | Self::Empty
                | Self::WithoutLast
                | Self::Reversed
                | Self::Random(_)
        )
    }
}

/// What is said instead, and what follows.
struct Said {
    bytes: Vec<u8>,
    then: Then,
}

enum Then {
    GoesOn,
    Closes,
    IsSilent,
    /// For ever.
    Repeats(Vec<u8>),
}

impl Said {
    fn going_on(bytes: Vec<u8>) -> Self {
        Self { bytes, then: Then::GoesOn }
    }

    /// What a lie makes of an honest answer.
    fn instead_of(honest: &[Vec<u8>], lie: Lie, protocol: Protocol) -> Self {
        let all = honest.concat();
        let half = all[..all.len() / 2].to_vec();
        let silent = |bytes| Self { bytes, then: Then::IsSilent };
        let repeats = |bytes, again: Vec<u8>| Self {
            bytes,
            then: if again.is_empty() { Then::GoesOn } else { Then::Repeats(again) },
        };
        let (first, last) =
            (honest.first().cloned().unwrap_or_default(), honest.last().cloned().unwrap_or_default());
        match lie {
            Lie::Honest => Self::going_on(all),
            Lie::Silent => silent(Vec::new()),
            Lie::Closes => Self { bytes: Vec::new(), then: Then::Closes },
            Lie::Skips => Self::going_on(Vec::new()),
            Lie::CutOff => Self { bytes: half, then: Then::Closes },
            Lie::CutOffAndSilent => silent(half),
            Lie::Reversed => Self::going_on(honest.iter().rev().flatten().copied().collect()),
            Lie::Twice => Self::going_on(all.repeat(2)),
            Lie::EndlessFirst => repeats(Vec::new(), first),
            // Up to it all is well.
            Lie::EndlessLast => repeats(all, last),
            Lie::EndlessAll => repeats(Vec::new(), all),
            Lie::Empty => Self::going_on(protocol.message(b'D', &[])),
            Lie::Zeros => repeats(Vec::new(), vec![0; 4096]),
            Lie::Ones => repeats(Vec::new(), vec![0xff; 4096]),
            Lie::AnotherProtocol => repeats(Vec::new(), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            Lie::NoLength | Lie::HugeLength | Lie::HugeMessage => {
                let mut first = first;
                if !first.is_empty() {
                    protocol.claim(&mut first, if lie == Lie::NoLength { 0 } else { 0x7fff_ffff });
                }
                if lie == Lie::HugeMessage { repeats(first, vec![b'x'; 1 << 16]) } else { silent(first) }
            }
            Lie::WithoutFirst => Self::going_on(honest.iter().skip(1).flatten().copied().collect()),
            Lie::WithoutLast => Self::going_on(honest[..honest.len().saturating_sub(1)].concat()),
            Lie::Own(number) => match protocol {
                Protocol::Mysql => mysql::OWN[number].1(honest),
                Protocol::Postgres => postgres::OWN[number].1(honest),
            },
            Lie::Random(seed) => Self::going_on(changed(all, &mut Random::of(seed))),
        }
    }
}

/// The same with some bytes changed, left out, or put in.
fn changed(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.number(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.number(bytes.len());
        let end = (at + 1 + random.number(8)).min(bytes.len());
        match random.number(6) {
            0 => bytes[at] ^= 1 << random.number(8),
            1 => bytes[at] = *random.one(&[0, 1, 0x7f, 0x80, 0xfb, 0xfe, 0xff]),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes[at..end].fill(random.number(256) as u8),
        }
    }
    bytes
}

impl Protocol {
    fn message(self, kind: u8, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Mysql => mysql::packet(1, body),
            Self::Postgres => postgres::message(kind, body),
        }
    }

    /// Claims another length.
    fn claim(self, message: &mut [u8], length: u32) {
        match self {
            Self::Mysql => message[..3].copy_from_slice(&length.to_le_bytes()[..3]),
            Self::Postgres => message[1..5].copy_from_slice(&length.to_be_bytes()),
        }
    }

    fn own(self) -> usize {
        match self {
            Self::Mysql => mysql::OWN.len(),
            Self::Postgres => postgres::OWN.len(),
        }
    }

    fn name(self, lie: Lie) -> String {
        match (self, lie) {
            (Self::Mysql, Lie::Own(number)) => mysql::OWN[number].0.to_owned(),
            (Self::Postgres, Lie::Own(number)) => postgres::OWN[number].0.to_owned(),
            (_, lie) => format!("{lie:?}"),
        }
    }
}

/// A connection that lies at one place.
struct Liar {
    stream: TcpStream,
    protocol: Protocol,
    place: Option<(usize, Lie)>,
    /// How many answers there were.
    answers: usize,
    most: Arc<AtomicUsize>,
}

/// The conversation is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Liar {
    /// Gives an answer, or lies.
    fn say(&mut self, honest: &[Vec<u8>]) -> Result<(), Over> {
        let place = self.answers;
        self.answers += 1;
        self.most.fetch_max(self.answers, Ordering::Relaxed);
        let lie = self.place.filter(|(at, _)| *at == place).map_or(Lie::Honest, |(_, lie)| lie);
        let said = Said::instead_of(honest, lie, self.protocol);
        self.stream.write_all(&said.bytes)?;
        match said.then {
            Then::GoesOn => return Ok(()),
            Then::Closes => {}
            Then::IsSilent => while self.stream.read(&mut [0; 4096])? > 0 {},
            Then::Repeats(again) => {
                let again = again.repeat((1 << 16) / again.len() + 1);
                loop {
                    self.stream.write_all(&again)?;
                }
            }
        }
        Err(Over)
    }

    fn read(&mut self, length: usize) -> Result<Vec<u8>, Over> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A server that lies at one place of each conversation, and how many answers a conversation with it has had.
fn server(protocol: Protocol, place: Option<(usize, Lie)>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let most = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&most);
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let liar = Liar { stream, protocol, place, answers: 0, most: Arc::clone(&told) };
            std::thread::spawn(move || {
                let _ = match protocol {
                    Protocol::Mysql => mysql::converse(liar),
                    Protocol::Postgres => postgres::converse(liar),
                };
            });
        }
    });
    (port, most)
}

/// What a call has come to.
struct Outcome {
    code: Option<i32>,
    took: Duration,
    said: String,
    /// Whether it has told the password.
    tells: bool,
    answers: usize,
}

fn ask(question: &Question, place: Option<(usize, Lie)>) -> Outcome {
    let (port, most) = server(question.speaks, place);
    let scheme = if question.speaks == Protocol::Mysql { "mysql" } else { "postgres" };
    let url = format!("{scheme}://app:sesame@127.0.0.1:{port}/shop");
    let folder = Folder::new();
    let (mut args, mut command) = (question.args.to_vec(), folder.command(&[]));
    if question.is_history {
        command.env("TESTBED_HISTORY", format!("{url}?connect_timeout=2"));
    } else {
        args.insert(1, &url);
    }
    command.args(&args);
    let begin = Instant::now();
    let started = crate::support::Started::new(&args, command);
    let limit = Rlimit { current: Some(question.memory), maximum: Some(question.memory) };
    // One that has ended has had no more.
    let _ = prlimit(Some(Pid::from_child(&started.child)), Resource::Data, limit);
    let called = started.wait();
    let took = begin.elapsed();
    let tells = [&called.stdout, &called.stderr].iter().any(|said| said.contains("sesame"));
    Outcome {
        code: called.code,
        took,
        said: called.transcript(),
        tells,
        answers: most.load(Ordering::Relaxed),
    }
}

/// What is wrong with an end, if anything is.
fn fault(question: &Question, outcome: &Outcome) -> Option<String> {
    let Outcome { code, took, said, tells, .. } = outcome;
    let errors = said.lines().filter(|line| line.starts_with("error:")).count();
    let what = match code {
        None => "it was ended by a signal".to_owned(),
        Some(code) if !(0..=4).contains(code) => format!("the exit code {code}"),
        Some(code) if errors != usize::from(*code != 0) => format!("{errors} errors"),
        _ if said.contains("this is a bug in testbed") || said.contains("panicked") => "a panic".to_owned(),
        _ if *tells => "the password is told".to_owned(),
        _ if *took > question.limit => format!("it took {took:?}"),
        _ => return None,
    };
    Some(format!("{what}\n{said}"))
}

/// All lies at each place that the honest conversation has.
fn table(changes: usize, random: &mut Random) -> Vec<(Question, usize, Lie)> {
    let mut table = Vec::new();
    for question in QUESTIONS {
        let honest = ask(&question, None);
        assert_eq!(honest.code, Some(0), "{}: {}", question.name, honest.said);
        assert!(honest.answers > question.from, "{} has {} places", question.name, honest.answers);
        let until = honest.answers.min(question.until);
        eprintln!("{}: places {} to {}", question.name, question.from, until - 1);
        for place in question.from..until {
            let own = (0..question.speaks.own()).map(Lie::Own);
            let at_random = (0..changes).map(|_| Lie::Random(random.number(1 << 52) as u64));
            table.extend(KINDS.into_iter().chain(own).chain(at_random).map(|lie| (question, place, lie)));
        }
    }
    table
}

#[test]
fn no_lie_makes_testbed_hang_crash_or_tell_a_secret() {
    let mut random = Random::new();
    let changes = std::env::var_os("TESTBED_TEST_LIES").map(|_| count("TESTBED_TEST_LIES", 0));
    let mut table = table(changes.unwrap_or(2), &mut random);
    assert!(table.len() > WHOLE, "{}", table.len());
    // Whoever wants space back waits ten minutes for it.
    table.retain(|(question, _, lie)| !(question.name == "history prune" && lie.keeps_waiting()));
    if changes.is_none() {
        // None that a store is waited for, which takes a minute.
        table.retain(|(question, _, lie)| !(question.is_history && lie.keeps_waiting()));
        table = (0..SAMPLE).map(|_| table.swap_remove(random.number(table.len()))).collect();
    }
    let cases = table.len();
    eprintln!("{cases} cases");
    // Those that take longest first.
    table.sort_by_key(|(question, _, lie)| (question.is_history && lie.keeps_waiting(), *lie));
    let (queue, faults, codes) =
        (Mutex::new(table), Mutex::new(Vec::new()), Mutex::new(BTreeMap::<_, usize>::new()));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((question, place, lie)) = queue.lock().unwrap().pop() else { break };
                    let outcome = ask(&question, Some((place, lie)));
                    *codes.lock().unwrap().entry((question.name, outcome.code)).or_default() += 1;
                    if let Some(fault) = fault(&question, &outcome) {
                        let name = question.speaks.name(lie);
                        eprintln!(
                            "{}, place {place}, {name}: {}",
                            question.name,
                            fault.lines().next().unwrap_or_default()
                        );
                        faults
                            .lock()
                            .unwrap()
                            .push(format!("{}, place {place}, {name}: {fault}", question.name));
                    }
                }
            });
        }
    });
    eprintln!("{cases} lies in {:?}: {:#?}", begin.elapsed(), codes.into_inner().unwrap());
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
