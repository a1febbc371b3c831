//! Workers that are processes of their own, each at databases of one pool, while testbed, its servers and the workers
//! themselves are killed at random moments and the seed changes from run to run: no database is ever for two of them,
//! no seed is an old one, and nothing is left.
//!
//! `make soak-local` goes on for minutes. `TESTBED_TEST_SEED` repeats what was chosen, as far as the machine does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Database, Local, Login, count, working_below};
use crate::integresql::{Client, database};
use crate::support::random::Random;
use crate::victims::Left;

/// What tells a worker its number and what it expects; how the test is called that is one.
const WORKER: &str = "TESTBED_TEST_POOL_WORKER";
/// The folder of the round.
const ROUND: &str = "TESTBED_TEST_POOL_ROUND";
/// The seed of its random numbers.
const SEED: &str = "TESTBED_TEST_POOL_SEED";
/// Which versions of the seed's file and of its command's input it has to find.
const VERSIONS: &str = "TESTBED_TEST_POOL_VERSIONS";

/// How many databases tests may have and not give back, and how many are kept ready beside them.
const SPARED: [(&str, usize); 2] = [("postgres", 64), ("mariadb", 16)];
const READY: usize = 4;
/// How long after something was killed an error may be for that.
const AFTER: Duration = Duration::from_secs(15);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(150);
/// How many rows the seed's file has.
const ROWS: usize = 20;

#[test]
fn workers_of_postgresql_share_nothing_and_see_no_stale_seed_whoever_is_killed() {
    soak("postgres", count("TESTBED_TEST_POOL_WORKERS", 64));
}

/// Each database is a server: so many at once are for `make soak-local`.
#[test]
fn workers_of_mariadb_share_nothing_and_see_no_stale_seed_whoever_is_killed() {
    soak("mariadb", count("TESTBED_TEST_POOL_WORKERS", 12));
}

fn soak(engine: &'static str, workers: usize) {
    let length = Duration::from_secs(count("TESTBED_TEST_POOL_SECONDS", 8).try_into().unwrap());
    let mut soak = Soak::new(engine, workers);
    let began = Instant::now();
    let each = (length / 4).clamp(Duration::from_secs(2), Duration::from_secs(15));
    for number in 0.. {
        let end = [End::Calm, End::Testbed, End::Server][number % 3];
        soak.round(number, end, each);
        if number >= 2 && began.elapsed() >= length {
            break;
        }
    }
    eprintln!("{engine}: {workers} workers in {:.0} s: {:?}", began.elapsed().as_secs_f64(), soak.tally);
    // However long it goes on, something has to have happened.
    let killed: Vec<&str> = soak.tally.killed.keys().copied().collect();
    assert!(
        soak.tally.handed > 0 && ["server", "testbed", "worker"].iter().all(|what| killed.contains(what))
    );
}

/// What comes in the middle of a round, and ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The workers have done enough.
    Calm,
    /// SIGKILL for testbed itself.
    Testbed,
    /// SIGKILL for the server of the run.
    Server,
}

#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    handed: usize,
    outcomes: BTreeMap<String, usize>,
    killed: BTreeMap<&'static str, usize>,
    longest_wait: Duration,
}

struct Soak {
    local: Rc<Local>,
    engine: &'static str,
    workers: usize,
    random: Random,
    /// Of the seed's file and of its command's input.
    versions: [usize; 2],
    newest: usize,
    tally: Tally,
    /// How long a run takes until a worker has a database.
    beginning: Duration,
}

impl Soak {
    fn new(engine: &'static str, workers: usize) -> Self {
        let local = Local::with_cold_cache();
        let (arguments, client) = match engine {
            "postgres" => ("    args: [-c, max_connections=250]\n", "psql -qXv ON_ERROR_STOP=1 -f input.sql"),
            _ => ("", "mariadb test < input.sql"),
        };
        let settings = format!(
            "pool: {READY}\ndatabases:\n  orders:\n    use: {engine}\n{arguments}    seed:\n      files: schema.sql\n      \
             run: {client}\n      inputs: input.sql\n"
        );
        local.file("testbed.yaml", &settings);
        Self {
            local: Rc::new(local),
            engine,
            workers,
            random: Random::new(),
            versions: [0, 0],
            newest: 0,
            tally: Tally::default(),
            beginning: Duration::from_secs(1),
        }
    }

