//! Whether there is a way from here: inside the cluster by the Services' names, outside by port-forwards.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use tokio::time::timeout;

use super::resolv_conf::ResolvConf;
use super::{Planned, rules};
use crate::doctor::Verdict;
use crate::failure::innermost;
use crate::runtime::kubernetes::forward;
use crate::runtime::kubernetes::{Cluster, explain};

pub(super) const CHECK: &str = "dns";

/// What one name gets: longer than one lost packet costs the system's resolver.
const LOOKUP: Duration = Duration::from_secs(7);

/// The Service that every cluster has.
const API_SERVICE: &str = "kubernetes.default.svc";

/// Looks names up where testbed runs in a pod, and asks for the right to port-forward elsewhere.
pub(super) async fn check(cluster: &Cluster, planned: &Planned<'_>) -> Vec<Verdict> {
    if planned.discovery.databases.is_empty() {
        return Vec::new();
    }
    if cluster.inside { inside(cluster, planned).await } else { vec![outside(cluster).await] }
}

async fn outside(cluster: &Cluster) -> Verdict {
    match forward::is_allowed(cluster).await {
        Ok(true) => Verdict::ok(
            CHECK,
            "testbed is outside the cluster: databases are reached through port-forwards, not by name",
        ),
        Ok(false) => {
            let right = forward::rights();
            let without = "`up` tries the Services' own addresses, and `run` and `up --forward` do not work outside the cluster";
            Verdict::warning(CHECK, format!("without {}, {without}", rules::summary(&right)))
                .remedy(rules::remedy(&right, &cluster.namespace))
        }
        Err(error) => Verdict::skipped(CHECK, format!("{error:#}")),
    }
}

async fn inside(cluster: &Cluster, planned: &Planned<'_>) -> Vec<Verdict> {
    let conf = match std::fs::read_to_string("/etc/resolv.conf") {
        Ok(text) => ResolvConf::parse(&text),
        Err(error) => return vec![Verdict::skipped(CHECK, format!("reading /etc/resolv.conf: {error}"))],
    };
    if let Some((why, remedy)) = conf.lacks(&cluster.namespace, cluster.home.as_deref()) {
        let hosts = hosts(planned);
        let problem =
            Verdict::problem(CHECK, format!("{why}; {} would not resolve", hosts.join(", "))).remedy(remedy);
        return vec![problem.on(service(hosts[0]))];
    }
    let services = match services(cluster).await {
        Ok(services) => services,
        Err(skipped) => return vec![skipped, api_server(&conf, planned).await],
    };
    let own = services.iter().filter(|found| {
        planned.objects.iter().any(|object| object.kind == "Service" && object.name == found.name)
    });
    let own: Vec<&Found> = own.collect();
    let sample = if own.is_empty() {
        services.iter().find(|found| found.address.is_some()).into_iter().collect()
    } else {
        own
    };
    if sample.is_empty() {
        return vec![api_server(&conf, planned).await];
    }
    let outcomes = futures::future::join_all(sample.iter().map(|found| found.check(&conf))).await;
    let verdicts: Vec<Verdict> = outcomes.into_iter().flatten().collect();
    if verdicts.is_empty() { vec![well(sample[0].name.as_str(), &conf)] } else { verdicts }
}

fn hosts<'a>(planned: &'a Planned<'_>) -> Vec<&'a str> {
    planned.discovery.databases.iter().map(|database| database.host.as_str()).collect()
}
fn well(name: &str, conf: &ResolvConf) -> Verdict {
    Verdict::ok(CHECK, format!("names of Services resolve in this pod, such as {name} ({})", conf.summary()))
}

/// The name of a Service that exists in any case stands for those that do not exist yet.
async fn api_server(conf: &ResolvConf, planned: &Planned<'_>) -> Verdict {
    match resolve(API_SERVICE).await {
        Ok(_) => well(API_SERVICE, conf),
        Err(why) => {
            let why = format!("{why}; {} would not either", hosts(planned).join(", "));
            unresolved(API_SERVICE, &why, conf).on(API_SERVICE)
        }
    }
}

fn unresolved(name: &str, why: &str, conf: &ResolvConf) -> Verdict {
    Verdict::problem(CHECK, format!("{name} does not resolve in this pod: {why} ({})", conf.summary())).remedy(
        "see whether the cluster's DNS runs and answers at that address (kubectl -n kube-system get pods,services -l k8s-app=kube-dns), \
         and whether a NetworkPolicy keeps this pod from it (port 53)",
    )
}

fn service(name: &str) -> String {
    format!("Service {name}")
}

struct Found {
    name: String,
    /// Its address; a headless one has none.
    address: Option<IpAddr>,
}

impl Found {
    /// Nothing if the name leads to the Service.
    async fn check(&self, conf: &ResolvConf) -> Option<Verdict> {
        let name = &self.name;
        let verdict = match (resolve(name).await, self.address) {
            (Ok(addresses), Some(address)) if !addresses.contains(&address) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let message = format!("{name} resolves to {} in this pod, and the Service has {address}", addresses.join(", "));
                Verdict::problem(CHECK, format!("{message} ({})", conf.summary()))
                    .remedy("see which DNS server this pod asks, and whether another domain of its search list has the name")
            }
            (Ok(_), _) => return None,
            (Err(why), Some(_)) => unresolved(name, &why, conf),
            (Err(why), None) => Verdict::warning(
                CHECK,
                format!("{name} does not resolve in this pod: {why}; it is headless, which takes a ready pod"),
            )
            .remedy(
                "look again once a pod behind it is ready; publishNotReadyAddresses: true in the Service makes the name resolve before",
            ),
        };
        Some(verdict.on(service(name)))
    }
}

/// The namespace's Services that have a name of their own in DNS.
async fn services(cluster: &Cluster) -> Result<Vec<Found>, Verdict> {
    let api = cluster.api::<Service>();
    let list = api.list(&ListParams::default()).await;
    let list = list.map_err(|error| {
        Verdict::skipped(CHECK, format!("{:#}", explain(cluster, error, "looking for Services to look up")))
    })?;
    let found = list.items.into_iter().filter_map(|service| {
        let spec = service.spec?;
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        Some(Found { name: service.metadata.name?, address: spec.cluster_ip.and_then(|ip| ip.parse().ok()) })
    });
    Ok(found.collect())
}

/// The addresses of a name, by the system's resolver, which `up` will use as well.
async fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    match timeout(LOOKUP, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(innermost(&error)),
        Err(_) => Err(format!("no answer within {} s", LOOKUP.as_secs())),
    }
}
