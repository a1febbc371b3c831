//! The variables that lead a command to a run's pool of fresh databases.

use super::Environment;
use crate::environment::variable;

/// Where published clients look for the address, and a name that no project can give another meaning.
pub const VARIABLES: [&str; 3] = ["INTEGRESQL_CLIENT_BASE_URL", "INTEGRESQL_BASE_URL", OWN_VARIABLE];
pub const OWN_VARIABLE: &str = "TESTBED_POOL_URL";

/// Tells a command where a pool is, in the variables of testbed and of IntegreSQL's clients.
pub fn tell(url: &str, environment: &mut Environment) {
    for name in VARIABLES {
        if !environment.set.iter().any(|(set, _)| set == name) {
            environment.set.push((name.to_owned(), url.to_owned()));
        }
    }
}

/// Sees to it that a command of this run is not led to the pool of another one, which its caller has.
pub fn lead_nowhere(run_id: &str, environment: &mut Environment) {
    // A command of the run itself may go on with what that was told.
    if variable("TESTBED_RUN_ID").is_none_or(|of| of != run_id) {
        remove(environment);
    }
}

/// Sees to it that a command is led to no pool, whatever its caller has.
pub fn remove(environment: &mut Environment) {
    for name in VARIABLES {
        let is_set = environment.set.iter().any(|(set, _)| set == name);
        if !is_set && variable(name).is_some_and(|url| is_address(&url)) {
            environment.removed.push(name.to_owned());
        }
    }
}

/// Whether an address is one that testbed gives its pools.
fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/api"));
    rest.and_then(|rest| rest.split_once('/')).is_some_and(|(port, token)| {
        port.parse::<u16>().is_ok() && token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
