//! Whether git would take a file in, as the `.gitignore` files tell. git itself is not asked: the settings of a
//! repository may have it run programs, or read what never ends.

use std::path::Path;

use globset::GlobBuilder;

use crate::files;

/// More than any such file has.
const MOST: usize = 64 << 10;

/// Whether a folder is in a git repository of which no `.gitignore` leaves out a file of this name.
pub fn is_taken_in(folder: &Path, name: &str) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let is_repository = |above: &&Path| above.join(".git").symlink_metadata().is_ok();
    let Some(root) = folder.ancestors().find(is_repository) else { return false };
    let file = folder.join(name);
    // A folder that is left out takes all that is in it along.
    !file.ancestors().take_while(|path| *path != root).any(|path| is_left_out(path, root, path != file))
}

/// The last line that fits has it, of the nearest file.
fn is_left_out(path: &Path, root: &Path, is_folder: bool) -> bool {
    let above = path.ancestors().skip(1).take_while(|above| above.starts_with(root));
    let said = |folder: &Path| {
        let text = files::read(&folder.join(".gitignore"), MOST).ok()?;
        let inner = path.strip_prefix(folder).ok()?;
        String::from_utf8_lossy(&text).lines().rev().find_map(|line| verdict(line, inner, is_folder))
    };
    above.into_iter().find_map(said).unwrap_or(false)
}

/// Whether a line leaves a path out, or takes it in again; nothing, if it says nothing of it.
fn verdict(line: &str, path: &Path, is_folder: bool) -> Option<bool> {
    let line = line.trim_end();
    let (is_left_out, pattern) = line.strip_prefix('!').map_or((true, line), |pattern| (false, pattern));
    let (is_of_folders, pattern) =
        pattern.strip_suffix('/').map_or((false, pattern), |pattern| (true, pattern));
    if pattern.is_empty() || pattern.starts_with('#') || (is_of_folders && !is_folder) {
        return None;
    }
    let pattern = match pattern.strip_prefix('/') {
        Some(pattern) => pattern.to_owned(),
        None if pattern.contains('/') => pattern.to_owned(),
        None => format!("**/{pattern}"),
    };
    let glob = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build().ok()?;
    glob.compile_matcher().is_match(path).then_some(is_left_out)
}

#[cfg(test)]
mod tests {

    /// What git does with the same files, which were made for it.
    #[test]
    fn the_last_line_of_the_nearest_file_has_it() {
        for (outer, inner, is_taken_in) in [
            ("", "", true),
            ("c.json", "", false),
            ("*.json\n!c.json", "", true),
            ("/c.json", "", true),
            ("/a/c.json", "", false),
            ("a/*.json  ", "", false),
            ("**/c.json", "", false),
            ("a/", "!c.json", false),
            ("a", "", false),
            ("c.json/", "", true),
            ("# c.json\n\n", "", true),
            ("*.json", "!c.json", true),
            ("", "c.jso[mn]", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            std::fs::create_dir_all(at("a")).unwrap();
            std::fs::write(at(".gitignore"), outer).unwrap();
            std::fs::write(at("a/.gitignore"), inner).unwrap();
            assert!(!super::is_taken_in(&at("a"), "c.json"), "there is no repository");
            let git = |args: &[&str]| {
                let mut git = std::process::Command::new("git");
                git.args(["-c", "core.excludesFile=/dev/null"]).args(args).current_dir(folder.path());
                git.status().unwrap().code()
            };
            assert_eq!(git(&["init", "--quiet"]), Some(0));
            assert_eq!(super::is_taken_in(&at("a"), "c.json"), is_taken_in, "{outer:?} {inner:?}");
            assert_eq!(
                git(&["check-ignore", "--quiet", "a/c.json"]),
                Some(i32::from(is_taken_in)),
                "{outer:?} {inner:?}"
            );
        }
    }
}
