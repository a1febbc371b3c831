//! How long `testbed up` takes in the image until its first request is on its way.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::unpacked::Image;

const LIMIT: Duration = Duration::from_millis(50);
const ATTEMPTS: usize = 20;

/// The program in a root folder that holds nothing but the image, and how the root folder is called there.
/// Where the tests run as root, it is a user whom nobody knows; others may not change their root folder, and
/// do without.
fn in_its_root(root: &Path) -> (Command, PathBuf) {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return (Command::new(root.join("testbed")), root.to_owned());
    }
    let mut command = Command::new("/usr/sbin/chroot");
    command.arg("--userspec=1000740000:0").arg(root).arg("/testbed");
    (command, PathBuf::from("/"))
}

/// From the start of the process until its cluster's address has got the first byte.
fn until_the_first_request(root: &Path) -> Duration {
    // One of its own for each process: one asks several things at a time, and the second must not be taken
    // for the next one's first.
    let cluster = TcpListener::bind("127.0.0.1:0").unwrap();
    // With more authorities to read than any cluster has.
    let kubeconfig = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'https://{}', certificate-authority: ssl/certs/ca-certificates.crt}}}}]\n",
        cluster.local_addr().unwrap()
    );
    std::fs::write(root.join("etc/kubeconfig"), kubeconfig).unwrap();
    let (mut command, root) = in_its_root(root);
    command
        .args(["up", "--with", "postgres", "--output", "-", "--kubeconfig"])
        .arg(root.join("etc/kubeconfig"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().expect("chroot");
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    let asked =
        poll(&mut [PollFd::new(&cluster, PollFlags::IN)], Some(&patience)).expect("waiting for a connection");
    let took = (asked == 1).then(|| {
        let (mut connection, _) = cluster.accept().expect("a connection");
        assert_eq!(connection.read(&mut [0]).expect("a request"), 1);
        started.elapsed()
    });
    // It waits for an answer, or has ended already.
    let _ = child.kill();
    let output = child.wait_with_output().expect("a child");
    took.unwrap_or_else(|| panic!("no request was made: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The machine does other things at the same time: what the program itself needs is seen when it is let.
#[test]
fn up_makes_its_first_request_at_once() {
    let Some(image) = Image::built() else { return };
    let root = image.root();
    let mut times: Vec<Duration> = (0..ATTEMPTS).map(|_| until_the_first_request(&root)).collect();
    times.sort();
    eprintln!("the first request after {:?}, median {:?}", times[0], times[ATTEMPTS / 2]);
    assert!(times[0] < LIMIT, "{times:?}");
}
