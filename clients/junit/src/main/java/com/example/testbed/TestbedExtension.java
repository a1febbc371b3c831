package com.example.testbed;

import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolutionException;
import org.junit.jupiter.api.extension.ParameterResolver;
import org.junit.platform.commons.support.AnnotationSupport;

/** Stands behind {@link Testbed}. */
public final class TestbedExtension implements ParameterResolver {
    private static final Namespace NAMESPACE = Namespace.create(TestbedExtension.class);
    /** One for all classes that want the same. */
    private static final ConcurrentMap<String, Template> TEMPLATES = new ConcurrentHashMap<>();

    /** A test's own database, which goes when the test has ended. */
    private record Own(Template.Lent lent, ExtensionContext context) implements AutoCloseable {
        @Override
        public void close() {
            String keep = System.getenv("TESTBED_KEEP_FAILED");
            if (context.getExecutionException().isPresent() && keep != null && !keep.isEmpty()) {
                System.err.println("testbed: " + lent.database() + " is kept until `testbed run` ends");
                return;
            }
            try {
                lent.giveBack();
            } catch (Refused refused) {
                // The end of `testbed run` takes it.
            }
        }
    }

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        return parameter.getParameter().getType() == Database.class;
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
        if (context.getTestMethod().isEmpty()) {
            throw new ParameterResolutionException(
                    "a database is one test's own: take it in @Test, @BeforeEach or @AfterEach");
        }
        Testbed wanted = context.getTestClass()
                .flatMap(TestbedExtension::wanted)
                .orElseThrow(() -> new ParameterResolutionException("the class has no @Testbed"));
        try {
            // One for the test, whoever takes it: @BeforeEach has the same as the test.
            return context.getStore(NAMESPACE)
                    .getOrComputeIfAbsent(Own.class, key -> new Own(template(wanted).fresh(), context), Own.class)
                    .lent()
                    .database();
        } catch (RuntimeException error) {
            throw new ParameterResolutionException(error.getMessage(), error);
        }
    }

    private static java.util.Optional<Testbed> wanted(Class<?> type) {
        var found = AnnotationSupport.findAnnotation(type, Testbed.class);
        return found.isPresent() || type.getEnclosingClass() == null ? found : wanted(type.getEnclosingClass());
    }

    private static Template template(Testbed wanted) {
        String key = Template.digest(wanted);
        return TEMPLATES.computeIfAbsent(key, hash -> new Template(wanted));
    }
}
