package com.example.testbed;

import java.nio.file.Files;
import java.nio.file.Path;

/** A process of its own with no pool around it. */
final class Alone {
    @Testbed
    static class Plain {}

    @Testbed(migration = Migration.Seed.class)
    static class Seeded {}

    @Testbed(migration = Table.class)
    static class OfMariaDb {}

    static class Table implements Migration {
        @Override
        public void migrate(Database database) throws Exception {
            mariadb(database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
        }
    }

    private static String mariadb(Database database, String sql) throws Exception {
        ProcessBuilder builder =
                new ProcessBuilder("mariadb", "--batch", "--skip-column-names", "-e", sql).redirectErrorStream(true);
        builder.environment().putAll(database.environment());
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes());
        if (process.waitFor() != 0) {
            throw new IllegalStateException(said);
        }
        return said.replace('\n', ' ');
    }

    @Testbed(run = {"--with", "oracle"})
    static class Wrong {}

    public static void main(String[] args) throws Exception {
        Class<?> type = switch (args[0]) {
            case "wrong" -> Wrong.class;
            case "seeded" -> Seeded.class;
            case "mariadb" -> OfMariaDb.class;
            default -> Plain.class;
        };
        if (type == OfMariaDb.class) {
            Template template = new Template(type.getAnnotation(Testbed.class));
            for (int nth = 0; nth < 2; nth++) {
                Database database = template.fresh().database();
                String url = "jdbc:mariadb://" + database.host() + ":" + database.port() + "/" + database.name();
                String rows = mariadb(database, "SELECT @@port; SELECT n FROM t; DELETE FROM t");
                System.out.println(database.engine() + " " + database.jdbcUrl().equals(url) + " " + rows.equals(
                        database.port() + " 1 ") + " " + PeopleTest.count(database, "SELECT COUNT(*) FROM t"));
            }
            return;
        }
        try {
            Database database = new Template(type.getAnnotation(Testbed.class)).fresh().database();
            System.out.println("the user is " + database.user());
            if (type == Seeded.class) {
                System.out.println("it has " + PeopleTest.count(database, "SELECT n FROM t"));
            }
        } catch (IllegalStateException error) {
            System.out.println(error.getMessage());
            System.exit(3);
        }
        if (args[0].equals("waiting")) {
            Files.createFile(Path.of("begun"));
            Thread.sleep(Long.MAX_VALUE);
        }
    }
}
