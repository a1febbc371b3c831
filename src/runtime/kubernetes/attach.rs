//! The other end of what a container reads and writes, as `kubectl attach` has it. Needs `get` on pods, and
//! `create` and `get` on `pods/attach`.

use anyhow::anyhow;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, AttachedProcess};

use super::{Cluster, explain};
use crate::failure::Advise;

/// In bytes, of what is on its way.
const ON_THE_WAY: usize = 64 << 10;

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub pod: String,
    pub name: String,
    /// Whether it reads what is typed for it.
    pub stdin: bool,
    /// Whether it has a terminal.
    pub tty: bool,
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "container {} of pod {}", self.name, self.pod)
    }
}

/// A container as its pod has it.
pub async fn find(cluster: &Cluster, pod: &str, name: &str) -> anyhow::Result<Container> {
    let found = cluster.api::<Pod>().get(pod).await;
    let spec = found
        .map_err(|error| explain(cluster, error, &format!("reading pod {pod}")))?
        .spec
        .unwrap_or_default();
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let container = containers.find(|container| container.name == name);
    let container = container.ok_or_else(|| anyhow!("pod {pod} has no container {name} any more"))?;
    Ok(Container {
        pod: pod.to_owned(),
        name: name.to_owned(),
        stdin: container.stdin == Some(true),
        tty: container.tty == Some(true),
    })
}

/// Opens it. What has a terminal has no standard error of its own.
pub async fn open(cluster: &Cluster, container: &Container, stdin: bool) -> anyhow::Result<AttachedProcess> {
    let params = AttachParams::default()
        .container(&container.name)
        .stdin(stdin)
        .stdout(true)
        .stderr(!container.tty)
        .tty(container.tty)
        .max_stdin_buf_size(ON_THE_WAY)
        .max_stdout_buf_size(ON_THE_WAY)
        .max_stderr_buf_size(ON_THE_WAY);
    let opened = cluster.api::<Pod>().attach(&container.pod, &params).await;
    opened.map_err(|error| {
        explain(cluster, error, &format!("attaching to {container} (create and get on pods/attach)"))
    })
}

/// Why nothing more comes from it.
///
/// # Errors
/// It is not the container's end.
pub async fn end(container: &Container, mut attached: AttachedProcess) -> anyhow::Result<()> {
    let status = match attached.take_status() {
        Some(status) => status.await,
        None => None,
    };
    match status {
        Some(status) if status.status.as_deref() == Some("Failure") => {
            Err(anyhow!("{container}: {}", status.message.unwrap_or_default()))
        }
        Some(_) => Ok(()),
        None => Err(anyhow!("the connection to {container} was lost"))
            .hint("the container goes on; call testbed attach again"),
    }
}
