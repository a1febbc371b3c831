package com.example.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.testkit.engine.EventConditions.finishedWithFailure;
import static org.junit.platform.testkit.engine.TestExecutionResultConditions.message;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.platform.testkit.engine.EngineTestKit;

/** Against a real server: these tests run in {@code testbed run --pool}. */
@Testbed
class ClientTest {
    static final AtomicInteger TRIED = new AtomicInteger();
    static String name;

    static class Broken implements Migration {
        @Override
        public void migrate(Database database) {
            TRIED.incrementAndGet();
            throw new IllegalArgumentException("the migration is wrong");
        }
    }

    /** They are called by other tests alone. */
    @Testbed(migration = Broken.class)
    static class WithABrokenMigration {
        @Test
        void one(Database database) {}

        @Test
        void two(Database database) {}
    }

    @Testbed
    static class Failing {
        @Test
        void one(Database database) {
            name = database.name();
            throw new AssertionError("on purpose");
        }
    }

    @Testbed
    static class OfAllTests {
        @BeforeAll
        static void all(Database database) {}

        @Test
        void one() {}
    }

    private static void until(String what, Callable<Boolean> claim) throws Exception {
        for (Instant end = Instant.now().plus(Duration.ofSeconds(30)); !claim.call(); Thread.sleep(20)) {
            assertTrue(Instant.now().isBefore(end), what);
        }
    }

    private static EngineTestKit.Builder kit(Class<?> type) {
        return EngineTestKit.engine("junit-jupiter").selectors(selectClass(type));
    }

    @Test
    void whatIsGivenBackIsGoneAlsoOfAFailedTest(Database other) throws Exception {
        kit(Failing.class).execute().testEvents().assertStatistics(events -> events.failed(1));
        String rest = "SELECT count(*) FROM pg_database WHERE datname = '" + name + "'";
        until("it is gone", () -> PeopleTest.count(other, rest) == 0);
    }

    @Test
    void aMigrationThatFailsIsToldAndNotTriedAgain() {
        var events = kit(WithABrokenMigration.class).execute().testEvents();
        events.assertStatistics(all -> all.failed(2));
        events.failed().assertThatEvents().allMatch(event ->
                finishedWithFailure(message(said -> said.contains("the migration is wrong"))).matches(event));
        assertEquals(1, TRIED.get());
    }

    @Test
    void aDatabaseIsOneTestsOwn() {
        kit(OfAllTests.class).execute().containerEvents().failed().assertThatEvents().anyMatch(event ->
                finishedWithFailure(message(said -> said.contains("a database is one test's own"))).matches(event));
    }

    private static Process alone(Path folder, String what, String path) throws IOException {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        ProcessBuilder builder = new ProcessBuilder(
                java, "-cp", System.getProperty("java.class.path"), Alone.class.getName(), what);
        builder.directory(folder.toFile()).redirectErrorStream(true);
        builder.environment().remove("INTEGRESQL_CLIENT_BASE_URL");
        if (path != null) {
            builder.environment().put("PATH", path);
        }
        return builder.start();
    }

    private static long servers(Path folder) throws IOException {
        try (Stream<Path> all = Files.list(Path.of("/proc"))) {
            return all.filter(path -> path.getFileName().toString().matches("[0-9]+"))
                    .filter(path -> {
                        try {
                            return Files.readString(path.resolve("cmdline")).contains("testbed\0run")
                                    && Files.readSymbolicLink(path.resolve("cwd")).equals(folder.toRealPath());
                        } catch (IOException gone) {
                            return false;
                        }
                    })
                    .count();
        }
    }

    @Test
    void withoutAPoolItStartsOneThatEndsWithTheProcess(@TempDir Path folder) throws Exception {
        Files.writeString(
                folder.resolve("testbed.yaml"), "databases:\n  orders: {use: postgres, user: striv}\n");
        Process process = alone(folder, "plain", null);
        String said = new String(process.getInputStream().readAllBytes());
        assertEquals(0, process.waitFor(), said);
        assertTrue(said.contains("the user is striv"), said);
        until("it has ended", () -> servers(folder) == 0);
    }

    @Testbed(migration = Migration.Seed.class)
    static class OfASeed {
        @Test
        void one(Database database) {}
    }

    @Test
    void theCopiesAreOfTheSeedWhereTheProjectHasOne(@TempDir Path folder) throws Exception {
        Files.writeString(folder.resolve("testbed.yaml"), "databases:\n  orders: {use: postgres, seed: seed.sql}\n");
        Files.writeString(folder.resolve("seed.sql"), "CREATE TABLE t (n int); INSERT INTO t VALUES (42)");
        Process process = alone(folder, "seeded", null);
        String said = new String(process.getInputStream().readAllBytes());
        assertEquals(0, process.waitFor(), said);
        assertTrue(said.contains("it has 42"), said);
        kit(OfASeed.class).execute().testEvents().failed().assertThatEvents().anyMatch(event ->
                finishedWithFailure(message(told -> told.contains("has no seed"))).matches(event));
    }

    @Test
    void aProcessThatIsKilledLeavesNoServer(@TempDir Path folder) throws Exception {
        Process process = alone(folder, "waiting", null);
        until("it has begun", () -> Files.exists(folder.resolve("begun")));
        assertEquals(1, servers(folder));
        process.destroyForcibly().waitFor();
        until("the server has ended", () -> servers(folder) == 0);
    }

    @Test
    void whatIsMissingOrWrongIsTold(@TempDir Path folder) throws Exception {
        for (List<String> one : List.of(
                List.of("plain", "/nowhere", "testbed is not in PATH"),
                List.of("wrong", "", "testbed run -q --with oracle has ended (exit code 2):\nerror: "))) {
            Process process = alone(folder, one.get(0), one.get(1).isEmpty() ? null : one.get(1));
            String said = new String(process.getInputStream().readAllBytes());
            assertEquals(3, process.waitFor(), said);
            assertTrue(said.contains(one.get(2)), said);
        }
    }
}
