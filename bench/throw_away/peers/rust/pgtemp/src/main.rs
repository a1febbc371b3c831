//! One server of pgtemp, as its documentation begins: made, connectable, dropped.

fn main() {
    let database = pgtemp::PgTempDB::new();
    assert!(database.connection_uri().starts_with("postgres"));
}
