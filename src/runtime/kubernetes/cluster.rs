//! Which cluster, as whom, and in which namespace: from flags, `KUBECONFIG`, or the pod that testbed runs in.
//! Never from a kubeconfig that nobody named: a run must not land in whatever cluster was used last.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{AuthError, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tower::{BoxError, ServiceBuilder};

use super::contact::Contact;
use crate::environment::{Naming, is_in_pod, kubeconfigs, naming};
use crate::failure::{Advise, Exit};
use crate::location::{Access, Beyond, Location};
use crate::reading;
use crate::run_id::RunId;
use crate::runtime::local::processes;
use crate::runtime::local::program::last_lines;
use crate::{background, bug};

/// A TCP connection to the API server that takes longer than this is given up.
const CONNECT: Duration = Duration::from_secs(10);

/// What the user said about the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub namespace: Option<String>,
}

impl Choice {
    /// The flags by which another command finds the same cluster; a leading space before each.
    pub fn flags(&self) -> String {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| format!(" --kubeconfig {}", path.display()));
        let context = self.context.as_ref().map(|context| format!(" --context {context}"));
        kubeconfig.unwrap_or_default() + &context.unwrap_or_default()
    }

    /// The flags with which another command of testbed gets there: `KUBECONFIG` alone asks for no cluster.
    pub fn of_command(&self) -> String {
        let flags = self.flags();
        if flags.is_empty() && !is_in_pod() { " --runtime kubernetes".to_owned() } else { flags }
    }

    fn kubectl(&self, namespace: &str) -> String {
        format!("kubectl{} -n {namespace}", self.flags())
    }
}

/// The place, from any folder.
impl From<&Location> for Choice {
    fn from(location: &Location) -> Self {
        // More than one file has no flag.
        let kubeconfig =
            if let Access::Files(files) = &location.access { files.first().cloned() } else { None };
        Self { kubeconfig, context: location.context.clone(), namespace: Some(location.namespace.clone()) }
    }
}

/// The start of a kubectl command that is about a place.
fn kubectl(location: &Location) -> String {
    Choice::from(location).kubectl(&location.namespace)
}

/// The configuration, its place, and where the choice came from.
async fn find(choice: &Choice) -> anyhow::Result<(Config, Location, &'static str)> {
    let (access, source) = access(choice).exit(Exit::Usage)?;
    let config = config(&access, choice.context.as_deref(), source).await.exit(Exit::Usage)?;
    let namespace = choice.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let location = Location {
        access: access.absolute()?,
        context: choice.context.clone(),
        namespace,
        beyond: Beyond::default(),
    };
    Ok((config, location, source))
}

#[derive(Clone)]
pub struct Cluster {
    /// The client; cloning it is cheap and shares its connections. Its requests are bounded.
    pub client: Client,
    contact: Contact,
    pub namespace: String,
    pub server: String,
    /// Whether testbed itself runs in a pod of the cluster, so that Service names resolve.
    pub inside: bool,
    pub home: Option<String>,
    /// Where the choice came from, such as `--kubeconfig`.
    pub source: &'static str,
    /// The start of a kubectl command for this cluster and namespace, as messages suggest them.
    pub kubectl: String,
    /// How another process gets here.
    pub location: Location,
}

impl Cluster {
    /// Reads the configuration; no request is made yet.
    pub async fn connect(choice: &Choice) -> anyhow::Result<Self> {
        let (config, location, source) = find(choice).await?;
        let kubectl = choice.kubectl(&location.namespace);
        Self::with(config, location, source, kubectl).await
    }

    /// Where that is.
    ///
    /// # Errors
    /// As for [`Cluster::connect`].
    pub async fn location(choice: &Choice) -> anyhow::Result<Location> {
        find(choice).await.map(|(_, location, _)| location)
    }

