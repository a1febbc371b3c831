//! Which Service leads to a server: by selector and target port.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::{Container, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Workload;
use crate::failure::Advise;

/// Whether a Service selects pods with these labels. A Service without selector selects none.
pub fn selects(service: &Service, labels: &BTreeMap<String, String>) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// Host name and port under which clients in the cluster reach `port` of the workload's container. A headless
/// Service without ports leads to any; where the container is only guessed to be a server, to those that it
/// declares.
///
/// # Errors
/// A message that tells whether a Service is missing or selects the pod on other ports only.
pub fn address(
    services: &[Service],
    workload: &Workload,
    container: &Container,
    port: u16,
    is_guess: bool,
) -> anyhow::Result<(String, u16)> {
    let mut fitting: Vec<&Service> =
        services.iter().filter(|service| selects(service, &workload.labels)).collect();
    // Of several, the one that is called like it: a chart has more for its own needs.
    let is_namesake = |service: &&Service| workload.id.rsplit('/').next() == service.metadata.name.as_deref();
    fitting.sort_by_key(|service| !is_namesake(service));
    for service in &fitting {
        let Some(spec) = &service.spec else { continue };
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let ports = spec.ports.iter().flatten();
        if let Some(found) = ports.clone().find(|candidate| target(candidate, container) == Some(port)) {
            // A headless Service's name is the pod's own address: no proxy translates the port.
            let outside = if headless { port } else { u16::try_from(found.port).unwrap_or(port) };
            return Ok((service.metadata.name.clone().unwrap_or_default(), outside));
        }
        if headless && ports.count() == 0 && (!is_guess || declares(container, port)) {
            return Ok((service.metadata.name.clone().unwrap_or_default(), port));
        }
    }
    match fitting.first() {
        None => bail!(
            "no Service selects it; add one whose selector matches the pod's labels and whose targetPort is {port}"
        ),
        Some(service) => Err(anyhow!(
            "Service {} selects it, but none of its ports leads to port {port} of the container {}",
            service.metadata.name.as_deref().unwrap_or_default(),
            container.name
        ))
        .hint("where a file or a script says another port to the server, the pod's annotation testbed/port says it too"),
    }
}

/// Whether the container says that it listens on the port.
pub(super) fn declares(container: &Container, port: u16) -> bool {
    container.ports.iter().flatten().any(|own| own.container_port == i32::from(port))
}

/// The container port that a Service's port leads to.
fn target(port: &ServicePort, container: &Container) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let ports = container.ports.iter().flatten();
            ports.clone().find(|candidate| candidate.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}
