//! testbed at a terminal, where somebody types and looks.

use std::io::{Read, Write};
use std::process::{ChildStdout, Command, Stdio};

use super::{Folder, binary};

/// What a program shows, read as it comes.
pub struct Reader<R> {
    from: R,
    shown: String,
}

impl<R: Read> Reader<R> {
    pub fn new(from: R) -> Self {
        Self { from, shown: String::new() }
    }

    /// Waits until all of these are shown, in whatever order, and tells all that is shown by then.
    pub fn until(&mut self, parts: &[&str]) -> &str {
        let mut bytes = [0; 4096];
        while !parts.iter().all(|part| self.shown.contains(part)) {
            let count = self.from.read(&mut bytes).expect("what is shown");
            assert_ne!(count, 0, "{parts:?} were never shown:\n{}", self.shown);
            self.shown += &String::from_utf8_lossy(&bytes[..count]);
        }
        &self.shown
    }
}

/// A terminal.
pub struct Terminal {
    pub child: std::process::Child,
    shown: Reader<ChildStdout>,
}

impl Terminal {
    /// Calls testbed in the foreground of a new one, as an interactive shell does.
    pub fn open(folder: &Folder, args: &[&str]) -> Self {
        Self::of(folder, &[&[binary()], args].concat())
    }

    /// The same for a program that calls testbed, in the folder and with the variables of its calls.
    pub fn of(folder: &Folder, program: &[&str]) -> Self {
        // python3's pty module makes the terminal and passes what is typed.
        let open = "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let mut command = Command::new("python3");
        command.args(["-c", open]).args(program);
        let testbed = folder.command(&[]);
        command
            .current_dir(folder.path())
            .envs(testbed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("python3");
        let shown = Reader::new(child.stdout.take().expect("a pipe"));
        Self { child, shown }
    }

    /// Waits until all of these are shown, in whatever order.
    pub fn until_it_shows(&mut self, parts: &[&str]) {
        self.shown.until(parts);
    }

    /// As if somebody typed it; `\u{3}` is Ctrl-C.
    pub fn type_in(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The exit code, and everything that was shown.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        self.shown.from.read_to_end(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, self.shown.shown + &String::from_utf8_lossy(&rest))
    }
}
