//! One turn: its processes are started, what the plan says is done to them, and their end is awaited.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::super::lone::LoneApiServer;
use super::log::{Entry, Log};
use super::plan::{Chance, Form, Hardship, Interruption, Outage, Plan, SHORT_TTL, stop};
use crate::support::{Folder, binary};

/// The lock's name.
pub const LOCK: &str = "db";
/// In the environment of every process of a test; its value is the test's folder.
pub const MARK: &str = "TESTBED_TEST_ATTACK";

/// What all turns have in common.
pub struct Arena<'a> {
    pub folder: &'a Folder,
    pub log: &'a Log,
    pub server: Option<&'a Mutex<LoneApiServer>>,
    /// The library that makes a clock be off.
    pub skew: PathBuf,
    pub heartbeat: Duration,
    /// Longer than anybody may have to wait.
    pub patience: Duration,
}

/// How a turn went.
#[derive(Debug, Clone)]
pub struct Turn {
    pub id: String,
    pub plan: Plan,
    /// From its start until it had the lock; nothing if it never had.
    pub waited: Option<Duration>,
    pub status: ExitStatus,
    pub outage: Option<Duration>,
}

impl Turn {
    /// What is wrong with its end.
    pub fn wrong(&self) -> Option<String> {
        let Self { id, plan, waited, status, .. } = self;
        let (end, lost) = ((status.code(), status.signal()), (Some(7), None));
        let expected = match (plan.hardship, plan.form) {
            // Nothing is known of it but that it has ended.
            (Some(Hardship::KillWaiting), _) => return None,
            // It may have been the holder already.
            (Some(Hardship::StopWaiting), Form::Run) if end == lost => return None,
            (None | Some(Hardship::StopWaiting), _) | (Some(Hardship::KillCommand), Form::Take) => {
                (Some(0), None)
            }
            (Some(Hardship::KillCommand), Form::Run) => (Some(137), None),
            (Some(Hardship::KillTestbed | Hardship::KillBoth), _) => (None, Some(9)),
            (Some(Hardship::Outage(Outage { is_long: false, .. })), _) => {
                (Some(if plan.is_stubborn { 137 } else { 143 }), None)
            }
            (Some(Hardship::StopTestbed | Hardship::StopBoth | Hardship::Outage(_)), _) => lost,
        };
        if waited.is_none() {
            return Some(format!("{id} never had the lock: {end:?}, {plan:?}"));
        }
        (end != expected).then(|| format!("{id} has ended with {end:?}, and not with {expected:?}: {plan:?}"))
    }
}

