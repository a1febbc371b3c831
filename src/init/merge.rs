//! One database out of several places that mean the same one, and a name of its own for each.

use super::Found;
use crate::database::Engine;

/// In the order of what was found: the first place gives the name, later ones complete what it leaves open.
pub fn merge(found: Vec<Found>) -> Vec<Found> {
    let mut merged: Vec<Found> = Vec::new();
    for one in found {
        match merged.iter_mut().find(|known| is_same(known, &one)) {
            Some(known) => complete(known, one),
            None => merged.push(one),
        }
    }
    name(&mut merged);
    merged
}

/// Whether two places can mean one database: they agree, and nothing uses the two side by side.
fn is_same(known: &Found, other: &Found) -> bool {
    fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one == other)
    }
    // An image of its own comes with a version of its own.
    let versions =
        (known.image.is_none() || other.tag.is_none()) && (known.tag.is_none() || other.image.is_none());
    known.engine == other.engine
        && versions
        && agree(known.tag.as_ref(), other.tag.as_ref())
        && agree(known.image.as_ref(), other.image.as_ref())
        // A user that is left open is the engine's own, and not just any.
        && known.user == other.user
        && agree(known.database.as_ref(), other.database.as_ref())
        && !known.places.iter().any(|place| other.places.iter().any(|other| place.group == other.group))
}

fn complete(known: &mut Found, other: Found) {
    known.tag = known.tag.take().or(other.tag);
    known.image = known.image.take().or(other.image);
    known.database = known.database.take().or(other.database);
    known.port = known.port.or(other.port);
    if known.init.is_empty() {
        known.init = other.init;
    }
    known.has_password |= other.has_password;
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

    fn found(name: &str, group: &str, tag: Option<&str>, database: Option<&str>) -> Found {
        Found {
            name: name.into(),
            engine: Engine::Postgres,
            tag: tag.map(Into::into),
            image: None,
            user: None,
            database: database.map(Into::into),
            port: None,
            init: Vec::new(),
            has_password: false,
            places: vec![Place { group: group.into(), text: group.into() }],
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
    fn names_are_free_and_no_engines() {
        let merged = merge(vec![
            found("db", "a", None, None),
            found("db", "a", None, None),
            found("postgres", "a", None, None),
        ]);
        let names: Vec<_> = merged.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["db", "db-1", "postgres-1"]);
    }
}
