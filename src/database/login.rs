//! From an image's variables to the logins that work on its server: the images' own names, defaults and
//! precedence.
//!
//! Sources: the entrypoint scripts and reference pages of the official mysql, mariadb and postgres images,
//! of Bitnami's, and of Red Hat's (sclorg).

use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};

use crate::engine::{self, Vendor};
use crate::failure::Advise;

use super::program;
use super::variables::{Data, Variables};
use super::{Engine, Login, Password};

/// The tests' user, and the administrator where the manifest tells how to log in as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logins {
    pub tests: Login,
    pub admin: Option<Login>,
}

/// A database server's container.
#[derive(Debug)]
pub struct Plain {
    /// The engine in the image.
    pub engine: Engine,
    /// Whether the image is Bitnami's, which reads other variables than the official ones.
    pub is_bitnami: bool,
    /// The tests' login, or what the image would complain about.
    pub login: anyhow::Result<Login>,
}

/// Reads a container's login as its image does; `None` if the image's name tells no database.
pub fn of_image(image: &str, variables: &[(String, String)]) -> Option<Plain> {
    let (engine, vendor) = engine::identify(image);
    Some(plain(image, engine?, vendor, variables))
}

/// The same for an image whose name tells nothing; `None` if its variables are no server's either.
pub fn of_variables(variables: &[(String, String)]) -> Option<Plain> {
    // Without a Service, a user's password alone may be a client's.
    let is_clients = |name: &str| ["MYSQL_PASSWORD", "MARIADB_PASSWORD"].contains(&name);
    let engine = [Engine::Mariadb, Engine::Mysql, Engine::Postgres].into_iter().find(|engine| {
        let names = variables.iter().map(|(name, _)| name.as_str());
        names.filter(|name| !is_clients(name)).any(|name| server_variables(*engine).contains(&name))
    })?;
    Some(plain("", engine, Vendor::Official, variables))
}

fn plain(image: &str, engine: Engine, vendor: Vendor, variables: &[(String, String)]) -> Plain {
    let env = variables.iter().map(|(name, value)| EnvVar {
        name: name.clone(),
        value: Some(value.clone()),
        value_from: None,
    });
    let container =
        Container { image: Some(image.to_owned()), env: Some(env.collect()), ..Container::default() };
    let (spec, data) = (PodSpec::default(), Data::default());
    let mut variables = Variables::new(&spec, &container, &data);
    let vendor = self::vendor(engine, vendor, &mut variables);
    let logins = read(engine, vendor, &mut variables);
    Plain { engine, is_bitnami: vendor == Vendor::Bitnami, login: logins.map(|logins| logins.tests) }
}

/// Variables by which an image's server makes its login; clients may have some of them too.
pub(super) fn server_variables(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Mysql => &[
            "MYSQL_ROOT_PASSWORD",
            "MYSQL_ALLOW_EMPTY_PASSWORD",
            "MYSQL_RANDOM_ROOT_PASSWORD",
            "MYSQL_PASSWORD",
        ],
        Engine::Mariadb => &[
            "MARIADB_ROOT_PASSWORD",
            "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD",
            "MARIADB_RANDOM_ROOT_PASSWORD",
            "MARIADB_PASSWORD",
        ],
        Engine::Postgres => &[
            "POSTGRES_PASSWORD",
            "POSTGRESQL_PASSWORD",
            "POSTGRESQL_ADMIN_PASSWORD",
            "POSTGRES_HOST_AUTH_METHOD",
        ],
        Engine::Sqlite => &[],
    }
}

/// Variables that lead to another server: what has one is a client, a pool or a proxy.
const CLIENT_VARIABLES: [&str; 9] = [
    "POSTGRES_HOST",
    "POSTGRESQL_HOST",
    "PGHOST",
    "MYSQL_HOST",
    "MARIADB_HOST",
    "DB_HOST",
    "DATABASE_HOST",
    "DATABASE_URL",
    "PGPOOL_BACKEND_NODES",
];

