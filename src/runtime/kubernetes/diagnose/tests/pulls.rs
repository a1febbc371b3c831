//! Images: messages of real container runtimes.

use super::super::super::events::tests::note;
use super::*;

#[test]
fn pulls_that_cannot_succeed() {
    for (message, what) in [
        // containerd
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/library/mysql:nope\": failed to resolve reference \"registry.example/library/mysql:nope\": registry.example/library/mysql:nope: not found",
            "does not have the image",
        ),
        (
            "failed to pull and unpack image \"registry.example/image/doesnotexist:latest\": failed to resolve reference \"registry.example/image/doesnotexist:latest\": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            "does not let this pod pull",
        ),
        (
            "rpc error: code = Unknown desc = failed to pull and unpack image \"127.0.0.1:5000/a:1\": failed to resolve reference \"127.0.0.1:5000/a:1\": pulling from host 127.0.0.1:5000 failed with status code [manifests 1]: 401 Unauthorized",
            "does not let this pod pull",
        ),
        (
            "failed to resolve reference \"registry.example/a:1\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://registry.example/jwt/auth?service=container_registry: 403 Forbidden",
            "does not let this pod pull",
        ),
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/a:1\": no match for platform in manifest: not found",
            "does not exist for the node's kind of processor",
        ),
        // A name may say anything.
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example/timeout:429\": failed to resolve reference \"registry.example/timeout:429\": registry.example/timeout:429: not found",
            "does not have the image",
        ),
        // containerd 2
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"127.0.0.1:5000/a:1\": failed to resolve image: 127.0.0.1:5000/a:1: not found",
            "does not have the image",
        ),
        // CRI-O
        (
            "rpc error: code = Unknown desc = Error reading manifest latest in registry.example/image: manifest unknown: manifest unknown",
            "does not have the image",
        ),
        (
            "rpc error: code = Unknown desc = reading manifest latest in registry.example/team/app: unauthorized: access to the requested resource is not authorized",
            "does not let this pod pull",
        ),
        (
            "Error reading manifest latest in registry.example/crio/busybox: errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required",
            "does not let this pod pull",
        ),
        // dockershim
        (
            "rpc error: code = Unknown desc = Error response from daemon: pull access denied for auth, repository does not exist or may require 'docker login'",
            "does not let this pod pull",
        ),
        (
            "rpc error: code = Unknown desc = Error response from daemon: manifest for mysql:9.7 not found: manifest unknown: manifest unknown",
            "does not have the image",
        ),
    ] {
        let cause = cause(database_health(&waiting("ErrImagePull", message)));
        assert!(cause.what.contains(what), "{message}\n{}", cause.what);
        assert!(cause.what.contains("mysql:9.7 of container db"), "{}", cause.what);
    }
    assert!(cause(database_health(&waiting("InvalidImageName", "x"))).what.contains("is not valid"));
    assert!(
        cause(database_health(&waiting("ErrImageNeverPull", "x")))
            .what
            .contains("imagePullPolicy: Never forbids")
    );
}

/// The container's status tells of a volume's image as if it were its own.
#[test]
fn an_image_that_a_volume_shows_is_told_from_the_containers_own() {
    let refused = |image: &str| {
        format!("failed to pull and unpack image \"{image}\": failed to resolve image: {image}: not found")
    };
    for (reference, pulled, expected) in [
        ("r.example/tools:1", "r.example/tools:1", "the image r.example/tools:1 of volume tools"),
        ("tools:1", "docker.io/library/tools:1", "the image tools:1 of volume tools"),
        ("r.example/mysql:9.7", "r.example/mysql:9.7", "the image r.example/mysql:9.7 of volume tools"),
        ("r.example/mysql:9.7", "docker.io/library/mysql:9.7", "the image mysql:9.7 of container db"),
        ("mysql:9.7", "docker.io/library/mysql:9.7", "the image mysql:9.7 of container db"),
        ("tools:1", "docker.io/library/mysql:9.7", "the image mysql:9.7 of container db"),
    ] {
        let mut pod = waiting("ErrImagePull", &refused(pulled));
        pod.spec.as_mut().unwrap().volumes =
            serde_json::from_value(json!([{"name": "tools", "image": {"reference": reference}}])).unwrap();
        let cause = cause(database_health(&pod));
        assert!(cause.what.ends_with(expected), "{cause:?}");
        assert_eq!(cause.container.is_none(), expected.contains("volume"), "{cause:?}");
    }
}

