//! One database out of several places that mean the same one, and a name of its own for each.

use std::collections::HashSet;

use super::{Found, Purpose, write};
use crate::database::{Engine, check_name};

/// What is proposed, and what is not because of it, each with its place and the reason.
#[derive(Debug, Default)]
pub struct Merged {
    pub found: Vec<Found>,
    pub aside: Vec<String>,
}

/// In the order of what was found: the first place gives the name, later ones complete what it leaves open. What
/// says no more than its engine and version means the best of those that say more.
pub fn merge(found: Vec<Found>) -> Merged {
    let mut merged: Vec<Found> = Vec::new();
    for one in found {
        match merged.iter_mut().find(|known| is_same(known, &one)) {
            Some(known) => complete(known, one),
            None => merged.push(one),
        }
    }
    for index in (0..merged.len()).rev() {
        if !is_bare(&merged[index]) {
            continue;
        }
        let one = merged.remove(index);
        let may_be_meant = |known: &&mut Found| {
            known.is_server && known.purpose != Purpose::Other && !is_bare(known) && is_alike(known, &one)
        };
        match merged.iter_mut().filter(may_be_meant).min_by_key(|known| rank(known)) {
            Some(known) => complete(known, one),
            None => merged.insert(index, one),
        }
    }
    let mut merged = choose(merged);
    name(&mut merged.found);
    merged.aside.extend(merged.found.iter_mut().flat_map(pass_over));
    for one in &mut merged.found {
        let mut told = HashSet::new();
        one.places.retain(|place| told.insert(place.text.clone()));
    }
    merged
}

/// Passes over names that no server takes, and tells them.
fn pass_over(one: &mut Found) -> Vec<String> {
    let place = one.places.first().map_or_else(String::new, |place| format!("{}: ", place.text));
    let mut told = Vec::new();
    for (what, name) in [("database", &mut one.database), ("user", &mut one.user)] {
        if let Some(Err(why)) = name.as_ref().map(|name| check_name(one.engine, what, name)) {
            *name = None;
            told.push(format!("{place}{why}"));
        }
    }
    told
}

/// How good a source is: what is for tests before what is for development, and a server that is described
/// before what a program wants to find.
fn rank(found: &Found) -> usize {
    match (found.purpose, found.is_server) {
        (Purpose::Tests, true) => 0,
        (Purpose::Tests, false) => 1,
        (Purpose::Development, true) => 2,
        (Purpose::Part, true) => 3,
        (Purpose::Development | Purpose::Part, false) => 4,
        (Purpose::Other, true) => 5,
        (Purpose::Other, false) => 6,
    }
}

/// Of each engine, leaves those of the best source.
fn choose(found: Vec<Found>) -> Merged {
    let is_asked = |found: &Found| found.places.iter().any(|place| place.group == ASKED);
    let mut best: Vec<Found> = Vec::new();
    let mut rest: Vec<Found> = Vec::new();
    for (index, one) in found.iter().enumerate() {
        let gives_way = |other: &Found| {
            !is_asked(other) && (other.engine == one.engine && rank(other) < rank(one))
            // A file of SQLite is what a program begins with, where it names no server.
            || one.engine == Engine::Sqlite && !one.is_server && other.engine != Engine::Sqlite && rank(other) <= 4
        };
        // A program's own settings name databases of one server.
        let is_second = !one.is_server
            && found[..index].iter().any(|other| other.engine == one.engine && rank(other) == rank(one));
        if !is_asked(one) && (is_second || found.iter().any(gives_way)) {
            rest.push(one.clone());
        } else {
            best.push(one.clone());
        }
    }
    // What a program wants to find says nothing of the server: that is as the best description of one has it.
    for one in best.iter_mut().filter(|one| !one.is_server && one.tag.is_none()) {
        let servers = || rest.iter().filter(|other| other.is_server && other.engine == one.engine);
        let Some(least) = servers().map(rank).min() else { continue };
        let mut equal = servers().filter(|other| rank(other) == least);
        if let (Some(server), None) = (equal.next(), equal.next()) {
            one.name.clone_from(&server.name);
            one.tag.clone_from(&server.tag);
            one.image.clone_from(&server.image);
            one.init.clone_from(&server.init);
            one.args.clone_from(&server.args);
            one.port = one.port.or(server.port);
        }
    }
    let aside = rest.iter().map(|one| {
        let taken = best.iter().filter(|other| other.engine == one.engine).chain(&best).next();
        let instead = taken.map_or("another one", place);
        format!("{}: {} is not proposed, for {instead} is", place(one), write::summary(one))
    });
    Merged { aside: aside.collect(), found: best }
}

/// Where it is described, in the last of the files that are merged: the first one may be that of others too.
fn place(one: &Found) -> &str {
    let group = one.places.first().map(|place| &place.group);
    one.places.iter().rfind(|place| Some(&place.group) == group).map_or("", |place| &place.text)
}

/// The group of what was asked for.
pub const ASKED: &str = "--with";

/// Whether a server is described that tests need, and nothing of what is in it.
fn is_bare(one: &Found) -> bool {
    one.is_server
        && one.purpose == Purpose::Tests
        && one.user.is_none()
        // The one that an image makes by itself.
        && one.database.as_deref().is_none_or(|name| one.engine == Engine::Postgres && name == "postgres")
        && one.init.is_empty()
        && one.args.is_empty()
        && one.places.iter().all(|place| place.group != ASKED)
}

/// Whether two places can mean one database: they agree, and nothing uses the two side by side.
fn is_same(known: &Found, other: &Found) -> bool {
    is_alike(known, other)
        // A user that is left open is the engine's own, and not just any.
        && (known.user == other.user || known.user_unknown || other.user_unknown)
        && agree(known.database.as_ref(), other.database.as_ref())
}

