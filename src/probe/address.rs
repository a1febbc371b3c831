//! The addresses behind a host's name, of version 4 and 6.
//!
//! They are tried one at a time and by testbed itself: a driver that goes through them on its own tells of
//! the last one, also where the server behind the first one has said why it refuses.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::refusal::{Kind, Refusal};

/// The addresses of a host in the system's order of preference, but `first` before all others if it is still
/// one of them. A host that is an address stands for itself.
pub(super) async fn addresses(
    host: &str,
    port: u16,
    first: Option<IpAddr>,
    limit: Duration,
) -> Result<Vec<IpAddr>, Refusal> {
    let Ok(found) = timeout(limit, lookup_host((host, port))).await else {
        return Err(Refusal::plain(
            Kind::Silent,
            format!("the name {host} is not looked up within {} s", limit.as_secs()),
        ));
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map_err(|error| Refusal::network(&error))? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    addresses.sort_by_key(|address| Some(*address) != first);
    if addresses.is_empty() {
        return Err(Refusal::plain(Kind::Refused, format!("the name {host} has no address")));
    }
    Ok(addresses)
}

/// What to say where no address of a host answers: a silent one says more than one that refuses.
pub(super) fn worst(refusals: Vec<Refusal>) -> Refusal {
    let first = refusals.into_iter().min_by_key(|refusal| refusal.kind != Kind::Silent);
    first.unwrap_or_else(|| Refusal::plain(Kind::Refused, "no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, first: Option<&str>) -> Result<Vec<String>, Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = first.map(|text| text.parse().unwrap());
        let addresses = runtime.block_on(addresses(host, 3306, first, Duration::from_secs(10)))?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_address_stands_for_itself() {
        for address in ["::1", "fd00::2:3", "127.0.0.1"] {
            assert_eq!(found(address, Some("10.0.0.1")).unwrap(), [address]);
        }
    }

    #[test]
    fn a_name_that_does_not_exist_is_waited_for() {
        let refusal = found("testbed.invalid", None).unwrap_err();
        assert!(!refusal.kind.may_be_for_ever(), "{refusal:?}");
    }

    #[test]
    fn a_silent_address_is_told_of_before_one_that_refuses() {
        let refusal = |kind, text: &str| Refusal::plain(kind, text);
        let (refused, silent) =
            (refusal(Kind::Refused, "connection refused"), refusal(Kind::Silent, "no answer"));
        assert_eq!(worst(vec![refused.clone(), silent.clone()]), silent);
        assert_eq!(worst(vec![refused.clone(), refusal(Kind::Refused, "network is unreachable")]), refused);
    }
}