    /// The same for a location that is known from before, whatever the environment names now.
    pub async fn connect_to(location: Location) -> anyhow::Result<Self> {
        let source = if location.access == Access::Pod { IN_POD } else { NOTED };
        let config = config(&location.access, location.context.as_deref(), source).await.exit(Exit::Usage)?;
        let kubectl = kubectl(&location);
        Self::with(config, location, source, kubectl).await
    }

    /// The command that removes a run of this place, from any folder.
    pub fn down_command(&self, run_id: &RunId) -> String {
        let Location { access, context, namespace, beyond } = &self.location;
        // Those of `KUBECONFIG` and of the user's own are found again without a flag.
        let kubeconfig = match access {
            Access::Files(files) if [TYPED, NOTED].contains(&self.source) => files.first().cloned(),
            _ => None,
        };
        let flags = Choice { kubeconfig, context: context.clone(), namespace: None }.of_command();
        let also: String =
            beyond.namespaces.iter().map(|other| format!(" --also-namespace {other}")).collect();
        let cluster_scoped = if beyond.cluster_scoped { " --cluster-scoped" } else { "" };
        format!("testbed down --run-id {run_id} -n {namespace}{also}{cluster_scoped}{flags}")
    }

    /// The same for a run that has objects elsewhere as well.
    #[must_use]
    pub fn with_beyond(mut self, beyond: Beyond) -> Self {
        self.location.beyond.namespaces.extend(beyond.namespaces);
        self.location.beyond.namespaces.remove(&self.namespace);
        self.location.beyond.cluster_scoped |= beyond.cluster_scoped;
        self
    }

    /// The objects of one kind in the namespace.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The same place, reached by another client, whose requests are bounded as well: an API server made of a
    /// stranger's bytes, for the fuzz targets.
    #[must_use]
    pub fn with_client(self, client: Client) -> Self {
        let contact = Contact::default();
        Self { client: contact.client(client), contact, ..self }
    }

    /// The same connection, to another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        let location =
            Location { namespace: namespace.to_owned(), beyond: Beyond::default(), ..self.location.clone() };
        Self { namespace: namespace.to_owned(), kubectl: kubectl(&location), location, ..self.clone() }
    }

    /// What keeps the API server from answering just now, in words; `None` where it has answered.
    pub fn trouble(&self) -> Option<String> {
        self.contact.trouble().map(|trouble| format!("the API server {} {trouble}", self.server))
    }

    /// Fails with what keeps the API server from answering, when the deadline is over.
    pub async fn by<T>(
        &self,
        deadline: Instant,
        timeout: Duration,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        timeout_at(deadline, work).await.unwrap_or_else(|_| Err(self.late(timeout)))
    }

    /// The error of what was not done in its time.
    pub fn late(&self, timeout: Duration) -> anyhow::Error {
        let why = self.trouble().unwrap_or_else(|| format!("the API server {} does not answer", self.server));
        anyhow!("not done within {}: {why}", humantime::format_duration(timeout))
    }

    async fn with(
        mut config: Config,
        location: Location,
        source: &'static str,
        kubectl: String,
    ) -> anyhow::Result<Self> {
        config.connect_timeout = Some(CONNECT);
        if let Ok(agent) = concat!("testbed/", env!("CARGO_PKG_VERSION")).parse() {
            config.headers.push((USER_AGENT, agent));
        }
        let inside = source == IN_POD;
        let home = inside.then(|| config.default_namespace.clone());
        let server = without_login(config.cluster_url.to_string().trim_end_matches('/'));
        // It would wait for as long as the server says; see `contact`.
        config.default_retry = false;
        let client = logged_in(config)
            .await
            .with_context(|| format!("setting up the connection to {server}"))
            .exit(Exit::Usage)?;
        let contact = Contact::default();
        Ok(Self {
            client: contact.client(client),
            contact,
            namespace: location.namespace.clone(),
            server,
            inside,
            home,
            source,
            kubectl,
            location,
        })
    }
}

