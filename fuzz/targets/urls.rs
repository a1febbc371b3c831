//! Every text that is a URL or an address: no error and nothing that is printed shows a password.
#![no_main]

use std::fmt::Display;

use libfuzzer_sys::fuzz_target;
use testbed::commands::wait::Server;
use testbed::history::place::Place;
use testbed::history::results::ResultsApi;
use testbed::history::store;
use testbed::manifest::images::Mirror;
use testbed_fuzz::SECRET;

fuzz_target!(|data: &[u8]| {
    let Some(text) = testbed_fuzz::text(data) else { return };
    let _ = look(text);
    // The text's lines stand around a password that is one beyond doubt: nothing before it ends a host.
    let Some((before, after)) = text.split_once('\n') else { return };
    let is_user = before.split_once("://").is_some_and(|(scheme, user)| {
        scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) && !user.contains(['/', '?', '#', '\\'])
    });
    // A file's path is no secret.
    let is_user = is_user && !before.starts_with("sqlite:");
    if is_user {
        for told in look(&format!("{before}:{SECRET}@{after}")) {
            assert!(!told.to_lowercase().contains(&SECRET.to_lowercase()), "{told}");
        }
    }
});

/// Reads a text wherever testbed takes one, and returns all that it says of it.
fn look(text: &str) -> Vec<String> {
    let mut told = Vec::new();
    match Server::parse(text, None) {
        Ok(server) => told.push(format!("{} {:?}", server.address, server.target)),
        Err(error) => told.push(all(&error)),
    }
    match Place::parse(text) {
        Ok(Some(place)) => {
            told.push(format!("{place} {place:?} {}", place.has_password()));
            told.extend(store::check(&place).err().map(|error| all(&error)));
        }
        Ok(None) => {}
        Err(error) => told.push(all(&error)),
    }
    told.extend(ResultsApi::new(text, None, Some("no certificate")).err().map(|error| all(&error)));
    // An image has no password.
    let _ = Mirror::parse(text);
    told
}

fn all(error: &(impl Display + std::fmt::Debug)) -> String {
    format!("{error:#} {error:?}")
}
