//! What the image says about itself: how it is run, and where it comes from. The Dockerfile's last stage is
//! where that stands; these are its words.

use serde_json::json;

use crate::unpacked::{Image, PROJECT};

#[test]
fn it_runs_testbed_as_nobody_in_particular() {
    let Some(image) = Image::built() else { return };
    let mut config = image.config["config"].clone();
    config.as_object_mut().unwrap().remove("Labels");
    assert_eq!(
        config,
        json!({
            "Entrypoint": ["/testbed"],
            "User": "65532:65532",
            "WorkingDir": "/tmp",
            "Env": ["HOME=/tmp", "PATH=/usr/local/bin:/usr/bin:/bin:/"],
        })
    );
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!((&image.config["architecture"], &image.config["os"]), (&json!(architecture), &json!("linux")));
}

#[test]
fn its_labels_tell_where_it_comes_from() {
    let Some(image) = Image::built() else { return };
    let labels = &image.config["config"]["Labels"];
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str().unwrap_or_default();
    assert_eq!(label("title"), "testbed");
    assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    let revision = label("revision").trim_end_matches("-dirty");
    assert!(
        revision == "unknown"
            || revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{labels}"
    );
    assert_eq!(image.config["created"], label("created"));
    assert_eq!(labels.as_object().map(serde_json::Map::len), Some(6), "{labels}");
    assert_eq!(&image.manifest["annotations"], labels);
}

/// The same image for every tool: containerd and podman read the name, `docker load` a file of its own.
#[test]
fn every_tool_finds_the_image_and_its_name() {
    let Some(image) = Image::built() else { return };
    let name = format!("registry.example/testbed:{}", env!("CARGO_PKG_VERSION"));
    let names = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": env!("CARGO_PKG_VERSION")});
    assert_eq!(image.entry["annotations"], names);
    let path = |descriptor: &serde_json::Value| {
        descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/")
    };
    let docker = json!([{"Config": path(&image.manifest["config"]), "RepoTags": [name], "Layers": [path(&image.manifest["layers"][0])]}]);
    assert_eq!(image.json("manifest.json"), docker);
    assert_eq!(image.json("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));
}

/// The oldest Rust that compiles the project is the one that the Dockerfile takes.
#[test]
fn the_dockerfile_takes_the_projects_rust() {
    let dockerfile = std::fs::read_to_string(format!("{PROJECT}/image/Dockerfile")).unwrap();
    let rust = format!("\nFROM docker.io/library/rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(dockerfile.contains(&rust), "{rust} is not in\n{dockerfile}");
}
