package com.example.testbed;

import java.nio.file.Files;
import java.nio.file.Path;

/** A process of its own with no pool around it. */
final class Alone {
    @Testbed
    static class Plain {}

    @Testbed(run = {"--with", "oracle"})
    static class Wrong {}

    public static void main(String[] args) throws Exception {
        Class<?> type = args[0].equals("wrong") ? Wrong.class : Plain.class;
        try {
            Database database = new Template(type.getAnnotation(Testbed.class)).fresh().database();
            System.out.println("the user is " + database.user());
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
