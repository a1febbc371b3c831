package com.example.testbed;

import java.nio.file.Files;
import java.nio.file.Path;

/** A process of its own with no pool around it. */
final class Alone {
    @Testbed
    static class Plain {}

    @Testbed(migration = Migration.Seed.class)
    static class Seeded {}

    @Testbed(run = {"--with", "oracle"})
    static class Wrong {}

    public static void main(String[] args) throws Exception {
        Class<?> type = switch (args[0]) {
            case "wrong" -> Wrong.class;
            case "seeded" -> Seeded.class;
            default -> Plain.class;
        };
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
