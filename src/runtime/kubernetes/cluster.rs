//! Which cluster, as whom, and in which namespace: from flags, `KUBECONFIG`, or the pod that testbed runs in. Never from a kubeconfig
//! that nobody named: a run must not land in whatever cluster was used last.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::failure::{Advise, Exit};

/// A TCP connection to the API server that takes longer than this is given up.
const CONNECT: Duration = Duration::from_secs(10);

/// What the user said about the cluster.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// `--kubeconfig`
    pub kubeconfig: Option<PathBuf>,
    /// `--context`
    pub context: Option<String>,
    /// `--namespace`
    pub namespace: Option<String>,
}

impl Choice {
    /// The flags by which another command finds the same cluster; a leading space before each.
    pub fn flags(&self) -> String {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| format!(" --kubeconfig {}", path.display()));
        let context = self.context.as_ref().map(|context| format!(" --context {context}"));
        kubeconfig.unwrap_or_default() + &context.unwrap_or_default()
    }

    fn kubectl(&self, namespace: &str) -> String {
        format!("kubectl{} -n {namespace}", self.flags())
    }
}

/// A connection to one namespace of a cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The client; cloning it is cheap and shares its connections.
    pub client: Client,
    /// The namespace of the run.
    pub namespace: String,
    /// The API server's address.
    pub server: String,
    /// Whether testbed itself runs in a pod of the cluster, so that Service names resolve.
    pub inside: bool,
    /// Where the choice came from, such as `--kubeconfig`.
    pub source: &'static str,
    /// The start of a kubectl command for this cluster and namespace, as messages suggest them.
    pub kubectl: String,
}

impl Cluster {
    /// Reads the configuration; no request is made yet.
    ///
    /// # Errors
    /// A usage error when no cluster is named or the kubeconfig cannot be used.
    pub async fn connect(choice: &Choice) -> anyhow::Result<Self> {
        let (mut config, source) = config(choice).await.exit(Exit::Usage)?;
        config.connect_timeout = Some(CONNECT);
        if let Ok(agent) = concat!("testbed/", env!("CARGO_PKG_VERSION")).parse() {
            config.headers.push((USER_AGENT, agent));
        }
        let namespace = choice.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let kubectl = choice.kubectl(&namespace);
        let client = Client::try_from(config).with_context(|| format!("setting up the connection to {server}")).exit(Exit::Usage)?;
        Ok(Self { client, namespace, server, inside: source == IN_POD, source, kubectl })
    }
}

const IN_POD: &str = "the pod's ServiceAccount";
const USER_AGENT: http::HeaderName = http::header::USER_AGENT;

async fn config(choice: &Choice) -> anyhow::Result<(Config, &'static str)> {
    let (kubeconfig, source) = if let Some(path) = &choice.kubeconfig {
        let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("reading the kubeconfig {}", path.display()))?;
        (kubeconfig, "--kubeconfig")
    } else if let Some(kubeconfig) = Kubeconfig::from_env().context("reading the kubeconfig that KUBECONFIG names")? {
        (kubeconfig, "KUBECONFIG")
    } else if choice.context.is_some() {
        (Kubeconfig::read().context("reading the kubeconfig for --context")?, "--context")
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Ok((Config::incluster().context("reading the pod's ServiceAccount")?, IN_POD));
    } else {
        return Err(anyhow!("no cluster is named")).hint("pass --kubeconfig or --context, set KUBECONFIG, or run inside a pod");
    };
    let options = KubeConfigOptions { context: choice.context.clone(), cluster: None, user: None };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(|| format!("using the kubeconfig of {source}"))?;
    Ok((config, source))
}
