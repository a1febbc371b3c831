// The address of the database comes from $DATABASE_URL.
export default {
  client: "pg",
  connection: process.env.DATABASE_URL,
};
