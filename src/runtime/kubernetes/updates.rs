//! The objects of one kind and all their changes. Lost connections are taken up again.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::Api;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Error, Resource};
use serde::de::DeserializeOwned;

use super::backoff::Pauses;
use super::explain::{Grant, is_absent, is_forbidden};

#[derive(Debug)]
pub enum Update<T> {
    /// All that there is: at the beginning, and whenever something may have been missed.
    All(Vec<T>),
    /// One is new, or has changed.
    Changed(T),
    /// One is gone; it was like that.
    Deleted(T),
    /// Nothing is heard for now. What is missed comes with the next list.
    Interrupted(Error),
}

/// A watch follows its list at once: one that is refused later than this had begun, with the right to it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Watches what the `config` selects. Of each object only what `keep` returns is kept, which sees them
/// without their managed fields: most of an object's size, and of no use here.
///
/// An error is one that will not pass: they may not be watched, or there is nothing of their kind.
pub fn updates<K, T>(
    api: Api<K>,
    config: Config,
    mut keep: impl FnMut(K) -> Option<T> + Send + 'static,
) -> BoxStream<'static, Result<Update<T>, Error>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Send + 'static,
{
    let begun = Instant::now();
    let (mut listed, mut heard_at, mut grant) = (Vec::new(), None::<Instant>, Grant::default());
    let mut kept = move |mut object: K| {
        object.meta_mut().managed_fields = None;
        keep(object)
    };
    let updates = watch(api, config).backoff(Pauses::default()).filter_map(move |event| {
        let update = match event {
            Ok(Event::Init) => {
                listed.clear();
                None
            }
            Ok(Event::InitApply(object)) => {
                listed.extend(kept(object));
                None
            }
            Ok(Event::InitDone) => Some(Update::All(std::mem::take(&mut listed))),
            Ok(Event::Apply(object)) => kept(object).map(Update::Changed),
            Ok(Event::Delete(object)) => kept(object).map(Update::Deleted),
            Err(error) => {
                let error = match error {
                    watcher::Error::InitialListFailed(error)
                    | watcher::Error::WatchStartFailed(error)
                    | watcher::Error::WatchFailed(error) => error,
                    watcher::Error::WatchError(status) => Error::Api(status),
                    watcher::Error::NoResourceVersion => return std::future::ready(None),
                };
                let is_denied = is_forbidden(&error) || is_absent(&error);
                if !is_denied || heard_at.is_some_and(|at| at.elapsed() > AT_ONCE) {
                    grant.may_come_back();
                }
                let is_gone = is_denied && grant.is_gone(begun.elapsed());
                return std::future::ready(Some(if is_gone {
                    Err(error)
                } else {
                    Ok(Update::Interrupted(error))
                }));
            }
        };
        if update.is_some() && heard_at.replace(Instant::now()).is_some() {
            grant = Grant::granted();
        }
        std::future::ready(update.map(Ok))
    });
    updates.boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;
    use tower::BoxError;

    use super::*;

    /// What is told first by a server that answers every list with one code, and the watches with these, the
    /// last one again and again.
    async fn told(list: u16, watches: &'static [u16], count: usize) -> Vec<&'static str> {
        let opened = AtomicUsize::new(0);
        let service = tower::service_fn(move |request: Request<Body>| {
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let number = if is_watch { opened.fetch_add(1, Ordering::Relaxed) } else { 0 };
            let code = if is_watch { watches[number.min(watches.len() - 1)] } else { list };
            let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "2"}});
            let body = match (code, is_watch) {
                (200, true) => json!({"type": "ADDED", "object": object}),
                (200, false) => {
                    json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})
                }
                _ => {
                    json!({"kind": "Status", "status": "Failure", "code": code, "message": "no", "reason": "no", "metadata": {}})
                }
            };
            async move {
                Ok::<_, BoxError>(
                    Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))?,
                )
            }
        });
        let api: Api<ConfigMap> = Api::default_namespaced(Client::new(service, "default"));
        let word = |update| match update {
            Ok(Update::All(_)) => "all",
            Ok(Update::Changed(_)) => "changed",
            Ok(Update::Deleted(_)) => "deleted",
            Ok(Update::Interrupted(_)) => "interrupted",
            Err(_) => "refused",
        };
        updates(api, Config::default(), Some).take(count).map(word).collect().await
    }

    #[tokio::test]
    async fn what_is_refused_after_it_was_allowed_may_pass() {
        assert_eq!(told(403, &[403], 1).await, ["refused"]);
        assert_eq!(told(404, &[404], 1).await, ["refused"]);
        assert_eq!(told(200, &[403], 2).await, ["all", "refused"]);
        assert_eq!(
            told(200, &[500, 403, 404, 200], 5).await,
            ["all", "interrupted", "interrupted", "interrupted", "changed"]
        );
        assert_eq!(told(200, &[200, 403, 200], 4).await, ["all", "changed", "interrupted", "changed"]);
    }
}
