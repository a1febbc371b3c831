//! Manifests of databases for tests, put together from what each test is about.

use std::fmt::Write;

/// One database: a Service, a Pod, and what its set-up runs.
#[derive(Clone)]
pub struct Db {
    name: &'static str,
    image: &'static str,
    variables: Vec<(&'static str, String)>,
    script: Option<(&'static str, String)>,
    args: Vec<&'static str>,
    annotations: Vec<(&'static str, &'static str)>,
    keeps_its_data: bool,
}

/// The password of every user in these manifests.
pub const PASSWORD: &str = "correct-horse";

impl Db {
    /// A database whose administrator the tests log in as. `name` is the Service's and Pod's too, with the
    /// run id behind it.
    pub fn new(name: &'static str, image: &'static str) -> Self {
        let prefix = if image.starts_with("mariadb") { "MARIADB" } else { "MYSQL" };
        let variables = if image.starts_with("postgres") {
            vec![
                ("POSTGRES_USER", "app".into()),
                ("POSTGRES_PASSWORD", PASSWORD.into()),
                ("POSTGRES_DB", "shop".into()),
            ]
        } else if prefix == "MARIADB" {
            vec![("MARIADB_ROOT_PASSWORD", PASSWORD.into()), ("MARIADB_DATABASE", "shop".into())]
        } else {
            vec![("MYSQL_ROOT_PASSWORD", PASSWORD.into()), ("MYSQL_DATABASE", "shop".into())]
        };
        Self {
            name,
            image,
            variables,
            script: None,
            args: Vec::new(),
            annotations: Vec::new(),
            keeps_its_data: false,
        }
    }

    fn is_postgres(&self) -> bool {
        self.image.starts_with("postgres")
    }

    pub fn env(mut self, name: &'static str, value: impl ToString) -> Self {
        self.variables.push((name, value.to_string()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self
    }

    /// The tests log in as a user without privileges, and the manifest names the administrator too.
    pub fn app_user(self) -> Self {
        if self.image.starts_with("mariadb") {
            return self.env("MARIADB_USER", "app").env("MARIADB_PASSWORD", PASSWORD);
        }
        self.env("MYSQL_USER", "app").env("MYSQL_PASSWORD", PASSWORD)
    }

    /// The tests log in as a user without privileges, and nobody knows the administrator's password.
    pub fn app_user_alone(self) -> Self {
        if self.is_postgres() {
            return self.script(
                "demote.sql",
                "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM app; ALTER ROLE app NOSUPERUSER;",
            );
        }
        let (password, random) = if self.image.starts_with("mariadb") {
            ("MARIADB_ROOT_PASSWORD", "MARIADB_RANDOM_ROOT_PASSWORD")
        } else {
            ("MYSQL_ROOT_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD")
        };
        self.app_user().without(password).env(random, "yes")
    }

    /// The set-up server shows its port, and stays for this many seconds after its work.
    pub fn lingering(self, seconds: u64) -> Self {
        self.env("TESTBED_SETUP_SERVER", "visible").env("TESTBED_SETUP_LINGER", seconds)
    }

    /// The set-up server is started as the final one is, without an option of its own.
    pub fn optionless(self) -> Self {
        self.env("TESTBED_SETUP_OPTIONS", "none")
    }

    /// Runs at the end of the set-up. The name's extension says how.
    pub fn script(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.script = Some((name, text.into()));
        self
    }

    pub fn arg(mut self, arg: &'static str) -> Self {
        self.args.push(arg);
        self
    }

    pub fn annotation(mut self, key: &'static str, value: &'static str) -> Self {
        self.annotations.push((key, value));
        self
    }

    /// The data folder outlives the container, as a volume does.
    pub fn keeping_its_data(mut self) -> Self {
        self.keeps_its_data = true;
        self
    }

    fn write(&self, manifest: &mut String) -> std::fmt::Result {
        let Self { name, image, .. } = self;
        let port = if self.is_postgres() { 5432 } else { 3306 };
        let pod = format!("{name}-$(context.pipelineRun.uid)");
        let json = |value: &dyn std::fmt::Debug| format!("{value:?}");
        let annotations: Vec<String> =
            self.annotations.iter().map(|(key, value)| format!("{key}: {}", json(value))).collect();
        let variables: Vec<String> = self
            .variables
            .iter()
            .map(|(name, value)| format!("{{name: {name}, value: {}}}", json(value)))
            .collect();
        writeln!(
            manifest,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {pod}}}\nspec: {{ports: [{{port: {port}}}], selector: {{db: {pod}}}}}"
        )?;
        if let Some((file, text)) = &self.script {
            writeln!(
                manifest,
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {pod}}}\ndata: {{{file}: {}}}",
                json(text)
            )?;
        }
        writeln!(
            manifest,
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {pod}\n  labels: {{db: {pod}}}\n  annotations: {{{}}}\nspec:\n  containers:\n  - name: db\n    \
             image: {image}\n    args: {:?}\n    ports: [{{containerPort: {port}}}]\n    env: [{}]",
            annotations.join(", "),
            self.args,
            variables.join(", ")
        )?;
        let data = if self.is_postgres() { "/var/lib/postgresql/data" } else { "/var/lib/mysql" };
        let scripts = self.script.as_ref().map(|_| {
            (
                "scripts",
                "/docker-entrypoint-initdb.d",
                format!("configMap: {{name: {pod}, defaultMode: 493}}"),
            )
        });
        let data = self.keeps_its_data.then(|| ("data", data, "emptyDir: {}".to_owned()));
        let volumes: Vec<_> = scripts.into_iter().chain(data).collect();
        let list = |line: &dyn Fn(&(&str, &str, String)) -> String| {
            volumes.iter().map(line).collect::<Vec<_>>().join(", ")
        };
        writeln!(
            manifest,
            "    volumeMounts: [{}]",
            list(&|(name, path, _)| format!("{{name: {name}, mountPath: {path}}}"))
        )?;
        writeln!(
            manifest,
            "  volumes: [{}]",
            list(&|(name, _, source)| format!("{{name: {name}, {source}}}"))
        )?;
        Ok(())
    }
}

/// All of them in one manifest.
pub fn manifest(databases: &[Db]) -> String {
    let mut manifest = String::new();
    for database in databases {
        database.write(&mut manifest).expect("a String takes everything");
    }
    manifest
}
