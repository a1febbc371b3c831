//! The end of a container's log.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use tokio::time::timeout;

use super::Cluster;
use super::diagnose::Log;
use super::explain::is_forbidden;
use crate::failure::innermost;

/// A kubelet that takes longer than this is not waited for: the failure is told without the log.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How much of a log is asked for; 20 lines can be of any length.
const BYTES: i64 = 64 * 1024;

pub async fn tail(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    log: Log,
    lines: usize,
) -> Result<Vec<String>, String> {
    let api = cluster.api::<Pod>();
    let params = LogParams {
        container: Some(container.into()),
        previous: log == Log::Previous,
        tail_lines: i64::try_from(lines).ok(),
        limit_bytes: Some(BYTES),
        ..LogParams::default()
    };
    match timeout(TIMEOUT, api.logs(pod, &params)).await {
        Ok(Ok(text)) if text.trim().is_empty() => Err("its log is empty".into()),
        Ok(Ok(text)) => Ok(text.lines().map(Into::into).collect()),
        Ok(Err(error)) if is_forbidden(&error) => {
            Err("its log may not be read: that needs the verb get on pods/log".into())
        }
        Ok(Err(error)) => Err(format!("its log cannot be read: {}", innermost(&error))),
        Err(_) => Err(format!("its log did not arrive within {} s", TIMEOUT.as_secs())),
    }
}
