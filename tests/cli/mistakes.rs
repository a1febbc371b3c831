//! What people type wrong, and what they are told: what happened, to what, and what to type instead.

use std::fmt::Write as _;

use crate::support::Folder;

/// One command line a line, as typed behind `testbed`.
const LINES: &str = "
stop
start
rm orders
remove
delete --run-id r
kill
ls
list
ps
get pods
shell
exec orders
exec
exec pytest
exec pytest -x
exec -- true
exec --pool 4 -- true
run --with postgres --pool 4 -- true
run --pool auto -- true
up --with postgres --pool 4
exec --run-id nowhere -- true
sh
bash
sqlite3
attach
attach -t
connect -c x
logs -f orders
logs --tail x
logs --tail=all
logs --tail -1
logs --since 5m
logs --timestamps
logs -c orders
logs -n 5
logs -n5 orders
restart
env --format csh
psql
mysql
connect
connect --db orders
exec --database orders -- psql
logs --name orders
logs
log
prune
cleanup
check
validate
template
env
dwon
pu
statsu
histroy
lokc
comletions bash
version
port orders
config
describe orders
inspect
port-forward
cp schema.sql orders
create
apply -f databases.yaml
top
events
pause
reset
dump
restore
new
test
build

up
up --wiht postgres
up --with
up --with=
up --with postgress
up --with Postgres
up --with POSTGRES:16
up --with pg
up --with psql
up --with maria
up --with oracle
up --with mongodb
up --with redis
up --with postgres:
up --with postgres:a:b
up --with postgres=
up --with postgres=Orders
up --with postgres=1st
up --with postgres=my_db
up --with postgres --with postgres
up --with postgres=a --with mysql=a
up --with sqlite:3
up nowhere.yaml
up empty.yaml
up broken.yaml
up text.txt
up folder
up notes.yaml
up --with sqlite --output folder
up --with sqlite --output nowhere/file
up --with sqlite --output -x
up --with sqlite --format
up --with sqlite --format json
up --with sqlite --format yaml
up --with sqlite --format tera:nowhere.tera
up --with sqlite --mode 999
up --with sqlite --mode rw
up --with sqlite --timeout 5
up --with sqlite --timeout five
up --with sqlite --timeout -1s
up --with sqlite --settle soon
up --with sqlite --run-id Orders
up --with sqlite --run-id a.b
up --with sqlite --run-id $(context.pipelineRun.uid)
up --with sqlite --param user
up --with sqlite --param =x
up --with sqlite --param a=1 --param a=2
up --with sqlite --connarg x
up --with sqlite --connarg other.x=1
up --with sqlite --on-failure maybe
up --with sqlite --on-cancel maybe
up --with sqlite --result config
up --with sqlite --result path=x
up --with sqlite --output - --result config=x
up --with sqlite --history nowhere
up --with sqlite --history mysql://h/d
up --with sqlite --runtime docker
up --with sqlite --runtime Local
up --with sqlite -n here
up --with sqlite -o x.json
up --with sqlite --lifetime forever
up --with sqlite --allow everything
up --with sqlite --image-prefix
up --with sqlite -x
up --with sqlite --json
up --with sqlite --settings nowhere.yaml
up --port 5433
up --ports 5433
up --db orders
up --db postgres
up --database=shop
up --name orders
up --user app
up --password secret
up --image postgis/postgis
up --init schema.sql
up --seed schema.sql
up --tls
up --ssl true
up --extension postgis
up --version 17
up --postgres
up --engine mysql
up --with postgres --cpus 2
up --with postgres:5433
up --with postgres:5433=orders
up --with postgres:17:5433
up -p 5433:5432
up --with oracle --param memry=1Gi
up --settings port.yaml
up --settings seed.yaml
up --settings engine.yaml
up --settings names.yaml
up --settings key.yaml
up --settings typo.yaml
up --settings compose.yaml
up --settings environment.yaml
up --settings service.yaml
up --settings volumes.yaml
up --settings health.yaml
up --settings script.yaml
up --settings files.yaml
up --settings params.yaml
up --settings manifest.yaml
up --settings format.yaml
up --settings further.yaml
up --settings fields.yaml
up orders
up postgres
up -d
up --detach
up --wait
up --build
up --scale orders=2
up --rm
up -e K=V --with sqlite
up --force-recreate
up --exit-code-from tests
up --volume ./init:/docker-entrypoint-initdb.d
up --dry-run
render --port 5433

run
run --port 5433 pytest
run --with postgres --db orders -- pytest
run --with postgres pytest --name test
run pytest
run pytest -x
run --with sqlite
run --with sqlite pytest -x tests
run --with sqlite --
run --with sqlite -- no-such-program
run --with sqlite -- ./folder
run --with sqlite -- ./text.txt
run --with sqlite sh -c true
run --rm --with sqlite -- true
run -it --with sqlite -- true
run -e K=V --with sqlite -- true
run orders -- true

exec -it orders psql
exec -T orders -- true
exec -e K=V -- true
exec -u postgres orders -- psql
exec -w /tmp -- true
connect -it orders
down orders
down --run-id
down --run-id Orders
down --all
down --force
down -t 10
down --volumes
down --remove-orphans
down --wait
down --timeout soon
down --grace-period -1

