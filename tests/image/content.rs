//! What is in the image, and that the same content makes the same image.

use std::path::Path;
use std::process::Command;

use crate::unpacked::{Image, PROJECT, archive, output, sha256, text};

/// In bytes, to pull and unpacked. The documentation has what it is today.
const LIMITS: [u64; 2] = [11_000_000, 22_000_000];

#[test]
fn it_has_these_files_and_no_others() {
    let Some(image) = Image::built() else { return };
    let listing = text(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(&image.layer));
    let files: Vec<String> = listing
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[5..].join(" "))
        })
        .collect();
    let expected = [
        "drwxr-xr-x 0/0 etc/",
        "-rw-r--r-- 0/0 etc/group",
        "-rw-r--r-- 0/0 etc/passwd",
        "drwxr-xr-x 0/0 etc/ssl/",
        "drwxr-xr-x 0/0 etc/ssl/certs/",
        "-rw-r--r-- 0/0 etc/ssl/certs/ca-certificates.crt",
        "-rwxr-xr-x 0/0 testbed",
        "drwxrwxrwt 0/0 tmp/",
    ];
    assert_eq!(files, expected);
    let root = image.root();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read("etc/passwd"), "nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n");
    assert_eq!(read("etc/group"), "nonroot:x:65532:\n");
}

#[test]
fn it_is_small() {
    let Some(image) = Image::built() else { return };
    let unpacked = image.layer.with_extension("tar");
    output(Command::new("sh").args(["-c", "gzip -dc <\"$0\" >\"$1\""]).args([&image.layer, &unpacked]));
    let [compressed, size] = [&archive(), &unpacked].map(|path| std::fs::metadata(path).unwrap().len());
    assert!(compressed < LIMITS[0] && size < LIMITS[1], "{compressed} bytes to pull, {size} unpacked");
    // The layer's identity is that of its content.
    assert_eq!(
        image.config["rootfs"]["diff_ids"],
        serde_json::json!([format!("sha256:{}", sha256(&unpacked))])
    );
}

#[test]
fn the_program_needs_nothing_beside_it() {
    let Some(image) = Image::built() else { return };
    let program = image.root().join("testbed");
    let needs =
        text(Command::new("readelf").args(["--program-headers", "--dynamic", "--wide"]).arg(&program));
    assert!(needs.contains("LOAD") && !needs.contains("INTERP") && !needs.contains("NEEDED"), "{needs}");
    assert_eq!(
        text(Command::new(&program).arg("--version").env_clear()),
        format!("testbed {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// Otherwise the digest would tell where it was built.
#[test]
fn the_program_does_not_know_where_it_was_built() {
    let Some(image) = Image::built() else { return };
    let program = std::fs::read(image.root().join("testbed")).unwrap();
    let program = String::from_utf8_lossy(&program);
    let has = |text: &str| program.contains(text);
    let home = std::env::var("HOME").expect("HOME");
    let registry = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    for folder in [PROJECT, &format!("{registry}/registry"), &format!("{home}/.rustup")] {
        assert!(!has(&format!("{folder}/")), "{folder} is in the program");
    }
    // Places in the code are told, by these names.
    assert!(has("/cargo/registry/") && has("/rustc/"));
}

#[test]
fn it_trusts_the_public_authorities_and_nobody_else() {
    let Some(image) = Image::built() else { return };
    let bundle = std::fs::read_to_string(image.root().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    let authorities: Vec<String> = std::fs::read_dir("/usr/share/ca-certificates/mozilla")
        .expect("the package ca-certificates")
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(authorities.len() > 100, "{}", authorities.len());
    assert!(authorities.iter().all(|authority| bundle.contains(authority)));
    assert_eq!(bundle.matches("-----BEGIN CERTIFICATE-----").count(), authorities.len());
}

/// In another folder, with other times and another mask, and with the arguments that the image tells of
/// itself.
#[test]
fn packed_again_it_is_the_same_to_the_last_byte() {
    let Some(image) = Image::built() else { return };
    let label = |name: &str| {
        image.config["config"]["Labels"][format!("org.opencontainers.image.{name}")]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let arguments =
        ["version", "revision", "created"].map(|name| format!("{}={}", name.to_uppercase(), label(name)));
    let root = image.root();
    let again = root.with_file_name("again.tar");
    output(Command::new("touch").arg(root.join("testbed")).arg(root.join("etc")));
    let pack = format!("{PROJECT}/image/pack.py");
    let script = "umask 077 && exec \"$@\"";
    let name = image.entry["annotations"]["io.containerd.image.name"].as_str().unwrap();
    output(
        Command::new("sh")
            .args(["-c", script, "sh", &pack])
            .arg(&root)
            .arg(&again)
            .arg(name)
            .args(arguments)
            .current_dir("/"),
    );
    assert!(std::fs::read(&again).unwrap() == std::fs::read(archive()).unwrap(), "the archives differ");
}

/// The examples in the code of the scripts.
#[test]
fn the_scripts_do_what_they_say() {
    let folder = Path::new(PROJECT).join("image");
    output(
        Command::new("/usr/bin/python3")
            .args(["-B", "-m", "doctest", "dockerfile.py", "pack.py"])
            .current_dir(folder),
    );
}