/// The variable that leads to another server than the container itself, whose Services are these.
pub(super) fn other_server(variables: &mut Variables, own: &[&str]) -> Option<&'static str> {
    CLIENT_VARIABLES.into_iter().find(|name| {
        let is_itself =
            |value: anyhow::Result<Option<String>>| matches!(value, Ok(Some(value)) if is_local(&value, own));
        variables.declares(name) && !is_itself(variables.get(name))
    })
}

/// Whether a host or a URL is the machine's own, the path of a socket, or one of these Services.
fn is_local(address: &str, own: &[&str]) -> bool {
    let address = address.split_once("://").map_or(address, |(_, address)| address);
    let host = address.split(['/', '?']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(host) => host.split(']').next().unwrap_or_default(),
        None if host == "::1" => host,
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_own =
        |name: &&str| host.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    ["", "localhost", "127.0.0.1", "::1"].contains(&host) || own.iter().any(is_own)
}

/// Whether the container is a server that copies another one, as Bitnami's and Red Hat's images do.
pub(super) fn is_replica(variables: &mut Variables) -> bool {
    let modes = ["MYSQL", "MARIADB", "POSTGRESQL", "POSTGRES"].map(|of| format!("{of}_REPLICATION_MODE"));
    let is_mode = |name: &String| matches!(variables.get(name), Ok(Some(mode)) if ["slave", "replica"].contains(&mode.as_str()));
    modes.iter().any(is_mode) || program::is_replica(variables.container())
}

/// Whose variables these are, where the image's name does not tell it for sure.
pub(super) fn vendor(engine: Engine, by_image: Vendor, variables: &mut Variables) -> Vendor {
    let mut any = |names: &[&str]| names.iter().any(|name| variables.declares(name));
    match (engine, by_image) {
        (_, Vendor::Bitnami) => by_image,
        (Engine::Postgres, _) => {
            let is_official = any(&["POSTGRES_PASSWORD", "POSTGRES_HOST_AUTH_METHOD"]);
            let is_other = any(&["POSTGRESQL_PASSWORD", "POSTGRESQL_ADMIN_PASSWORD"]);
            match (is_official, is_other) {
                (true, false) => Vendor::Official,
                (false, true) if any(&["POSTGRESQL_USERNAME", "POSTGRESQL_POSTGRES_PASSWORD"]) => {
                    Vendor::Bitnami
                }
                (false, true) if any(&["POSTGRESQL_USER", "POSTGRESQL_ADMIN_PASSWORD"]) => Vendor::RedHat,
                (false, true) if by_image == Vendor::Official => Vendor::Bitnami,
                _ => by_image,
            }
        }
        _ => by_image,
    }
}

/// Reads the logins of one server.
pub(super) fn read(engine: Engine, vendor: Vendor, variables: &mut Variables) -> anyhow::Result<Logins> {
    let logins = match engine {
        Engine::Postgres if own_names(variables).is_some() => own_postgres(variables),
        Engine::Postgres if vendor == Vendor::RedHat => red_hats_postgres(variables),
        Engine::Postgres => postgres(vendor, variables),
        Engine::Mariadb => mysql(&["MARIADB", "MYSQL"], vendor, variables),
        Engine::Mysql | Engine::Sqlite => mysql(&["MYSQL"], vendor, variables),
    }?;
    check(engine, &logins.tests)?;
    Ok(logins)
}

/// Refuses names that the server, or the entrypoint that makes them, would not take: it would find out after
/// it was started, or cut them.
///
/// Sources: MySQL's and MariaDB's reference on identifier lengths; PostgreSQL's NAMEDATALEN, which counts
/// bytes.
fn check(engine: Engine, login: &Login) -> anyhow::Result<()> {
    check_name(engine, "database", login.database.as_deref().unwrap_or_default())?;
    check_name(engine, "user", &login.user)
}

/// The same for one of them: `what` is `database` or `user`.
pub fn check_name(engine: Engine, what: &str, name: &str) -> anyhow::Result<()> {
    let (database, user) = match engine {
        Engine::Mysql => (64, 32),
        Engine::Mariadb => (64, 128),
        Engine::Postgres => (63, 63),
        Engine::Sqlite => return Ok(()),
    };
    let (length, unit) =
        if engine == Engine::Postgres { (name.len(), "bytes") } else { (name.chars().count(), "characters") };
    let most = if what == "user" { user } else { database };
    if length > most {
        bail!("the name of the {what} has {length} {unit}, and {engine} takes at most {most}");
    }
    if name.contains(char::is_control) {
        bail!("the name of the {what} has a control character");
    }
    if engine == Engine::Postgres && what == "user" && name.contains(['"', '\'', '\\']) {
        bail!(
            "the user {name:?} has a quote or a backslash, which the entrypoint of its image does not take"
        );
    }
    Ok(())
}

fn first(variables: &mut Variables, names: &[String]) -> anyhow::Result<Option<String>> {
    for name in names {
        if let Some(value) = variables.get(name)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The same for a name, which no server takes with the line end that `echo` puts behind a Secret's value.
fn first_name(variables: &mut Variables, names: &[String]) -> anyhow::Result<Option<String>> {
    for name in names {
        let Some(value) = variables.get(name)? else { continue };
        if value.ends_with(['\n', '\r']) {
            return Err(anyhow!("{name} ends with a line end"))
                .hint("echo -n writes a Secret's value without one: echo -n NAME | base64");
        }
        return Ok(Some(value));
    }
    Ok(None)
}

fn any_declared(variables: &mut Variables, names: &[String]) -> bool {
    names.iter().any(|name| variables.may_declare(name))
}

fn mysql(prefixes: &[&str], vendor: Vendor, variables: &mut Variables) -> anyhow::Result<Logins> {
    let image = variables.container().image.as_deref().unwrap_or_default();
    let is_own_root = vendor == Vendor::RedHat || engine::identify(image).0.is_none();
    let names = |suffix: &str| -> Vec<String> {
        prefixes.iter().map(|prefix| format!("{prefix}_{suffix}")).collect()
    };
    let database = first_name(variables, &names("DATABASE"))?;
    let login = |user: String, password: String| Login {
        user,
        password: Password::new(password),
        database: database.clone(),
    };

    let empty_allowed = first(variables, &names("ALLOW_EMPTY_PASSWORD"))?.is_some()
        || first(variables, &names("ALLOW_EMPTY_ROOT_PASSWORD"))?.is_some()
        || (vendor == Vendor::Bitnami && first(variables, &["ALLOW_EMPTY_PASSWORD".into()])?.is_some());
    // A random root password is printed to the log only; it wins over one that is given, and so does a hash.
    let random = first(variables, &names("RANDOM_ROOT_PASSWORD"))?.is_some()
        || (prefixes[0] == "MARIADB" && variables.declares("MARIADB_ROOT_PASSWORD_HASH"));
    // A replica has the logins of its master.
    let masters = if is_replica(variables) { names("MASTER_ROOT_PASSWORD") } else { Vec::new() };
    let of_root = [names("ROOT_PASSWORD"), masters].concat();
    let root_password = first(variables, &of_root)?;
    // Declared with a value that is not known here yet (a Secret of the cluster): not a mistake.
    let root_declared = any_declared(variables, &of_root);
    // Red Hat's images make a root that is reached from outside only where there is a password for it, and want
    // nothing of it where there is another user. So do images of one's own whose variables are such.
    let needs_none =
        is_own_root && any_declared(variables, &names("USER")) && any_declared(variables, &names("PASSWORD"));
    if root_password.is_none() && !empty_allowed && !random && !root_declared && !needs_none {
        let names = names("ROOT_PASSWORD");
        if vendor == Vendor::RedHat {
            let prefix = prefixes[prefixes.len() - 1];
            bail!(
                "no password is set; set {prefix}_USER, {prefix}_PASSWORD and {prefix}_DATABASE (or {prefix}_ROOT_PASSWORD)"
            );
        }
        bail!("no password is set; set {} (or {}_ALLOW_EMPTY_PASSWORD=1)", names[0], prefixes[0]);
    }
    // Without a root@% nobody logs in as root from outside the container.
    let root_host = first(variables, &names("ROOT_HOST"))?.unwrap_or_else(|| "%".into());
    let root_name = match vendor {
        Vendor::Bitnami => first(variables, &names("ROOT_USER"))?.unwrap_or_else(|| "root".into()),
        Vendor::Official | Vendor::RedHat => "root".into(),
    };
    let is_reachable = !random && root_host != "localhost" && !(needs_none && root_password.is_none());
    let root = is_reachable.then(|| login(root_name, root_password.unwrap_or_default()));

    let user = first_name(variables, &names("USER"))?;
    if user.as_deref() == Some("root") {
        bail!("{} may not be root, which exists anyway", names("USER")[0]);
    }
    let password = first(variables, &names("PASSWORD"))?;
    let has_password = password.is_some()
        || any_declared(variables, &names("PASSWORD"))
        || (vendor == Vendor::Bitnami && empty_allowed);
    let (user, root) = match (user, root) {
        // The official images make no user without a password.
        (Some(user), root) if has_password => (user, root),
        (None, Some(root)) => return Ok(Logins { tests: root.clone(), admin: Some(root) }),
        (Some(_), Some(root)) if vendor == Vendor::Official => {
            return Ok(Logins { tests: root.clone(), admin: Some(root) });
        }
        (Some(_), _) => bail!("{} is set without {}", names("USER")[0], names("PASSWORD")[0]),
        (None, None) => bail!(
            "nobody can log in: root's password is random or a hash, or root is local, and no {} is set",
            names("USER")[0]
        ),
    };
    Ok(Logins { tests: login(user, password.unwrap_or_default()), admin: root })
}

fn postgres(vendor: Vendor, variables: &mut Variables) -> anyhow::Result<Logins> {
    let names = |suffix: &str| -> Vec<String> {
        match vendor {
            Vendor::Official | Vendor::RedHat => vec![format!("POSTGRES_{suffix}")],
            Vendor::Bitnami => vec![format!("POSTGRESQL_{suffix}"), format!("POSTGRES_{suffix}")],
        }
    };
    let mut user_names = names("USER");
    let mut database_names = names("DB");
    if vendor == Vendor::Bitnami {
        user_names.insert(1, "POSTGRESQL_USERNAME".into());
        database_names.insert(1, "POSTGRESQL_DATABASE".into());
        database_names.push("POSTGRES_DATABASE".into());
    }
    let user = first_name(variables, &user_names)?.unwrap_or_else(|| "postgres".into());
    let database = first_name(variables, &database_names)?.unwrap_or_else(|| match vendor {
        Vendor::Official | Vendor::RedHat => user.clone(),
        Vendor::Bitnami => "postgres".into(),
    });
    // initdb takes the first line of the password that the official image gives it.
    let first_line = |text: String| text.lines().next().unwrap_or_default().trim_end_matches('\r').to_owned();
    let password = first(variables, &names("PASSWORD"))?;
    let password = if vendor == Vendor::Bitnami { password } else { password.map(first_line) };
    let trusted = variables.get("POSTGRES_HOST_AUTH_METHOD")?.as_deref() == Some("trust")
        || (vendor == Vendor::Bitnami && variables.get("ALLOW_EMPTY_PASSWORD")?.is_some());
    if password.is_none() && !trusted && !any_declared(variables, &names("PASSWORD")) {
        bail!("no password is set; set {} (or POSTGRES_HOST_AUTH_METHOD=trust)", names("PASSWORD")[0]);
    }
    let tests =
        Login { user, password: Password::new(password.unwrap_or_default()), database: Some(database) };
    // The official image's user is a superuser. Bitnami's is one only under the name postgres, else its
    // password is another one.
    let admin = match vendor {
        Vendor::Official | Vendor::RedHat => Some(tests.clone()),
        Vendor::Bitnami if tests.user == "postgres" => Some(tests.clone()),
        Vendor::Bitnami => first(variables, &names("POSTGRES_PASSWORD"))?.map(|password| Login {
            user: "postgres".into(),
            password: Password::new(password),
            database: tests.database.clone(),
        }),
    };
    Ok(Logins { tests, admin })
}

/// Images with variables of their own for user, password and databases, and what those are without them.
const OWN_NAMES: [(&str, Three, Option<Three>); 2] = [
    (
        "kartoza/postgis",
        ["POSTGRES_USER", "POSTGRES_PASS", "POSTGRES_DBNAME"],
        Some(["docker", "docker", "gis"]),
    ),
    ("sameersbn/postgresql", ["DB_USER", "DB_PASS", "DB_NAME"], None),
];

type Three = [&'static str; 3];

fn own_names(variables: &Variables) -> Option<(Three, Option<Three>)> {
    let image = variables.container().image.as_deref().unwrap_or_default();
    let is_it = |path: &str| {
        let before = image.find(path).map(|at| &image[..at]);
        before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
    };
    OWN_NAMES.iter().find(|(path, ..)| is_it(path)).map(|(_, names, defaults)| (*names, *defaults))
}

fn own_postgres(variables: &mut Variables) -> anyhow::Result<Logins> {
    let Some((names, defaults)) = own_names(variables) else { bail!("its image has no such variables") };
    let mut value = |at: usize| -> anyhow::Result<Option<String>> {
        let of = [names[at].to_owned()];
        let value = if at == 1 { first(variables, &of) } else { first_name(variables, &of) };
        Ok(value?.or_else(|| defaults.map(|defaults| defaults[at].to_owned())))
    };
    let (user, password, databases) = (value(0)?, value(1)?, value(2)?);
    // Databases have commas between them.
    let database = databases.as_deref().and_then(|names| names.split(',').next()).unwrap_or("postgres");
    let is_known = |value: &Option<String>, name: &str, variables: &mut Variables| {
        value.is_some() || variables.may_declare(name)
    };
    if !is_known(&user, names[0], variables) || !is_known(&password, names[1], variables) {
        bail!("no password is set; set {}, {} and {}", names[0], names[1], names[2]);
    }
    let tests = Login {
        user: user.unwrap_or_default(),
        password: Password::new(password.unwrap_or_default()),
        database: Some(database.trim().to_owned()),
    };
    Ok(Logins { admin: defaults.is_some().then(|| tests.clone()), tests })
}

/// Red Hat's image makes a user that is no superuser, with a database of its own; `postgres` has a password
/// where one is given.
fn red_hats_postgres(variables: &mut Variables) -> anyhow::Result<Logins> {
    let login = |user: String, password: Option<String>, database: Option<String>| Login {
        user,
        password: Password::new(password.unwrap_or_default()),
        database,
    };
    let admin = variables.get("POSTGRESQL_ADMIN_PASSWORD")?;
    let database = first_name(variables, &["POSTGRESQL_DATABASE".into()])?;
    let superuser =
        || login("postgres".into(), admin.clone(), Some(database.clone().unwrap_or("postgres".into())));
    let has_admin = admin.is_some() || variables.may_declare("POSTGRESQL_ADMIN_PASSWORD");
    let names = ["POSTGRESQL_USER", "POSTGRESQL_PASSWORD", "POSTGRESQL_DATABASE"];
    let absent: Vec<&str> = names.into_iter().filter(|name| !variables.may_declare(name)).collect();
    if !absent.is_empty() && names[..2].iter().any(|name| variables.declares(name)) {
        bail!(
            "{} not set, and the image takes {}, {} and {} all together or not at all",
            if absent.len() > 1 {
                format!("{} are", absent.join(" and "))
            } else {
                format!("{} is", absent[0])
            },
            names[0],
            names[1],
            names[2]
        );
    }
    match first_name(variables, &[names[0].into()])? {
        Some(user) => {
            let password = variables.get(names[1])?;
            let admin = admin.is_some().then(superuser);
            Ok(Logins { tests: login(user, password, database.clone()), admin })
        }
        None if has_admin || absent.is_empty() => Ok(Logins { tests: superuser(), admin: Some(superuser()) }),
        None => bail!(
            "no password is set; set POSTGRESQL_USER, POSTGRESQL_PASSWORD and POSTGRESQL_DATABASE (or POSTGRESQL_ADMIN_PASSWORD)"
        ),
    }
}
