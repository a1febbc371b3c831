//! What `/etc/resolv.conf` says, and whether bare names of a namespace's Services can resolve by it. Pure.

/// The file's lines that count. The last `search` line wins, as for the system's resolver.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub nameservers: Vec<String>,
    pub search: Vec<String>,
}

impl ResolvConf {
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(String::from);
            match words.next().as_deref() {
                Some("nameserver") => conf.nameservers.extend(words.take(1)),
                Some("search" | "domain") => conf.search = words.collect(),
                _ => {}
            }
        }
        conf
    }

    /// Why bare names of the namespace's Services cannot resolve in a pod of the namespace `home`, and what
    /// to do; `None` if the file is right for them.
    pub(super) fn lacks(&self, namespace: &str, home: Option<&str>) -> Option<(String, String)> {
        const POLICY: &str = "leave out dnsPolicy and dnsConfig of testbed's pod (with hostNetwork: dnsPolicy: ClusterFirstWithHostNet)";
        if self.nameservers.is_empty() {
            return Some(("/etc/resolv.conf of this pod names no name server".into(), POLICY.into()));
        }
        let wanted = format!("{namespace}.svc");
        let fits = |domain: &String| {
            domain.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if self.search.iter().any(fits) {
            return None;
        }
        Some(match home.filter(|home| *home != namespace) {
            Some(home) => (
                format!(
                    "this pod is in namespace {home}, where the Services of namespace {namespace} do not resolve by their bare names"
                ),
                format!(
                    "run testbed in a pod of namespace {namespace}, or create the run in its own: -n {home}"
                ),
            ),
            None => (
                format!(
                    "the search domains of this pod do not have {wanted}.<the cluster's domain>: {}",
                    self.domains()
                ),
                POLICY.into(),
            ),
        })
    }

    /// Who is asked, and for what, in words.
    pub(super) fn summary(&self) -> String {
        let nameservers =
            if self.nameservers.is_empty() { "none".to_owned() } else { self.nameservers.join(", ") };
        format!("name server {nameservers}; search {}", self.domains())
    }

    fn domains(&self) -> String {
        if self.search.is_empty() { "none".into() } else { self.search.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "# made by the kubelet\nsearch ci.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";

    fn lacks(text: &str, namespace: &str) -> (String, String) {
        ResolvConf::parse(text).lacks(namespace, Some("ci")).unwrap()
    }

    #[test]
    fn the_usual_file_is_right_for_its_own_namespace() {
        let is_right = |text: &str| ResolvConf::parse(text).lacks("ci", Some("ci")).is_none();
        assert!(is_right(USUAL) && is_right("search ci.svc\nnameserver ::1\n"));
        assert!(
            is_right(&USUAL.replace("search ci.", "search ci.example.com\nsearch ci.")),
            "the last one wins"
        );
        assert!(!is_right(&USUAL.replace("search ci.", "search cicada.")));
    }

    #[test]
    fn another_namespace_is_named() {
        let (why, remedy) = lacks(USUAL, "other");
        assert!(why.contains("this pod is in namespace ci") && remedy.contains("-n ci"), "{why}: {remedy}");
    }

    #[test]
    fn what_a_dns_policy_leaves_out_is_named() {
        assert!(lacks("search ci.svc.cluster.local\n", "ci").0.contains("names no name server"));
        let (why, remedy) = lacks("nameserver 192.0.2.1\nsearch example.com\n", "ci");
        assert!(
            why.contains("ci.svc.<")
                && why.ends_with("example.com")
                && remedy.contains("ClusterFirstWithHostNet"),
            "{why}: {remedy}"
        );
        assert!(lacks("nameserver 192.0.2.1\n", "ci").0.ends_with("none"));
    }
}
