//! The variables that this process was started with. One that is there and empty says nothing: so come a pipeline's parameters with an empty
//! default.

/// A variable's text; `None` where it is not there, is empty, or is no text.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a variable says something.
pub fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Whether this is a container of a pod: the kubelet tells it where the API server is.
pub fn is_in_pod() -> bool {
    is_set("KUBERNETES_SERVICE_HOST")
}