status orders
status -o yaml
status --run-id Orders
gc --older-than 1d
gc --force
status --watch
status --all
gc -A
gc --pipeline-runs
gc --grace soon
wait
wait postgres
wait http://h
wait postgres://h:port
wait postgres://u:secret@h?sslmode=verify-full
wait --password-file nowhere postgres://h
render
render --template
render --with sqlite -o xml
history ls
history logs a b
history show a b
history list --since yesterday
history list -o csv
history list -n 3
history logs -n 3
history prune
history prune --older-than old
history report --html
history --history none list
lock orders
lock acquire
lock acquire Orders --runtime local
lock run orders
lock run orders true
lock release
init --force x
init -f
completions
completions tcsh
init mine
man text.txt
";

#[test]
fn each_mistake_is_told_with_the_way_out() {
    let folder = Folder::new().env("TESTBED_RUNTIME", "").env("COLUMNS", "100");
    std::fs::create_dir(folder.path().join("folder")).expect("a folder");
    folder.file("empty.yaml", "");
    folder.file("broken.yaml", "kind: Pod\n  name: [\n");
    folder.file("text.txt", "no manifest\n");
    folder.file("notes.yaml", "title: Notes\n");
    folder.file("port.yaml", "with: postgres\nport: 5433\n");
    folder.file("seed.yaml", "seed: schema.sql\ndatabases: {orders: postgres}\n");
    folder.file("engine.yaml", "postgres: 17\n");
    folder.file("names.yaml", "databases: [shop, audit]\n");
    folder.file("key.yaml", "databases: {orders: {use: postgres, seed: schema.sql}}\n");
    folder.file("typo.yaml", "timout: 5m\n");
    folder.file("compose.yaml", "version: '3.8'\nservices: {db: {image: 'postgres:17'}}\n");
    folder.file("environment.yaml", "with: postgres\nenvironment: {DB_NAME: '{{ postgres.database }}'}\n");
    folder.file(
        "service.yaml",
        "databases:\n  orders:\n    use: postgres\n    environment: {POSTGRES_DB: shop}\n",
    );
    folder.file(
        "volumes.yaml",
        "databases:\n  orders:\n    use: postgres\n    volumes: [./init:/docker-entrypoint-initdb.d]\n",
    );
    folder.file(
        "health.yaml",
        "databases:\n  orders:\n    use: postgres\n    healthcheck: {test: pg_isready}\n",
    );
    folder.file("script.yaml", "databases:\n  orders:\n    use: postgres\n    init: [nowhere.sql]\n");
    folder.file("files.yaml", "databases:\n  orders:\n    use: postgres\n    seed: {files: nowhere.sql}\n");
    folder.file("params.yaml", "with: postgres=orders\nparams:\n  orders:\n    init: nowhere.sql\n");
    folder.file("manifest.yaml", "# Ours.\nmanifest: [nowhere.yaml]\n");
    folder.file("format.yaml", "with: sqlite\nformat: tera:nowhere.tera\n");
    folder.file(
        "further.yaml",
        "databases: {orders: {use: postgres, databases: [audit]}}\nenv: {AUDIT: '{{ orders.audit.url }}'}\n",
    );
    folder.file("fields.yaml", "with: postgres=orders\nenv: {URL: '{{ orders.urll }}'}\n");
    std::fs::create_dir(folder.path().join("mine")).expect("a folder");
    folder.file("mine/testbed.yaml", "with: postgres\n");
    folder.file("mine/compose.yaml", "services: {db: {image: 'postgres:17'}}\n");
    let mut told = String::new();
    for line in LINES.lines() {
        let args: Vec<&str> = line.split_whitespace().collect();
        if args.is_empty() {
            continue;
        }
        let called = folder.call(&args);
        let stderr = called.stderr.replace(&folder.path().display().to_string(), "FOLDER");
        // The times at which lines are written, and run ids that testbed has made.
        let lines = stderr.lines().filter(|line| !line.trim().is_empty() && !line.contains("try '--help'"));
        let lines: Vec<String> = lines.map(|line| format!("  {}", without_times(line))).collect();
        let code = called.code.expect("an exit code");
        assert!(code != 0 && code != 101, "{}", called.transcript());
        assert!(!stderr.contains("panicked") && !stderr.contains("secret"), "{}", called.transcript());
        writeln!(told, "$ testbed {line}    [{code}]\n{}", lines.join("\n")).expect("a text");
    }
    insta::assert_snapshot!("mistakes", told);
}

/// A line without the time since the command's begin, and without a run id of testbed's own.
fn without_times(line: &str) -> String {
    let line = match line.trim_start().split_once("s ") {
        Some((time, rest)) if time.parse::<f64>().is_ok() => rest,
        _ => line,
    };
    let is_id = |word: &str| word.len() == 36 && word.matches('-').count() == 4;
    line.split(' ').map(|word| if is_id(word) { "RUN" } else { word }).collect::<Vec<_>>().join(" ")
}
