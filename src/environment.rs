//! The variables that this process was started with, and what they say of the cluster. One that is there and
//! empty says nothing: so come a pipeline's parameters with an empty default.

use std::path::PathBuf;

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

/// The files that `KUBECONFIG` names.
pub fn kubeconfigs() -> Vec<PathBuf> {
    let variable = std::env::var_os("KUBECONFIG").unwrap_or_default();
    std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// What names the cluster that a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `--kubeconfig`
    Kubeconfig,
    /// `--context`, in the files of `KUBECONFIG` or else the user's own.
    Context,
    /// `KUBECONFIG`
    Variable,
    /// The pod that this is.
    Pod,
}

/// What counts of all that names a cluster: what was typed, then `KUBECONFIG`, then where this is. Never the
/// user's own kubeconfig alone, which leads to whatever cluster was used last.
pub fn naming(has_kubeconfig: bool, has_context: bool) -> Option<Naming> {
    strongest(has_kubeconfig, has_context, !kubeconfigs().is_empty(), is_in_pod())
}

fn strongest(has_kubeconfig: bool, has_context: bool, has_variable: bool, is_in_pod: bool) -> Option<Naming> {
    let said = [
        (has_kubeconfig, Naming::Kubeconfig),
        (has_context, Naming::Context),
        (has_variable, Naming::Variable),
        (is_in_pod, Naming::Pod),
    ];
    said.into_iter().find(|(is_said, _)| *is_said).map(|(_, naming)| naming)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_counts_before_the_surroundings() {
        use Naming::{Context, Kubeconfig, Pod, Variable};
        // --kubeconfig, --context, KUBECONFIG, in a pod
        for (said, expected) in [
            ([false, false, false, false], None),
            ([false, false, false, true], Some(Pod)),
            ([false, false, true, false], Some(Variable)),
            ([false, false, true, true], Some(Variable)),
            ([false, true, false, false], Some(Context)),
            ([false, true, false, true], Some(Context)),
            ([false, true, true, true], Some(Context)),
            ([true, false, false, true], Some(Kubeconfig)),
            ([true, true, true, true], Some(Kubeconfig)),
        ] {
            let [kubeconfig, context, variable, pod] = said;
            assert_eq!(strongest(kubeconfig, context, variable, pod), expected, "{said:?}");
        }
    }
}