impl Arena<'_> {
    /// Takes a turn to its end.
    pub fn play(&self, id: &str, plan: Plan, chance: &mut Chance) -> Turn {
        // During an outage nobody begins: an API server that was never reached may be given up.
        drop(self.server.map(|server| server.lock().expect("no panic")));
        let start = Instant::now();
        let mut child = self.start(id, &plan);
        let mut outage = None;
        match plan.hardship {
            None => {}
            Some(hardship @ (Hardship::KillWaiting | Hardship::StopWaiting)) => {
                sleep(chance.part_of(Duration::from_millis(400)));
                self.log.disturb(id);
                let group = child.id();
                if hardship == Hardship::KillWaiting {
                    signal_group(group, Signal::KILL);
                } else {
                    self.stop(&[group]);
                }
            }
            Some(hardship) => {
                if let Some((entry, _)) = self.log.until_entered(id, self.patience, || has_ended(&mut child))
                {
                    sleep(chance.part_of(Duration::from_millis(40)));
                    self.log.disturb(id);
                    outage = self.harm(hardship, &entry, &mut child);
                }
            }
        }
        let entered = self.log.until_entered(id, self.patience, || has_ended(&mut child));
        let status = child.wait().expect("it ends");
        let waited = entered.or_else(|| self.log.find(id)).map(|(_, at)| at.saturating_duration_since(start));
        Turn { id: id.to_owned(), plan, waited, status, outage }
    }

    /// Whose parent dies is killed: a test that is killed leaves nobody.
    fn start(&self, id: &str, plan: &Plan) -> Child {
        let seconds = |time: Duration| format!("{}s", time.as_secs());
        let flags = [
            LOCK,
            "--run-id",
            id,
            "--heartbeat",
            &seconds(self.heartbeat),
            "--timeout",
            &seconds(self.patience),
        ]
        .map(ToOwned::to_owned);
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut holder = vec![
            "bash".to_owned(),
            path("holder.sh"),
            path("log"),
            path("pipe"),
            plan.hundredths.to_string(),
        ];
        let kinds = [("stubborn", plan.is_stubborn), ("helped", plan.is_helped)];
        holder.extend(kinds.into_iter().filter(|(_, is_so)| *is_so).map(|(kind, _)| kind.to_owned()));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        match plan.form {
            Form::Run => {
                command.arg(binary()).args(["lock", "run"]).args(flags).args(["--ttl", &seconds(plan.ttl())])
            }
            Form::Take => command
                .args([
                    "bash",
                    &path("taker.sh"),
                    binary(),
                    &path(&format!("{id}.fence")),
                    &seconds(plan.ttl()),
                ])
                .args(flags),
        };
        command
            .arg("--")
            .args(holder)
            .env_clear()
            .envs(self.folder.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env(MARK, self.folder.path()).env("TESTBED_RUN_ID", id).current_dir(self.folder.path());
        if plan.skew != 0 {
            command.env("LD_PRELOAD", &self.skew).env("SKEW_SECONDS", (plan.skew * 3_600).to_string());
        }
        let words = File::create(self.words(id)).expect("a file in the temporary folder");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            .process_group(0)
            .spawn()
            .expect("setpriv")
    }

    /// Where a turn's standard error is.
    pub fn words(&self, id: &str) -> PathBuf {
        self.folder.path().join(format!("{id}.err"))
    }

    /// Stops process groups for a while.
    fn stop(&self, groups: &[u32]) {
        groups.iter().for_each(|group| signal_group(*group, Signal::STOP));
        sleep(stop(self.heartbeat));
        groups.iter().for_each(|group| signal_group(*group, Signal::CONT));
    }

    fn harm(&self, hardship: Hardship, holder: &Entry, child: &mut Child) -> Option<Duration> {
        let (testbed, command) = (child.id(), holder.pid);
        match hardship {
            Hardship::KillTestbed => signal(testbed, Signal::KILL),
            Hardship::KillCommand => signal(command, Signal::KILL),
            Hardship::KillBoth => {
                [testbed, command].into_iter().for_each(|group| signal_group(group, Signal::KILL));
            }
            Hardship::StopTestbed => self.stop(&[testbed]),
            Hardship::StopBoth => self.stop(&[testbed, command]),
            Hardship::KillWaiting | Hardship::StopWaiting => {}
            Hardship::Outage(outage) => {
                return self
                    .server
                    .map(|server| interrupt(&mut server.lock().expect("no panic"), outage, holder, child));
            }
        }
        None
    }
}

/// Long enough for what is on its way to arrive, and shorter than any ttl.
const MOMENT: Duration = Duration::from_millis(500);

/// An outage of some time after the holder has entered: the one before has heard by then that it was
/// released. Tells how long it was. One that is shorter than the ttl harms nobody, so that the command has to
/// be ended here.
fn interrupt(server: &mut LoneApiServer, outage: Outage, holder: &Entry, child: &mut Child) -> Duration {
    sleep(MOMENT);
    let start = Instant::now();
    match outage.how {
        Interruption::Kill => server.kill(),
        Interruption::Stop => server.stop(),
        Interruption::Freeze => server.freeze(),
    }
    if outage.is_long {
        // The command is ended while the API server is down, which is when nobody else can have the lock yet.
        until("the command's end", || !is_alive(holder.pid));
        let lasted = start.elapsed();
        assert!(
            lasted < SHORT_TTL + Duration::from_secs(3),
            "the command of {} has lived for {lasted:?}",
            holder.id
        );
    } else if outage.how == Interruption::Freeze {
        sleep(MOMENT);
    }
    match outage.how {
        Interruption::Kill | Interruption::Stop => server.start_again(),
        Interruption::Freeze => server.thaw(),
    }
    let length = start.elapsed();
    if !outage.is_long {
        assert!(is_alive(holder.pid), "the command of {} has not survived {length:?}", holder.id);
        for word in [Signal::TERM, Signal::KILL] {
            signal_group(holder.pid, word);
            sleep(MOMENT / 5);
        }
        until("testbed's end", || has_ended(child));
    }
    length
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().expect("a child of this test").is_some()
}

/// Whether a process runs that is no child of this test.
fn is_alive(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for {what}");
        sleep(Duration::from_millis(20));
    }
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a process id")).expect("not 0")
}

/// It may have ended by itself.
fn signal(process: u32, signal: Signal) {
    let _ = kill_process(pid(process), signal);
}

fn signal_group(group: u32, signal: Signal) {
    let _ = kill_process_group(pid(group), signal);
}
