//! The tables, the same in both databases, and how they came to be: a list that only grows.
//!
//! - `runs`: what a list shows and filters by, and nothing else: its rows are small, so that going through
//!   many of them is fast.
//! - `engines`: the engines of a run, in the order of a list.
//! - `stories`: the record as JSON, without its objects and events; those are in `details`, in gzip.
//! - `logs`: one container's log each, in gzip.
//!
//! Times are milliseconds since 1970. Texts are compared by their bytes, whatever language the database
//! speaks: the order of ids is the order of a list.

/// The version of a store is how many of them it has seen. One that was released is never changed.
pub(super) const MIGRATIONS: [&str; 1] = [r#"
CREATE TABLE testbed.runs (
    id text COLLATE "C" PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    cause text COLLATE "C",
    runtime text COLLATE "C" NOT NULL,
    namespace text COLLATE "C",
    pipeline_run text COLLATE "C",
    pipeline_run_uid text COLLATE "C",
    engines text COLLATE "C" NOT NULL,
    began bigint NOT NULL,
    ready bigint,
    ended bigint
);
CREATE INDEX runs_by_time ON testbed.runs (began, id);
CREATE INDEX runs_by_run_id ON testbed.runs (run_id);
CREATE INDEX runs_by_status ON testbed.runs (status, began, id);
CREATE INDEX runs_by_namespace ON testbed.runs (namespace, began, id) WHERE namespace IS NOT NULL;
CREATE INDEX runs_by_pipeline_run ON testbed.runs (pipeline_run, began, id) WHERE pipeline_run IS NOT NULL;
CREATE INDEX runs_by_pipeline_run_uid ON testbed.runs (pipeline_run_uid, began, id) WHERE pipeline_run_uid IS NOT NULL;

CREATE TABLE testbed.engines (
    id text COLLATE "C" NOT NULL REFERENCES testbed.runs (id) ON DELETE CASCADE,
    engine text COLLATE "C" NOT NULL,
    began bigint NOT NULL,
    PRIMARY KEY (id, engine)
);
CREATE INDEX engines_by_time ON testbed.engines (engine, began, id);

CREATE TABLE testbed.stories (
    id text COLLATE "C" PRIMARY KEY REFERENCES testbed.runs (id) ON DELETE CASCADE,
    story text COLLATE "C" NOT NULL,
    details bytea
);

CREATE TABLE testbed.logs (
    id text COLLATE "C" NOT NULL REFERENCES testbed.runs (id) ON DELETE CASCADE,
    source text COLLATE "C" NOT NULL,
    container text COLLATE "C" NOT NULL,
    previous bigint NOT NULL,
    info text COLLATE "C" NOT NULL,
    gzip bytea NOT NULL,
    PRIMARY KEY (id, source, container, previous)
);
"#];

/// A statement in SQLite's words.
pub(super) fn for_sqlite(sql: &str) -> String {
    sql.replace("testbed.", "")
        .replace(" COLLATE \"C\"", "")
        .replace("bytea", "blob")
        .replace("strpos(", "instr(")
}