/// A client, once the login that the kubeconfig asks for is there: a program that it names, or a file, may take its
/// time, and kube waits for it.
async fn logged_in(mut config: Config) -> anyhow::Result<Client> {
    // By this the program is found again that nobody waits for any more.
    let mark = format!("TESTBED_LOGIN={}", uuid::Uuid::new_v4());
    let program = config.auth_info.exec.as_mut().map(|exec| {
        let variable = mark.split_once('=').map(|(name, value)| [("name", name), ("value", value)]);
        let variable = variable.into_iter().flatten().map(|(key, text)| (key.to_owned(), text.to_owned()));
        exec.env.get_or_insert_default().push(variable.collect());
        exec.command.clone().unwrap_or_default()
    });
    let _marked = program.is_some().then(|| processes::Marked(&mark));
    let runtime = Handle::current();
    let work = background::run_aside(move || {
        // What it panics at is what it was given: kube takes it for a mistake of whoever calls it.
        runtime.block_on(bug::apart(async move { client(config) }))
    });
    let outcome = timeout(LOGIN, work).await;
    let what = || {
        program.as_deref().map_or("the login".to_owned(), |program| format!("the login program {program:?}"))
    };
    match outcome {
        Ok(Ok(Ok(Ok(client)))) => Ok(client),
        Ok(Ok(Ok(Err(error)))) => Err(told(error, &what())),
        Ok(Ok(Err(_))) => Err(anyhow!(
            "the user of the kubeconfig cannot log in: the token or password has a line break or another character that is not sent in a header"
        )),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(anyhow!("{} has not ended within {}", what(), humantime::format_duration(LOGIN))),
    }
}

/// How long a login may take: some programs ask a person.
const LOGIN: Duration = Duration::from_mins(2);

/// An error of kube's without what a login program has printed, which may be a token.
fn told(error: kube::Error, what: &str) -> anyhow::Error {
    match error {
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            let said = last_lines(String::from_utf8_lossy(&out.stderr).trim(), LINES);
            let error = anyhow!("{what} of the kubeconfig failed ({})", out.status);
            if said.is_empty() { error } else { error.detail(format!("what it said:\n{said}")) }
        }
        kube::Error::Auth(AuthError::AuthExecParse(_)) => {
            anyhow!("{what} of the kubeconfig has printed no ExecCredential")
        }
        error => error.into(),
    }
}

/// How many lines of what a login program has said are shown.
const LINES: usize = 5;

/// An address without the login that somebody has written into it.
fn without_login(server: &str) -> String {
    let Some((scheme, rest)) = server.split_once("://") else { return server.to_owned() };
    let host = rest.find('/').unwrap_or(rest.len());
    let from = rest[..host].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[from..])
}

/// kube's own client, whose connections send what there is at once: a small message would else wait for the
/// receipt of the one before, for up to 40 ms. Where kube would go by way of a proxy, its own client says
/// whether it can.
fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(hyper_util::client::legacy::Builder::new(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace))
}

const IN_POD: &str = "the pod's ServiceAccount";
const TYPED: &str = "--kubeconfig";
const NOTED: &str = "the run's note";
const USER_AGENT: http::HeaderName = http::header::USER_AGENT;

/// What the user's choice stands for, and what decided it.
fn access(choice: &Choice) -> anyhow::Result<(Access, &'static str)> {
    Ok(match (naming(choice.kubeconfig.is_some(), choice.context.is_some()), kubeconfigs()) {
        (Some(Naming::Kubeconfig), _) => (Access::Files(choice.kubeconfig.iter().cloned().collect()), TYPED),
        (Some(Naming::Context | Naming::Variable), files) if !files.is_empty() => {
            (Access::Files(files), "KUBECONFIG")
        }
        (Some(Naming::Context | Naming::Variable), _) => {
            let home = std::env::home_dir()
                .ok_or_else(|| anyhow!("--context needs a kubeconfig, and there is no home folder"));
            (Access::Files(vec![home.hint("pass --kubeconfig")?.join(".kube/config")]), "--context")
        }
        (Some(Naming::Pod), _) => (Access::Pod, IN_POD),
        (None, _) => {
            return Err(anyhow!("no cluster is named"))
                .hint("pass --kubeconfig or --context, set KUBECONFIG, or run inside a pod");
        }
    })
}

