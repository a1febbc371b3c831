package com.example.testbed;

/** What fills the database that others are copies of. It has a constructor without parameters. */
@FunctionalInterface
public interface Migration {
    void migrate(Database database) throws Exception;

    /** Fills nothing. */
    final class None implements Migration {
        @Override
        public void migrate(Database database) {}
    }
}
