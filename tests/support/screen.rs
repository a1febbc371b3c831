//! What a person sees: a terminal of a given size, as tmux keeps it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Folder, binary};

/// A terminal in which one command runs.
pub struct Screen<'a> {
    folder: &'a Folder,
    name: String,
}

impl<'a> Screen<'a> {
    /// Runs testbed in a terminal that is so wide, and higher than everything that is shown.
    pub fn of(folder: &'a Folder, columns: u16, args: &[&str]) -> Self {
        let quoted: Vec<String> =
            args.iter().map(|arg| format!("'{}'", arg.replace('\'', r"'\''"))).collect();
        // The terminal stays when the command has ended, and tells that.
        let script = format!("{} {}; tmux wait-for -S ended; exec sleep 1000", binary(), quoted.join(" "));
        Self::running(folder, columns, &script)
    }

    /// The same for any command of a shell.
    pub fn running(folder: &'a Folder, columns: u16, script: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let screen = Self { folder, name: COUNT.fetch_add(1, Ordering::Relaxed).to_string() };
        let size = ["-x", &columns.to_string(), "-y", "200"].map(str::to_owned);
        let mut tmux = screen.tmux(&["new-session", "-d"]);
        let testbed = folder.command(&[]);
        tmux.env_clear().envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        tmux.env("TERM", "xterm").env("TMUX_TMPDIR", folder.path()).env("LANG", "C.UTF-8");
        let made = tmux.args(size).arg(script).output().expect("tmux: tests/install test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        screen
    }

    /// As if somebody typed it; `Tab` and `Enter` are keys of their own.
    pub fn type_in(&self, keys: &[&str]) {
        self.asked(&[&["send-keys"], keys].concat());
    }

    /// Waits until what it shows fits.
    pub fn until(&self, fits: impl Fn(&str) -> bool) {
        assert!(self.shows(Duration::from_secs(20), fits), "never shown:\n{}", self.shown());
    }

    /// Whether it shows what fits within this time.
    pub fn shows(&self, within: Duration, fits: impl Fn(&str) -> bool) -> bool {
        let start = Instant::now();
        while !fits(&self.shown()) {
            if start.elapsed() > within {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.env("TMUX_TMPDIR", self.folder.path()).current_dir(self.folder.path());
        tmux.args(["-u", "-f", "/dev/null", "-L", &self.name]).args(args);
        tmux
    }

    fn asked(&self, args: &[&str]) -> String {
        let answer = self.tmux(args).output().expect("tmux");
        assert!(answer.status.success(), "{args:?}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).expect("UTF-8")
    }

    /// What it shows by now.
    pub fn shown(&self) -> String {
        let shown = self.asked(&["capture-pane", "-p"]);
        shown.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// What it shows once the command has ended.
    pub fn ended(&self) -> String {
        self.asked(&["wait-for", "ended"]);
        self.shown()
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let Ok(pid) = self.tmux(&["display-message", "-p", "#{pane_pid}"]).output() else { return };
        let process = Path::new("/proc").join(String::from_utf8_lossy(&pid.stdout).trim());
        let _ = self.tmux(&["kill-server"]).output();
        // The folder is looked at for what is left.
        let start = Instant::now();
        while process.join("cwd").exists() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
