//! The way from outside to a database: one port-forward stays open for it, however the API server can be had
//! to open one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::audit;
use crate::credentials::account;
use crate::harness::Namespace;
use crate::proxy::Altering;
use crate::support::Folder;

/// What the documentation asks of a user outside the cluster.
const RULES: &str = "[{apiGroups: [''], resources: [pods, services, secrets], verbs: [create, delete, get, list, watch, patch]}, \
    {apiGroups: [''], resources: [events], verbs: [list, watch]}, {apiGroups: [''], resources: [pods/log], verbs: [get]}, \
    {apiGroups: [''], resources: [pods/portforward], verbs: [create, get]}]";

/// The header by which a client asks for what its port-forward speaks within a WebSocket, as kube's client
/// writes it.
const ASKS: &str = "sec-websocket-protocol: SPDY/3.1+portforward.k8s.io";

#[test]
fn a_wait_from_outside_makes_few_requests() {
    let namespace = Namespace::new("requests");
    let config = Folder::new();
    let folder = namespace.folder_as(&account(&namespace, &config, RULES));
    folder.call(&["up", "--with", "postgres", "--with", "mysql", "--run-id", "run-1"]).ok();
    let Some(requests) = audit::requests_of(&namespace, "limited") else { return };
    let forwards =
        requests.iter().filter(|request| request["objectRef"]["subresource"] == "portforward").count();
    // A second one where an attempt is late, so that another begins beside it; a third while the node holds up
    // a goodbye.
    assert!((2..=6).contains(&forwards), "{forwards} port-forwards: {:?}", audit::verbs(&requests));
    // Six objects, who may forward a port (two), what the run has by then and later (four), events (two),
    // logs and notes (two each).
    assert!(requests.len() - forwards <= 18, "{} requests: {:?}", requests.len(), audit::verbs(&requests));
    assert!(audit::denied(&requests).is_empty());
    folder.call(&["down"]).ok();
}

/// API servers of before 1.31, and some of what stands before one.
#[test]
fn port_forwards_are_opened_where_websockets_do_not_carry_them() {
    let (asked, namespace) = (Arc::new(AtomicUsize::new(0)), Namespace::new("spdy"));
    let counted = asked.clone();
    let altering = Altering::start(
        move |head| {
            if head.starts_with("POST ") && head.contains("/portforward") {
                counted.fetch_add(1, SeqCst);
            }
            head.replace(ASKS, "sec-websocket-protocol: none.example.com")
        },
        str::to_owned,
    );
    let config = Folder::new();
    let folder = namespace.folder_as(&altering.kubeconfig(&config));
    folder.call(&["up", "--with", "postgres", "--run-id", "run-1"]).ok();
    assert!(asked.load(SeqCst) > 0);
    folder.call(&["down"]).ok();
}

/// Nothing of what is told is the server's: it is there, and takes logins.
#[test]
fn a_port_forward_that_is_not_to_be_had_is_told_from_a_server_that_is_not_there() {
    let (asked, namespace) = (Arc::new(AtomicUsize::new(0)), Namespace::new("noforward"));
    let counted = asked.clone();
    let altering = Altering::start(
        move |head| {
            counted.fetch_add(usize::from(head.contains("/portforward")), SeqCst);
            head.replace("/portforward", "/portforwards")
        },
        str::to_owned,
    );
    let config = Folder::new();
    let folder = namespace.folder_as(&altering.kubeconfig(&config));
    let up = folder.call(&["up", "--with", "postgres", "--run-id", "run-1", "--timeout", "15s"]).fails(3);
    up.says("postgres: initialising (the port-forward is not opened: pod postgres-run-1: ");
    // In both ways, with growing pauses: without these it was asked 725 times.
    assert!((2..=40).contains(&asked.load(SeqCst)), "{} requests", asked.load(SeqCst));
    folder.call(&["down", "--run-id", "run-1"]).ok();
}