    /// The seed is another one than in the round before: a new one, or one that there was earlier.
    fn change_seed(&mut self) {
        let before = self.versions;
        while self.versions == before {
            let which = self.random.number(2);
            let is_new = self.newest < 2 || self.random.number(3) > 0;
            self.newest += usize::from(is_new);
            self.versions[which] = if is_new { self.newest } else { 1 + self.random.number(self.newest) };
        }
        let [file, input] = self.versions;
        let rows: Vec<String> = lines(file, input).iter().map(|line| format!("('{line}')")).collect();
        let (of_input, of_file) = rows.split_first().unwrap();
        let schema = format!(
            "CREATE TABLE seed (line varchar(80) PRIMARY KEY);\nINSERT INTO seed VALUES {};\n\
             CREATE TABLE marks (one int PRIMARY KEY, who varchar(80) NOT NULL);\n",
            of_file.join(", ")
        );
        self.local.file("schema.sql", &schema);
        self.local.file("input.sql", &format!("INSERT INTO seed VALUES {of_input};\n"));
    }

    fn round(&mut self, number: usize, end: End, each: Duration) {
        self.change_seed();
        let mut round = Round::start(self, number);
        let began = Instant::now();
        match end {
            End::Testbed => {
                // From the seed's making on.
                let moment = self.random.below(self.beginning * 2 + each);
                self.disturb(&mut round, began + moment);
                self.kill_testbed(round);
            }
            End::Calm => {
                round.until_handed(1);
                self.beginning = began.elapsed();
                self.disturb(&mut round, Instant::now() + each);
                self.settle(round, false);
            }
            End::Server => {
                round.until_handed(1);
                let moment = self.random.below(each);
                self.disturb(&mut round, Instant::now() + moment);
                self.kill_server(round);
            }
        }
        self.tally.rounds += 1;
    }

    /// Kills workers, and sometimes what serves them, until then.
    fn disturb(&mut self, round: &mut Round, until: Instant) {
        let mut pause = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
        loop {
            let next = Instant::now() + self.random.below(pause);
            pause = Duration::from_millis(1500);
            // The moment is what is tested; nothing is waited for.
            std::thread::sleep(next.min(until).saturating_duration_since(Instant::now()));
            if next >= until {
                return;
            }
            // A seed that is being made is another matter, and what testbed does then is told.
            if round.handed() == 0 {
                continue;
            }
            let (what, victims) = match self.random.number(5) {
                0 if self.tally.killed.contains_key("worker") => ("server process", round.server_processes()),
                _ => ("worker", round.workers()),
            };
            if victims.is_empty() {
                continue;
            }
            let victim = *self.random.one(&victims);
            if what != "worker" {
                round.announce("crash");
            }
            if kill(victim) {
                *self.tally.killed.entry(what).or_default() += 1;
                let unknown = if what == "worker" { 1 } else { self.workers };
                round.unknown += unknown;
            }
        }
    }

    /// The workers end, and then the run.
    fn settle(&mut self, mut round: Round, has_lost_server: bool) {
        round.announce("stop");
        round.until("the workers have ended", |round| round.has("ended").then_some(()));
        // What a killed worker had comes back.
        if !has_lost_server {
            let spared = SPARED.iter().find(|(engine, _)| *engine == self.engine).unwrap().1;
            let spared = spared + READY + round.unknown;
            round.until("the databases of killed workers are taken back", |round| {
                (round.databases() <= spared).then_some(())
            });
        }
        round.announce("go");
        let status = round.until_it_ends();
        round.take_in(&mut self.tally);
        assert!(status.success(), "{status}: {}", round.said());
        let is_told = round.said().contains("orders ended by itself while the command ran");
        assert_eq!(is_told, has_lost_server, "{}", round.said());
        round.assert_nothing_left();
    }

    fn kill_testbed(&mut self, mut round: Round) {
        round.announce("testbed");
        round.look();
        *self.tally.killed.entry("testbed").or_default() += usize::from(kill(round.run.id()));
        round.until_it_ends();
        round.look();
        let next = *self.random.one(&["status", "gc"]);
        let called = self.local.call(&[next]).ok();
        round.take_in(&mut self.tally);
        if round.has_record {
            let told = format!("removed run {}: the testbed that worked on it was killed", round.id);
            let _ = called.says(&told);
        }
        round.assert_nothing_left();
    }

    fn kill_server(&mut self, mut round: Round) {
        let server = round.server();
        round.look();
        // Without PostgreSQL there is nothing to go on with; MariaDB's copies have servers of their own.
        let is_end = self.engine == "postgres";
        round.announce(if is_end { "server" } else { "crash" });
        assert!(kill(server), "the server has ended before: {}", round.said());
        *self.tally.killed.entry("server").or_default() += 1;
        if !is_end {
            round.until_handed(round.handed() + 2 * self.workers);
        }
        self.settle(round, true);
    }
}

