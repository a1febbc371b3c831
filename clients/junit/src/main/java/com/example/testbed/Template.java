package com.example.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** What databases are copies of. It is filled when the first of them is asked for. */
final class Template {
    /** A database for one test. */
    record Lent(Pool pool, String hash, int id, Database database) {
        void giveBack() {
            pool.ask("POST", "/templates/" + hash + "/tests/" + id + "/recreate", null);
        }
    }

    /** The pool's hash for the copies of the project's seed. */
    private static final String SEED = "testbed";

    private final Migration migration;
    private final Pool pool;
    private final String hash;
    private RuntimeException why;

    Template(Testbed wanted) {
        try {
            var constructor = wanted.migration().getDeclaredConstructor();
            constructor.setAccessible(true);
            migration = constructor.newInstance();
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(
                    wanted.migration().getName() + " needs a constructor without parameters", error);
        }
        hash = migration instanceof Migration.Seed ? SEED : digest(wanted);
        pool = Pool.around(wanted.run());
    }

    Lent fresh() {
        if (migration instanceof Migration.Seed) {
            return copy();
        }
        while (true) {
            make();
            try {
                return copy();
            } catch (Refused refused) {
                // Somebody else was at it and has failed: here it fails too, and says why.
                if (refused.status() != 404 && refused.status() != 410) {
                    throw refused;
                }
            }
        }
    }

    private Lent copy() {
        Map<String, Object> answer = pool.ask("GET", "/templates/" + hash + "/tests", null);
        return new Lent(pool, hash, ((Number) answer.get("id")).intValue(), database(answer));
    }

    /** Makes it unless it is there. Of several processes one does it, and the others do not wait here. */
    private synchronized void make() {
        // A migration that has failed is not tried again for each test.
        if (why != null) {
            throw why;
        }
        Map<String, Object> answer;
        try {
            answer = pool.ask("POST", "/templates", Map.of("hash", hash));
        } catch (Refused refused) {
            if (refused.status() == 423) {
                return;
            }
            throw refused;
        }
        try {
            migration.migrate(database(answer));
            pool.ask("PUT", "/templates/" + hash, null);
        } catch (Throwable error) {
            why = new IllegalStateException("the migration has failed: " + error.getMessage(), error);
            try {
                pool.ask("DELETE", "/templates/" + hash, null);
            } catch (RuntimeException other) {
                why.addSuppressed(other);
            }
            throw why;
        }
    }

    @SuppressWarnings("unchecked")
    private static Database database(Map<String, Object> answer) {
        Map<String, Object> database = (Map<String, Object>) answer.get("database");
        return new Database((Map<String, Object>) database.get("config"));
    }

    /** It changes when a file of the inputs does: its name or what is in it. */
    static String digest(Testbed wanted) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            add(digest, wanted.migration().getName().getBytes(StandardCharsets.UTF_8));
            for (String input : wanted.inputs()) {
                Path root = Path.of(input);
                try (Stream<Path> found = Files.walk(root)) {
                    List<Path> files = found.filter(Files::isRegularFile).sorted().toList();
                    for (Path file : files) {
                        add(digest, file.toString().getBytes(StandardCharsets.UTF_8));
                        add(digest, Files.readAllBytes(file));
                    }
                }
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (IOException error) {
            throw new UncheckedIOException("reading the template's inputs", error);
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void add(MessageDigest digest, byte[] part) {
        digest.update((part.length + ":").getBytes(StandardCharsets.UTF_8));
        digest.update(part);
    }
}