async fn config(access: &Access, context: Option<&str>, source: &str) -> anyhow::Result<Config> {
    let Access::Files(files) = access else {
        return Config::incluster().context("reading the pod's ServiceAccount");
    };
    let mut merged = Kubeconfig::default();
    for path in files {
        let context = || format!("reading the kubeconfig {} ({source})", path.display());
        if path.exists() {
            reading::check(path, reading::MOST).with_context(context)?;
        }
        merged = Kubeconfig::read_from(path)
            .and_then(|kubeconfig| merged.merge(kubeconfig))
            .with_context(context)?;
    }
    check_files(&merged, context)?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), cluster: None, user: None };
    Config::from_custom_kubeconfig(merged, &options)
        .await
        .with_context(|| format!("using the kubeconfig of {source}"))
}

/// Refuses files of the chosen user and cluster that would be waited for, or have no end.
fn check_files(kubeconfig: &Kubeconfig, context: Option<&str>) -> anyhow::Result<()> {
    let chosen = context.or(kubeconfig.current_context.as_deref());
    let named = kubeconfig.contexts.iter().find(|one| Some(one.name.as_str()) == chosen);
    let Some(chosen) = named.and_then(|named| named.context.as_ref()) else { return Ok(()) };
    let user = kubeconfig.auth_infos.iter().find(|one| Some(&one.name) == chosen.user.as_ref());
    let user = user.and_then(|user| user.auth_info.as_ref());
    let cluster = kubeconfig.clusters.iter().find(|one| one.name == chosen.cluster);
    let cluster = cluster.and_then(|cluster| cluster.cluster.as_ref());
    let files = [
        ("tokenFile", user.and_then(|user| user.token_file.as_ref())),
        ("client-certificate", user.and_then(|user| user.client_certificate.as_ref())),
        ("client-key", user.and_then(|user| user.client_key.as_ref())),
        ("certificate-authority", cluster.and_then(|cluster| cluster.certificate_authority.as_ref())),
    ];
    for (key, path) in files {
        if let Some(path) = path.map(Path::new).filter(|path| path.exists()) {
            reading::check(path, reading::MOST)
                .with_context(|| format!("reading {} ({key} of the kubeconfig)", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_without_a_login() {
        for (server, told) in [
            ("https://10.0.0.1:6443", "https://10.0.0.1:6443"),
            ("http://user:p@ss@host:1/a@b", "http://host:1/a@b"),
        ] {
            assert_eq!(without_login(server), told);
        }
    }

    const FILES: [(&str, &str); 2] = [
        (
            "users",
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u, namespace: one}}]\nusers: [{name: u}]\n",
        ),
        ("clusters", "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"),
    ];

    #[tokio::test]
    async fn several_files_are_one_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let paths = FILES.map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        });
        let location = |files: &[PathBuf]| Location {
            access: Access::Files(files.to_vec()),
            context: None,
            namespace: "two".into(),
            beyond: Beyond::default(),
        };
        let cluster = Cluster::connect_to(location(&paths)).await.unwrap();
        assert_eq!((cluster.server.as_str(), cluster.namespace.as_str()), ("http://127.0.0.1:1", "two"));
        let error = Cluster::connect_to(location(&paths[..1])).await.err().unwrap();
        assert!(format!("{error:#}").starts_with("using the kubeconfig of the run's note"), "{error:#}");
    }

    #[test]
    fn paths_hold_in_every_folder() {
        let Access::Files(files) = Access::Files(vec!["x/kubeconfig".into()]).absolute().unwrap() else {
            panic!("they are files")
        };
        assert!(files[0].is_absolute() && files[0].ends_with("x/kubeconfig"), "{files:?}");
    }
}
