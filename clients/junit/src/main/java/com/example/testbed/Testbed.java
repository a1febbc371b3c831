package com.example.testbed;

import java.lang.annotation.ElementType;
import java.lang.annotation.Inherited;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ExtendWith;

/** Gives a parameter of type {@link Database} to each test of a class: a database that only this test has. */
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
@Inherited
@ExtendWith(TestbedExtension.class)
public @interface Testbed {
    /** What fills the template. It is done once, by one of all processes that run tests. */
    Class<? extends Migration> migration() default Migration.None.class;

    /** The files and folders that the template hangs on, seen from the folder in which the tests run. */
    String[] inputs() default {};

    /** The arguments of {@code testbed run} where the tests do not run in one. */
    String[] run() default {};
}
