//! A namespace with what the catalog's README asks for, a volume for workspaces, and a pod that looks after
//! it.

use std::path::Path;
use std::process::Command;

use super::definitions::of_pipeline_runs;
use super::real;
use crate::harness::{Namespace, client_image, image, kubectl_output};
use crate::pipeline_runs::{self, PipelineRuns};
use crate::tekton_catalog::documents::{Catalog, Content};
use crate::tekton_catalog::model::{Param, ParamSpec, ParamValue};

/// The user and group of pods that name none, as `manifests/assigner.yaml` gives them.
pub const ASSIGNED: u32 = 1_000_650_000;

/// Who carries out what the tests make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tekton {
    /// The cluster's own.
    Real,
    /// These tests.
    StandIn,
}

/// A place for PipelineRuns.
pub struct Site {
    pub namespace: Namespace,
    pub catalog: Catalog,
    pub tekton: Tekton,
}

impl Site {
    /// `None` without testbed's image.
    pub fn new(prefix: &str) -> Option<Self> {
        image()?;
        let tekton = if pipeline_runs::are_carried_out() { Tekton::Real } else { Tekton::StandIn };
        let catalog = Catalog::read().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
        let site = Self { namespace: Namespace::new(prefix), catalog, tekton };
        match tekton {
            Tekton::Real => real::install_catalog(&site),
            Tekton::StandIn => pipeline_runs::define(&of_pipeline_runs()),
        }
        site.apply("samples/rbac.yaml");
        let image = client_image();
        site.namespace.apply(&include_str!("../manifests/keeper.yaml").replace("IMAGE", &image));
        site.namespace.kubectl(&["wait", "--for=condition=ready", "--timeout=120s", "pod/keeper"]);
        if tekton == Tekton::StandIn {
            site.lay_pytest();
        }
        Some(site)
    }

    /// Applies what is not Tekton's in a file of the catalog.
    pub fn apply(&self, file: &str) {
        for document in self.catalog.in_file(file) {
            if matches!(document.content, Content::Other { .. }) {
                self.namespace.apply(&document.value.to_string());
            }
        }
    }

    /// Makes a PipelineRun to belong to, which runs nothing itself; returns its UID.
    pub fn pipeline_run(&self, name: &str) -> String {
        match self.tekton {
            Tekton::Real => real::pending(self, name),
            Tekton::StandIn => PipelineRuns(&self.namespace).create(name),
        }
    }

    /// Runs a shell script in the keeper, with `/volume` before it.
    pub fn keep(&self, script: &str) -> String {
        self.keep_with(script, &[])
    }

    fn keep_with(&self, script: &str, input: &[u8]) -> String {
        let args = ["-n", &self.namespace.name, "exec", "-i", "keeper", "--", "sh", "-ec", script];
        let output = kubectl_output(&args, Some(input));
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Makes a workspace's folder on the volume. The test cluster's volumes are folders of the node, of which
    /// the kubelet does not change the group: here the keeper does what `fsGroup` makes the kubelet do
    /// elsewhere.
    pub fn make_workspace(&self, path: &str, group: u32) {
        self.keep(&format!("mkdir -p {path}; chgrp {group} {path}; chmod 2770 {path}"));
    }

    /// Lays Debian's pytest beside the client image's own packages, so that `pip install` has nothing to
    /// fetch.
    fn lay_pytest(&self) {
        let find = "import attr, iniconfig, packaging, pluggy, _pytest, pytest, pathlib\n\
                    print(pathlib.Path(pytest.__file__).parent.parent)";
        let output = Command::new("/usr/bin/python3").args(["-c", find]).output().expect("Debian's Python");
        let folder = String::from_utf8(output.stdout).expect("a path");
        assert!(output.status.success(), "pytest is missing here: tests/install test");
        let names = ["_pytest", "attr", "iniconfig", "packaging", "pluggy", "pytest", "py.py"];
        let names = names.into_iter().filter(|name| Path::new(folder.trim()).join(name).exists());
        let mut tar = Command::new("tar");
        tar.args(["-C", folder.trim(), "--exclude=__pycache__", "-cf", "-"]).args(names);
        let packed = tar.output().expect("tar");
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        self.keep_with("mkdir -p python records workspaces; tar -C python -xf -", &packed.stdout);
    }

    /// The images of this build and of this cluster, for the params that name images.
    pub fn images(specs: &[ParamSpec]) -> Vec<Param> {
        let ours = |name: &str| match name {
            "testbed-image" => image(),
            "python-image" => Some(client_image()),
            _ => None,
        };
        let value = |spec: &ParamSpec| {
            Some(Param { name: spec.name.clone(), value: ParamValue::Text(ours(&spec.name)?) })
        };
        specs.iter().filter_map(value).collect()
    }

    /// The image of this build, for a task or step of testbed's own.
    pub fn image() -> Param {
        Param { name: "image".into(), value: ParamValue::Text(image().expect("an image")) }
    }
}
