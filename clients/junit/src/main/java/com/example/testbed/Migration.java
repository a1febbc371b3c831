package com.example.testbed;

/** What fills the database that others are copies of. It has a constructor without parameters. */
@FunctionalInterface
public interface Migration {
    void migrate(Database database) throws Exception;

    /** Stands for the project's seed, {@code seed} in testbed.yaml: copies of that are there, and nothing is filled. */
    final class Seed implements Migration {
        @Override
        public void migrate(Database database) {}
    }

    /** Fills nothing. */
    final class None implements Migration {
        @Override
        public void migrate(Database database) {}
    }
}
