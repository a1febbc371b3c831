//! The archive of the image, taken apart with the machine's own tools.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::is_without_image;

/// The project's folder.
pub const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// The archive that `make image` writes.
pub fn archive() -> PathBuf {
    Path::new(PROJECT).join("target/image/testbed.tar")
}

/// An image of one layer, as its archive describes it.
pub struct Image {
    folder: TempDir,
    /// What `index.json` says of the image.
    pub entry: Value,
    pub manifest: Value,
    pub config: Value,
    /// The compressed layer.
    pub layer: PathBuf,
}

impl Image {
    /// The image that `make image` has built; nothing where the user wants no tests of it.
    pub fn built() -> Option<Self> {
        if is_without_image() {
            return None;
        }
        assert!(
            archive().is_file(),
            "{} is not there: run `make image`, or `make test` for all of it",
            archive().display()
        );
        Some(Self::unpack(&archive()))
    }

    pub fn unpack(archive: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        output(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()));
        let index = json(&folder.path().join("index.json"));
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1), "{index}");
        let entry = index["manifests"][0].clone();
        let manifest = json(&blob(folder.path(), &entry));
        assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1), "{manifest}");
        let config = json(&blob(folder.path(), &manifest["config"]));
        let layer = blob(folder.path(), &manifest["layers"][0]);
        Self { folder, entry, manifest, config, layer }
    }

    /// A JSON file of the archive beside the image's own.
    pub fn json(&self, name: &str) -> Value {
        json(&self.folder.path().join(name))
    }

    /// Unpacks the layer, and returns the root folder of a container. Whoever unpacks it owns the files.
    pub fn root(&self) -> PathBuf {
        let root = self.folder.path().join("root");
        std::fs::create_dir(&root).expect("a folder");
        output(
            Command::new("tar")
                .args(["--same-permissions", "--no-same-owner", "-xzf"])
                .arg(&self.layer)
                .arg("-C")
                .arg(&root),
        );
        root
    }
}

/// The file that a descriptor is about, which has to have its size and digest.
fn blob(folder: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"]
        .as_str()
        .and_then(|digest| digest.strip_prefix("sha256:"))
        .expect("a SHA-256 digest");
    let path = folder.join("blobs/sha256").join(digest);
    assert_eq!(
        std::fs::metadata(&path).map(|file| file.len()).ok(),
        descriptor["size"].as_u64(),
        "{descriptor}"
    );
    assert_eq!(sha256(&path), digest);
    path
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file of the archive")).expect("JSON")
}

/// A file's digest, from a program that is fast in a test build too.
pub fn sha256(path: &Path) -> String {
    text(Command::new("sha256sum").arg("-b").stdin(File::open(path).expect("a file")))[..64].to_owned()
}

/// The standard output of a command that has to succeed.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The same as text.
pub fn text(command: &mut Command) -> String {
    String::from_utf8(output(command)).expect("UTF-8")
}
