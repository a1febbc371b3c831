//! A real API server of a test's own, which may be ended and started again at any time: the others share
//! theirs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{get_state, parsed};
use crate::harness::has_parts_of_cluster;

/// It ends with its standard input, so that nothing is left of it even where the test is killed.
pub struct LoneApiServer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    kubeconfig: PathBuf,
}

impl LoneApiServer {
    /// Starts it and waits until it answers: some seconds.
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/lone-api-server");
        let mut command = Command::new(script);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("lone-api-server");
        let (orders, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("a pipe")));
        let mut server = Self { child, orders, answers, kubeconfig: PathBuf::new() };
        server.kubeconfig = server.answer().into();
        server
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl's answer, in the default namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args)
            .output()
            .expect("kubectl");
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8 from kubectl")
    }

    /// A Lease's lock, as [`super::state`] tells it.
    pub fn lock(&self, name: &str) -> Option<Value> {
        parsed(&self.kubectl(&get_state(name)))
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.order("kill");
    }

    /// Ends it as a kubelet does.
    pub fn stop(&mut self) {
        self.order("stop");
    }

    /// Makes it say nothing; no connection breaks.
    pub fn freeze(&mut self) {
        self.order("freeze");
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.order("thaw");
    }

    /// Starts it again, and waits until it answers.
    pub fn start_again(&mut self) {
        self.order("start");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().expect("open until the end"), "{order}")
            .expect("lone-api-server reads");
        assert_eq!(self.answer(), "done");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("UTF-8");
        assert!(line.ends_with('\n'), "lone-api-server has ended; its reason is above");
        line.trim_end().to_owned()
    }

    /// The processes that belong to it.
    fn processes(&self) -> Vec<String> {
        processes_of_group(self.child.id())
    }
}

impl Drop for LoneApiServer {
    fn drop(&mut self) {
        drop(self.orders.take());
        let status = self.child.wait().expect("lone-api-server ends");
        if !std::thread::panicking() {
            assert!(status.success(), "{status}");
            assert_eq!(
                (self.processes(), self.kubeconfig.exists()),
                (Vec::new(), false),
                "it leaves nothing"
            );
        }
    }
}

/// The command lines of a process group's processes; those that have ended and wait for their parent have
/// none.
pub fn processes_of_group(group: u32) -> Vec<String> {
    let output = Command::new("ps").args(["-e", "-o", "pgid=,stat=,args="]).output().expect("ps");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_group = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some(&group.to_string()) && words.next().is_some_and(|state| !state.starts_with('Z'))
    };
    text.lines().filter(of_group).map(ToOwned::to_owned).collect()
}

/// Whoever uses one finds out at its end whether it leaves anything; this is for the worst of ends.
#[test]
fn a_lone_api_server_ends_with_its_script() {
    if !has_parts_of_cluster() {
        return;
    }
    let mut server = LoneApiServer::start();
    assert!(server.processes().iter().any(|process| process.contains("kube-apiserver")));
    server.child.kill().expect("it runs");
    server.child.wait().expect("it ends");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.processes().is_empty() {
        assert!(Instant::now() < deadline, "{:?} are left", server.processes());
        sleep(Duration::from_millis(20));
    }
    // Nobody was left to do that.
    std::fs::remove_dir_all(server.kubeconfig().parent().expect("a folder")).expect("its folder");
    std::mem::forget(server);
}