#[test]
fn pulls_that_may_succeed_later() {
    for (message, why) in [
        (
            "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry.example/v2/a/manifests/sha256:9538: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.",
            "limits the rate",
        ),
        (
            "reading manifest 1.13 in registry.example/library/nginx: toomanyrequests: You have reached your pull rate limit.",
            "limits the rate",
        ),
        (
            "failed to authorize: failed to fetch anonymous token: Get \"https://registry.example/token?scope=a\": dial tcp 192.0.2.1:443: i/o timeout",
            "does not answer in time",
        ),
        (
            "Error response from daemon: Get https://registry.example/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            "does not answer in time",
        ),
        ("Get \"https://registry.example/v2/\": net/http: TLS handshake timeout", "does not answer in time"),
        (
            "error pinging docker registry registry.example: Get \"https://registry.example/v2/\": proxyconnect tcp: dial tcp: lookup http: Temporary failure in name resolution",
            "cannot be resolved",
        ),
        ("dial tcp: lookup registry.example on 10.0.0.10:53: no such host", "cannot be resolved"),
        (
            "failed to do request: Head \"http://127.0.0.1:5001/v2/x/manifests/1\": dial tcp 127.0.0.1:5001: connect: connection refused",
            "cannot be reached",
        ),
        ("dial udp 10.255.255.53:53: connect: network is unreachable", "cannot be reached"),
        (
            "read tcp 10.0.0.1:4->192.0.2.1:443: read: connection reset by peer",
            "connection to the registry breaks",
        ),
        (
            "failed to fetch anonymous token: Get \"https://registry.example/token\": EOF",
            "connection to the registry breaks",
        ),
        (
            "failed to resolve reference \"a\": pulling from host a failed with status code [manifests 1]: 503 Service Unavailable",
            "error of its own",
        ),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status: 502 Bad Gateway",
            "error of its own",
        ),
        // A broken snapshot on the node, not an absent image.
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"a\": failed to prepare extraction snapshot \"extract-1 sha256:9\": parent snapshot sha256:0 does not exist: not found",
            "could not pull it",
        ),
        (
            "failed commit on ref \"layer\": unexpected commit digest sha256:a8f429, expected sha256:9c",
            "could not pull it",
        ),
        ("failed to authorize: unexpected status: 429", "limits the rate"),
        ("something new", "could not pull it"),
    ] {
        let pod = waiting("ErrImagePull", message);
        let Health::Wait { why: said, .. } = database_health(&pod) else {
            panic!("{message}: {:?}", database_health(&pod))
        };
        assert!(said.contains(why), "{message}\n{said}");
        assert_eq!(budget(&pod, &[]), Some(120));
    }
}

#[test]
fn a_pull_is_given_up_when_its_budget_is_over_whatever_the_message_says_meanwhile() {
    let (subject, start) = (database("Pod/db"), Instant::now());
    let mut history = History::default();
    let mut look = |pod: &Pod, events: &[Note], after: u64| {
        let now = start + Duration::from_secs(after);
        diagnose(&Case { pod, subject: &subject, events, budgets: BUDGETS }, &mut history, now)
    };
    let refused = waiting("ErrImagePull", "connection refused");
    let back_off = waiting("ImagePullBackOff", "Back-off pulling image \"mysql:9.7\"");
    let until = |health: Health| match health {
        Health::Wait { until, .. } => until.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(until(look(&refused, &[], 0)), start + BUDGETS.pull);
    assert_eq!(until(look(&back_off, &[], 60)), start + BUDGETS.pull);
    assert_eq!(until(look(&waiting("ErrImagePull", "i/o timeout"), &[], 100)), start + BUDGETS.pull);
    let cause = cause(look(&back_off, &[], 120));
    assert_eq!(
        cause.what,
        "the image mysql:9.7 of container db still cannot be pulled after 2m: the registry does not answer in time"
    );
    // A pod that has got its image has a fresh budget for the next fault.
    assert_eq!(look(&with_state(json!({"running": {}}), json!({}), 0), &[], 121), Health::Fine);
    assert_eq!(until(look(&refused, &[], 200)), start + Duration::from_secs(200) + BUDGETS.pull);
}

#[test]
fn the_reason_of_a_pull_is_found_in_the_events_too() {
    let back_off = waiting("ImagePullBackOff", "Back-off pulling image \"mysql:9.7\"");
    let failed = note("Failed", "Failed to pull image \"mysql:9.7\": manifest unknown", 1);
    assert!(cause(look(&back_off, &database("Pod/db"), &[failed])).what.contains("does not have the image"));
    // New kubelets say it in the state.
    let told = waiting(
        "ImagePullBackOff",
        "Back-off pulling image \"mysql:9.7\": ErrImagePull: rpc error: code = Unknown desc = manifest unknown",
    );
    assert!(cause(database_health(&told)).what.contains("does not have the image"));
}
