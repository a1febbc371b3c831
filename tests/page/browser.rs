//! One Chromium for all pages, driven by `look.py`, and the proof that nothing of it is left.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long Chromium's helpers may take to end after it.
const GONE: Duration = Duration::from_secs(10);

pub struct Browser {
    pages: PathBuf,
    /// Its profile: no other process of the machine has that path in its arguments.
    home: tempfile::TempDir,
}

impl Browser {
    pub fn new(pages: &Path) -> Self {
        Self { pages: pages.to_owned(), home: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Looks at each page that the plan names; what is wrong with each.
    pub fn look(&self, plan: &Value) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/look.py");
        let plan_file = self.home.path().join("plan.json");
        std::fs::write(&plan_file, plan.to_string()).expect("a file in the temporary folder");
        let output = Command::new("/usr/bin/python3")
            .arg(script)
            .args([&self.pages, self.home.path(), &plan_file])
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .output()
            .expect("Debian's Python");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "look.py (is everything there? tests/install test): {said}");
        self.is_gone();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    fn is_gone(&self) {
        let began = Instant::now();
        let mut left = self.processes();
        while !left.is_empty() {
            assert!(began.elapsed() < GONE, "processes are left: {left:#?}");
            std::thread::sleep(Duration::from_millis(20));
            left = self.processes();
        }
    }

    /// The command lines that name the profile.
    fn processes(&self) -> Vec<String> {
        let home = self.home.path().display().to_string();
        let folders = std::fs::read_dir("/proc").expect("/proc").flatten();
        let lines = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&home))
            .collect()
    }
}