/// The rows of a seed, in their order.
fn lines(file: usize, input: usize) -> Vec<String> {
    let of_file = (0..ROWS).map(|row| format!("of the file, version {file}, row {row:02}"));
    std::iter::once(format!("of the command, version {input}")).chain(of_file).collect()
}

fn kill(pid: u32) -> bool {
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    killed.expect("kill").success()
}

/// A run with its workers, and the folder in which they tell each other what they do.
struct Round {
    local: Rc<Local>,
    folder: PathBuf,
    id: String,
    run: Child,
    /// How many databases may stay of which nobody knows whether somebody has been logged in: what a worker had that
    /// was killed before that, and what PostgreSQL had noted nowhere but in memory.
    unknown: usize,
    left: Option<Left>,
    /// Whether a testbed that was killed had noted the run.
    has_record: bool,
}

impl Round {
    fn start(soak: &mut Soak, number: usize) -> Self {
        let (local, id) = (Rc::clone(&soak.local), format!("round-{number}"));
        let folder = local.path().join(&id);
        for name in ["claims", "back", "got"] {
            std::fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        // One that is killed is followed by another; one that has found a mistake is not.
        let workers = format!(
            "for number in $(seq {}); do (\n\
                until {WORKER}=$number {} --exact soak::one_worker --ignored --nocapture; do\n\
                    [ $? -eq 137 ] || {{ echo $number >> {id}/failed; break; }}\n\
                done\n\
             ) & done\n\
             wait\n: > {id}/ended\nuntil [ -e {id}/go ]; do sleep 0.02; done\n[ ! -e {id}/failed ]",
            soak.workers,
            own_program().display(),
        );
        let args = ["run", "--run-id", &id, "--output", &format!("{id}.json"), "--", "sh", "-c", &workers];
        let said = File::create(folder.join("said")).expect("a file");
        let mut command = local.command(&args);
        command.stdin(Stdio::null()).stdout(said.try_clone().expect("a file")).stderr(said);
        let [file, input] = soak.versions;
        command.env(ROUND, &folder).env(VERSIONS, format!("{file} {input}"));
        command.env(SEED, soak.random.number(1 << 30).to_string());
        let run = command.spawn().expect("testbed starts");
        Self { local, folder, id, run, unknown: 0, left: None, has_record: false }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// Before it happens, so that a worker knows whether an error is a mistake.
    fn announce(&self, what: &str) {
        File::create(self.folder.join(what)).expect("a file");
    }

    /// What workers have noted of the databases that they got: what became of it, and how long they waited.
    fn notes(&self) -> Vec<(String, Duration)> {
        let files = std::fs::read_dir(self.folder.join("got")).expect("the folder").flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        let notes = texts.flat_map(|text| {
            let read = |line: &str| {
                let (what, waited) = line.rsplit_once(' ')?;
                Some((what.to_owned(), Duration::from_millis(waited.parse().ok()?)))
            };
            text.lines().filter_map(read).collect::<Vec<_>>()
        });
        notes.collect()
    }

    fn handed(&self) -> usize {
        std::fs::read_dir(self.folder.join("claims")).expect("the folder").count()
    }

    /// Repeats a look until it shows something, for as long as a pool of many servers may take on a busy machine.
    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(Instant::now() < deadline, "it never came to this: {what}: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_handed(&mut self, number: usize) {
        self.until("databases are handed out", |round| {
            let has_ended = round.run.try_wait().expect("the run").is_some();
            assert!(!has_ended, "no database is handed out: {}", round.said());
            (round.handed() >= number).then_some(())
        });
    }

    /// The processes that are workers.
    fn workers(&self) -> Vec<u32> {
        let program = own_program();
        let is_worker =
            |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
        working_below(self.local.path()).into_iter().map(|(pid, _)| pid).filter(is_worker).collect()
    }

    /// The run's server.
    fn server(&self) -> u32 {
        let record = self.local.record(&self.id).expect("a record");
        let pid = record["place"]["local"]["servers"][0]["process"]["pid"].as_u64();
        pid.and_then(|pid| pid.try_into().ok()).unwrap_or_else(|| panic!("no server in {record}"))
    }

    /// PostgreSQL's processes besides the first, or the servers of MariaDB's copies.
    fn server_processes(&self) -> Vec<u32> {
        let server = self.server();
        let data = std::fs::read_link(format!("/proc/{server}/cwd")).unwrap_or_default();
        let is_part = |at: &Path| at == data || at.to_string_lossy().contains("/pool/");
        let found = working_below(self.local.path()).into_iter();
        found.filter(|(pid, at)| *pid != server && is_part(at)).map(|(pid, _)| pid).collect()
    }

    /// How many databases of tests there are.
    fn databases(&self) -> usize {
        let run = &self.local.databases(&format!("{}.json", self.id))[0];
        if run.driver == "postgres" {
            return run
                .value("SELECT count(*)::text FROM pg_database WHERE datname LIKE 'testbed_pool_%_test_%'")
                .parse()
                .unwrap();
        }
        self.server_processes().len()
    }

    /// Notes what is there, before it goes.
    fn look(&mut self) {
        self.left = Some(Left::by(&self.local, &self.id));
        self.has_record = self.local.record(&self.id).is_some();
    }

    fn until_it_ends(&mut self) -> ExitStatus {
        self.until("the run ends", |round| round.run.try_wait().expect("the run"))
    }

    fn take_in(&self, tally: &mut Tally) {
        assert!(!self.has("failed"), "a worker has found a mistake: {}", self.said());
        for (what, waited) in self.notes() {
            tally.longest_wait = tally.longest_wait.max(waited);
            tally.handed += 1;
            *tally.outcomes.entry(what).or_default() += 1;
        }
    }

    fn assert_nothing_left(&self) {
        self.local.assert_nothing_left();
        self.left.iter().for_each(|left| left.assert_gone(&self.local, &self.id));
    }
}

impl Drop for Round {
    /// For one that has failed.
    fn drop(&mut self) {
        let _ = self.run.kill();
        let _ = self.run.wait();
    }
}

fn own_program() -> PathBuf {
    std::env::current_exe().expect("this program")
}

/// Why a test could not go on.
struct Lost(String);

impl From<String> for Lost {
    fn from(what: String) -> Self {
        Self(what)
    }
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

struct Worker {
    name: String,
    folder: PathBuf,
    url: String,
    client: Option<Client>,
    is_postgres: bool,
    expected: Vec<String>,
    random: Random,
    tests: usize,
}

#[test]
#[ignore = "one of the workers that the tests here start"]
fn one_worker() {
    let read = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    if std::env::var(WORKER).is_err() {
        return;
    }
    let (number, seed): (u64, u64) = (read(WORKER).parse().unwrap(), read(SEED).parse().unwrap());
    let versions: Vec<usize> = read(VERSIONS).split(' ').map(|text| text.parse().unwrap()).collect();
    let worker = Worker {
        name: format!("{number}-{}", std::process::id()),
        folder: read(ROUND).into(),
        url: read("INTEGRESQL_CLIENT_BASE_URL"),
        client: None,
        is_postgres: std::env::var_os("PGHOST").is_some(),
        expected: lines(versions[0], versions[1]),
        random: Random::of(seed ^ number << 32 ^ u64::from(std::process::id())),
        tests: 0,
    };
    worker.work();
}

impl Worker {
    fn work(mut self) {
        while !self.is_announced("stop") {
            let Err(Lost(why)) = self.one_test() else { continue };
            self.client = None;
            if self.is_announced("testbed") {
                // Whoever comes next ends this process.
                std::thread::sleep(Duration::from_mins(5));
                panic!("nobody has ended {}", self.name);
            }
            if self.is_announced("server") {
                return;
            }
            let since = std::fs::metadata(self.folder.join("crash")).and_then(|crash| crash.modified());
            let is_for_that = since.is_ok_and(|since| since.elapsed().is_ok_and(|since| since < AFTER));
            assert!(is_for_that, "{}: {why}", self.name);
        }
    }

    fn is_announced(&self, what: &str) -> bool {
        self.folder.join(what).exists()
    }

    fn ask(&mut self, method: &str, path: &str) -> Result<(u16, Value), Lost> {
        if self.client.is_none() {
            self.client = Some(Client::connect(&self.url)?);
        }
        let path = format!("/templates/testbed/tests{path}");
        Ok(self.client.as_mut().expect("a client").try_ask(method, &path)?)
    }

    fn one_test(&mut self) -> Result<(), Lost> {
        let began = Instant::now();
        let (status, answer) = self.ask("GET", "")?;
        let waited = began.elapsed();
        if status == 503 {
            let told = answer["message"].as_str().unwrap_or_default();
            // A server of PostgreSQL's that comes back is waited for; MariaDB's copies are made by what was killed.
            let is_told =
                self.is_announced("server") && told.starts_with("orders takes no logins any more: ");
            assert!(!self.is_postgres || is_told, "{}: {told}", self.name);
            return Err(Lost(answer.to_string()));
        }
        assert_eq!(status, 200, "{answer}");
        let id = answer["id"].as_u64().expect("a number");
        // Whoever has a database has this file, until it gives it back unchanged.
        let claim = self.folder.join("claims").join(id.to_string());
        if let Err(error) = File::create_new(&claim) {
            panic!("{}: {id} is somebody else's, or was changed: {error}", self.name);
        }
        self.tests += 1;
        let outcome = self.test(&database(&answer), id, &claim);
        self.note(outcome.as_ref().map_or("cut short", |what| what), waited);
        if outcome.is_err() {
            self.client = None;
            // As a test's own clean-up does.
            self.ask("POST", &format!("/{id}/recreate"))?;
        }
        outcome.map(drop)
    }

    /// What a test does with its database, and how that ends.
    fn test(&mut self, database: &Database, id: u64, claim: &Path) -> Result<&'static str, Lost> {
        let mut login = database.log_in()?;
        self.assert_fresh(&mut login, id)?;
        let how = self.random.number(10);
        if how < 3 {
            self.hold();
            self.assert_fresh(&mut login, id)?;
            login.log_out()?;
            File::create(self.back(id)).expect("a file");
            std::fs::remove_file(claim).expect("the claim");
            self.give_back(id, "unlock")?;
            return Ok("unlocked");
        }
        let who = format!("{}, test {}", self.name, self.tests);
        // Fails where somebody else has marked it.
        let mark = format!("INSERT INTO marks VALUES (1, '{who}')");
        // PostgreSQL may lose what was committed in the moment before it is killed, and this is not about that.
        let mark = if login.is_postgres() { format!("SET synchronous_commit = on; {mark}") } else { mark };
        if let Err(error) = login.query(&mark) {
            assert!(!error.to_lowercase().contains("duplicate"), "{who}: {id}: {error}");
            return Err(Lost(error));
        }
        login.query("DELETE FROM seed WHERE line LIKE '%row 1%'")?;
        self.hold();
        self.assert_own(&mut login, id, &who)?;
        // Of one that somebody else has had, nobody could soon know that a test is over.
        if how < 5 && !self.back(id).exists() {
            login.log_out()?;
            return Ok("kept");
        }
        if how < 6 {
            // Without a word to the server.
            self.give_back(id, "recreate")?;
            drop(login);
        } else {
            login.log_out()?;
            self.give_back(id, "recreate")?;
        }
        if how < 7 {
            self.hold();
            // One that comes late finds its own database or none, or loses it: it may be removed just now.
            if let Ok(mut late) = database.log_in() {
                match late.query("SELECT who FROM marks") {
                    Ok(marks) => assert_eq!(marks, [who], "{}: {id} is somebody else's", self.name),
                    Err(error) => assert!(!error.contains("exist"), "{}: {id}: {error}", self.name),
                }
            }
        }
        Ok("recreated")
    }

    /// The file of a database that was given back unchanged.
    fn back(&self, id: u64) -> PathBuf {
        self.folder.join("back").join(id.to_string())
    }

    fn hold(&mut self) {
        // What a test takes.
        std::thread::sleep(self.random.below(Duration::from_millis(200)));
    }

    fn give_back(&mut self, id: u64, how: &str) -> Result<(), Lost> {
        let (status, answer) = self.ask("POST", &format!("/{id}/{how}"))?;
        assert_eq!(status, 204, "{how} of {id}: {answer}");
        Ok(())
    }

    fn assert_fresh(&self, login: &mut Login, id: u64) -> Result<(), Lost> {
        let rows = login.query("SELECT line FROM seed ORDER BY line")?;
        assert_eq!(rows, self.expected, "{}: {id} is not what the seed is now", self.name);
        let marks = login.query("SELECT who FROM marks")?;
        assert!(marks.is_empty(), "{}: {id} is also {marks:?}'s", self.name);
        Ok(())
    }

    fn assert_own(&self, login: &mut Login, id: u64, who: &str) -> Result<(), Lost> {
        let marks = login.query("SELECT who FROM marks")?;
        assert_eq!(marks, [who], "{}: {id} is somebody else's", self.name);
        Ok(())
    }

    fn note(&self, what: &str, waited: Duration) {
        let path = self.folder.join("got").join(&self.name);
        let file = File::options().create(true).append(true).open(path);
        let line = format!("{what} {}\n", waited.as_millis());
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("a note");
    }
}
