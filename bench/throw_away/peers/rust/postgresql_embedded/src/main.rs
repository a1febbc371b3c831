//! One server of postgresql_embedded, as its documentation begins, with the installed server's folder as the
//! only argument: the servers that it would download are not to be had everywhere.

use postgresql_embedded::{PostgreSQL, Result, Settings};

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).expect("the server's folder is the argument");
    let settings = Settings { installation_dir: folder.into(), trust_installation_dir: true, ..Settings::default() };
    let mut postgresql = PostgreSQL::new(settings);
    postgresql.setup().await?;
    postgresql.start().await?;
    postgresql.stop().await
}
