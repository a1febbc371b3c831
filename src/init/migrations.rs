//! The tool by which a project changes its database's schema: what a seed would call.

use super::Read;
use super::project::{Project, folder};

/// How a project's migrations would be put in once.
#[derive(Debug, PartialEq, Eq)]
pub struct Migrations {
    /// What tells of the tool.
    pub file: String,
    pub run: &'static str,
    /// What the command reads, as globs.
    pub inputs: Vec<String>,
}

/// A tool: what its file is called, its command, and the folders that may have the migrations.
struct Tool {
    files: &'static [&'static str],
    run: &'static str,
    folders: &'static [&'static str],
}

/// Tools of frameworks that make the tests' database by themselves (Rails, Django, Laravel) are none of them.
const TOOLS: [Tool; 7] = [
    Tool { files: &["alembic.ini"], run: "alembic upgrade head", folders: &["migrations", "alembic"] },
    Tool {
        files: &["knexfile.js", "knexfile.cjs", "knexfile.mjs", "knexfile.ts"],
        run: "npx knex migrate:latest",
        folders: &["migrations", "db/migrations"],
    },
    Tool {
        files: &["prisma/schema.prisma"],
        run: "npx prisma migrate deploy",
        folders: &["prisma/migrations"],
    },
    Tool {
        files: &["drizzle.config.ts", "drizzle.config.js"],
        run: "npx drizzle-kit migrate",
        folders: &["drizzle", "migrations"],
    },
    Tool {
        files: &[".sequelizerc"],
        run: "npx sequelize-cli db:migrate",
        folders: &["migrations", "db/migrations"],
    },
    Tool { files: &["diesel.toml"], run: "diesel migration run", folders: &["migrations"] },
    Tool { files: &["mix.exs"], run: "mix ecto.migrate", folders: &["priv/repo/migrations"] },
];

/// What pins the versions of such tools.
const LOCKS: [&str; 8] = [
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "poetry.lock",
    "uv.lock",
    "requirements.txt",
    "Cargo.lock",
    "mix.lock",
];

/// The migrations of a project, where both the tool's file and their folder are in it.
pub fn find(project: &Project) -> Option<Migrations> {
    find_among(&project.files(), &|path| project.text(path))
}

fn find_among(files: &[String], read: Read) -> Option<Migrations> {
    let is_there = |name: &str| files.iter().any(|file| file == name);
    let has_files = |name: &str| {
        files.iter().any(|file| {
            folder(file).strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    TOOLS.iter().find_map(|tool| {
        let file = tool.files.iter().find(|name| is_there(name))?;
        let told = read(file).as_deref().and_then(location).filter(|name| has_files(name));
        let by_name = || tool.folders.iter().find(|name| has_files(name)).map(|name| (*name).to_owned());
        let migrations = told.or_else(by_name)?;
        let locks = LOCKS.iter().filter(|name| is_there(name));
        let inputs = [format!("{migrations}/**"), (*file).to_owned()];
        Some(Migrations {
            file: (*file).to_owned(),
            run: tool.run,
            inputs: inputs.into_iter().chain(locks.map(|name| (*name).to_owned())).collect(),
        })
    })
}

/// Where Alembic is told that the migrations are, as seen from its file.
fn location(text: &str) -> Option<String> {
    let told = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("script_location")?.trim_start().strip_prefix('='))?;
    let told = told.trim().trim_start_matches("%(here)s/").trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    (!told.is_empty() && told.chars().all(is_plain)).then(|| told.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> Option<(String, &'static str, Vec<String>)> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        find_among(&files, &|_| Some("[alembic]\nscript_location = %(here)s/db/alembic\n".to_owned()))
            .map(|found| (found.file, found.run, found.inputs))
    }

    #[test]
    fn a_tool_counts_with_its_migrations() {
        let inputs = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found(&["alembic.ini", "alembic/env.py", "alembic/versions/1.py", "uv.lock"]),
            Some((
                "alembic.ini".into(),
                "alembic upgrade head",
                inputs(&["alembic/**", "alembic.ini", "uv.lock"])
            ))
        );
        assert_eq!(
            found(&["knexfile.ts", "migrations/1.ts", "package-lock.json"]),
            Some((
                "knexfile.ts".into(),
                "npx knex migrate:latest",
                inputs(&["migrations/**", "knexfile.ts", "package-lock.json"])
            ))
        );
        let files = ["alembic.ini", "migrations/README.md", "db/alembic/env.py"];
        assert_eq!(found(&files).unwrap().2, ["db/alembic/**", "alembic.ini"]);
        for files in [
            &["alembic.ini"][..],
            &["migrations/1.sql"],
            &["alembic.ini", "migrations2/1.py"],
            &["app/alembic.ini", "migrations/1.py"],
        ] {
            assert_eq!(found(files), None, "{files:?}");
        }
    }
}