/// The same of their servers alone.
fn is_alike(known: &Found, other: &Found) -> bool {
    // An image of its own comes with a version of its own.
    let versions =
        (known.image.is_none() || other.tag.is_none()) && (known.tag.is_none() || other.image.is_none());
    known.engine == other.engine
        && versions
        && agree(known.tag.as_ref(), other.tag.as_ref())
        && agree(known.image.as_ref(), other.image.as_ref())
        && !known.places.iter().any(|place| other.places.iter().any(|other| place.group == other.group))
}

fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

fn complete(known: &mut Found, other: Found) {
    known.tag = known.tag.take().or(other.tag);
    known.image = known.image.take().or(other.image);
    if known.user_unknown {
        (known.user, known.user_unknown) = (other.user, other.user_unknown);
    }
    known.database = known.database.take().or(other.database);
    known.port = known.port.or(other.port);
    if known.init.is_empty() {
        known.init = other.init;
    }
    if known.args.is_empty() {
        known.args = other.args;
    }
    known.has_password |= other.has_password;
    known.purpose = known.purpose.min(other.purpose);
    known.is_server |= other.is_server;
    known.places.extend(other.places);
}

/// Makes every name one of its own. A database may not be called like its engine if there is another one of
/// that engine: parameters of the one would hold for both.
fn name(found: &mut [Found]) {
    for index in 0..found.len() {
        let wanted = found[index].name.clone();
        let taken =
            |name: &str| found.iter().enumerate().any(|(other, found)| other < index && found.name == name);
        let stands_for_others = |name: &str| {
            let engine = Engine::parse(name).ok().filter(|engine| engine.name() == name);
            engine.is_some_and(|engine| {
                found.iter().enumerate().any(|(other, found)| other != index && found.engine == engine)
            })
        };
        if taken(&wanted) || stands_for_others(&wanted) {
            let free = (1..)
                .map(|number| format!("{wanted}-{number}"))
                .find(|name| found.iter().all(|found| found.name != *name));
            found[index].name = free.unwrap_or(wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    fn merge(found: Vec<Found>) -> Vec<Found> {
        super::merge(found).found
    }

    fn found(name: &str, group: &str, tag: Option<&str>, database: Option<&str>) -> Found {
        Found {
            tag: tag.map(Into::into),
            database: database.map(Into::into),
            ..Found::new(name.into(), Engine::Postgres, Place { group: group.into(), text: group.into() })
        }
    }

    #[test]
    fn places_that_agree_are_one_database() {
        let merged =
            merge(vec![found("db", "a", Some("17"), None), found("postgres", "b", None, Some("shop"))]);
        assert_eq!(merged.len(), 1);
        assert_eq!(
            (merged[0].name.as_str(), merged[0].tag.as_deref(), merged[0].database.as_deref()),
            ("db", Some("17"), Some("shop"))
        );
        assert_eq!(merged[0].places.len(), 2);
    }

    #[test]
    fn places_that_differ_or_stand_side_by_side_are_not() {
        assert_eq!(
            merge(vec![found("db", "a", Some("17"), None), found("db", "b", Some("16"), None)]).len(),
            2
        );
        assert_eq!(merge(vec![found("one", "a", None, None), found("two", "a", None, None)]).len(), 2);
    }

    #[test]
    fn a_user_that_is_not_known_may_be_any() {
        let unknown = |user_unknown| Found { user_unknown, ..found("db", "a", Some("17"), Some("shop")) };
        let app = Found { user: Some("app".into()), ..found("postgres", "b", None, Some("shop")) };
        assert_eq!(merge(vec![unknown(false), app.clone()]).len(), 2);
        for order in [vec![unknown(true), app.clone()], vec![app, unknown(true)]] {
            let merged = merge(order);
            assert_eq!((merged.len(), merged[0].user.as_deref()), (1, Some("app")));
        }
    }

    #[test]
    fn names_are_free_and_no_engines() {
        let merged = merge(vec![
            found("db", "a", None, None),
            found("db", "a", None, None),
            found("postgres", "a", None, None),
        ]);
        let names: Vec<_> = merged.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["db", "db-1", "postgres-1"]);
    }

    #[test]
    fn the_tests_own_is_proposed_and_the_others_are_said() {
        let one = |group: &str, purpose, is_server, database| Found {
            purpose,
            is_server,
            ..found(if is_server { "db" } else { "postgres" }, group, is_server.then_some("15"), database)
        };
        let Merged { found, aside } = super::merge(vec![
            one("compose.yaml", Purpose::Development, true, Some("shop")),
            one("compose.test.yaml", Purpose::Tests, true, Some("shop_test")),
            one(".env", Purpose::Development, false, Some("other")),
        ]);
        assert_eq!((found.len(), found[0].database.as_deref()), (1, Some("shop_test")));
        assert_eq!(
            aside,
            [
                "compose.yaml: postgres:15, database \"shop\" is not proposed, for compose.test.yaml is",
                ".env: postgres, database \"other\" is not proposed, for compose.test.yaml is"
            ]
        );
        // The settings of the tests name the database, and the compose file the server.
        let Merged { found, .. } = super::merge(vec![
            one("compose.yaml", Purpose::Development, true, Some("shop")),
            one("database.yml", Purpose::Tests, false, Some("shop_test")),
        ]);
        assert_eq!(
            (found.len(), found[0].name.as_str(), found[0].tag.as_deref(), found[0].database.as_deref()),
            (1, "db", Some("15"), Some("shop_test"))
        );
    }
}
