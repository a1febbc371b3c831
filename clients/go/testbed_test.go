package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// query asks through psql, with a real server behind it: these tests run in `testbed run --pool`.
func query(t *testing.T, database Database, sql string) string {
	t.Helper()
	command := exec.Command("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql)
	command.Env = database.Env()
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return strings.TrimSpace(string(output))
}

func until(t *testing.T, what string, claim func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !claim(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	var made atomic.Int32
	template := NewTemplate(func(database Database) error {
		made.Add(1)
		query(t, database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
		return nil
	})
	var seen sync.Map
	t.Run("all", func(t *testing.T) {
		for nth := 0; nth < 16; nth++ {
			t.Run(fmt.Sprint(nth), func(t *testing.T) {
				t.Parallel()
				database := New(t, template)
				if _, is := seen.LoadOrStore(database.Database, true); is {
					t.Errorf("%v comes twice", database)
				}
				if rows := query(t, database, "SELECT n FROM t; DELETE FROM t"); rows != "1" {
					t.Errorf("it has %q", rows)
				}
			})
		}
	})
	if made.Load() != 1 {
		t.Errorf("the template was made %d times", made.Load())
	}
}

func TestWhatIsGivenBackIsGone(t *testing.T) {
	other := New(t, nil)
	var name string
	t.Run("inner", func(t *testing.T) { name = New(t, nil).Database })
	until(t, "it is gone", func() bool {
		return query(t, other, "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'") == "0"
	})
}

func TestNothingPrintsThePassword(t *testing.T) {
	database := New(t, nil)
	if !strings.Contains(database.URL(), database.Password()) {
		t.Error("the URL has it")
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(format, database)
		if !strings.Contains(text, database.Database) || strings.Contains(text, database.Password()+"\"") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

func TestAMigrationThatFailsIsToldAndNotTriedAgain(t *testing.T) {
	wrong := errors.New("the migration is wrong")
	tried := 0
	template := NewTemplate(func(Database) error { tried++; return wrong })
	for nth := 0; nth < 2; nth++ {
		if _, err := template.fresh(); !errors.Is(err, wrong) {
			t.Errorf("it says %v", err)
		}
	}
	if tried != 1 {
		t.Errorf("it was tried %d times", tried)
	}
	panicking := NewTemplate(func(Database) error { panic("for a reason") })
	if _, err := panicking.fresh(); err == nil || !strings.Contains(err.Error(), "for a reason") {
		t.Errorf("it says %v", err)
	}
}

func TestOtherInputsAreOtherTemplates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.sql")
	digest := func(content string) string {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		hash, err := (&Template{Inputs: []string{filepath.Dir(file)}}).digest()
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	first := digest("first")
	if digest("second") == first || digest("first") != first {
		t.Error("what is in a file counts")
	}
	if _, err := (&Template{Inputs: []string{"nowhere"}}).fresh(); err == nil {
		t.Error("an input that is not there is told")
	}
}

// alone is this test program again, in a folder of its own and with no pool around it: `inner` is what runs.
func alone(t *testing.T, folder, inner string, env ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run", "^TestInner$", "-test.v")
	command.Dir = folder
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, variable+"=") {
			command.Env = append(command.Env, entry)
		}
	}
	command.Env = append(append(command.Env, "TESTBED_INNER="+inner), env...)
	return command
}

func TestInner(t *testing.T) {
	switch os.Getenv("TESTBED_INNER") {
	case "":
		t.Skip("other tests call it")
	case "user":
		t.Log("the user is", New(t, nil).User)
	case "seed":
		t.Log("it has", query(t, New(t, Seed), "DELETE FROM t RETURNING n"), query(t, New(t, Seed), "SELECT n FROM t"))
	case "refused":
		Run = []string{"--with", "oracle"}
		New(t, nil)
	case "failing":
		t.Errorf("database %s", New(t, nil).Database)
	case "waiting":
		New(t, nil)
		if err := os.WriteFile("begun", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		select {}
	}
}

func servers(folder string) (found []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		line, _ := os.ReadFile(filepath.Join(path, "cmdline"))
		if at, err := os.Readlink(filepath.Join(path, "cwd")); err == nil && at == folder &&
			bytes.Contains(line, []byte("testbed\x00run")) {
			found = append(found, path)
		}
	}
	return found
}

func TestWithoutAPoolItStartsOneThatEndsWithTheProcess(t *testing.T) {
	folder := t.TempDir()
	settings := []byte("databases:\n  orders: {use: postgres, user: striv}\n")
	if err := os.WriteFile(filepath.Join(folder, "testbed.yaml"), settings, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := alone(t, folder, "user").CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte("the user is striv")) {
		t.Errorf("%v: %s", err, output)
	}
	until(t, "it has ended", func() bool { return len(servers(folder)) == 0 })
}

func TestTheCopiesAreOfTheSeedWhereTheProjectHasOne(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{
		"testbed.yaml": "databases:\n  orders: {use: postgres, seed: seed.sql}\n",
		"seed.sql":     "CREATE TABLE t (n int); INSERT INTO t VALUES (42)",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if output, err := alone(t, folder, "seed").CombinedOutput(); !bytes.Contains(output, []byte("it has 42 42")) {
		t.Errorf("%v: %s", err, output)
	}
	if _, err := Seed.fresh(); err == nil || !strings.Contains(err.Error(), "has no seed") {
		t.Errorf("it says %v", err)
	}
}

func TestAProcessThatIsKilledLeavesNoServer(t *testing.T) {
	folder := t.TempDir()
	command := alone(t, folder, "waiting")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "it has begun", func() bool { _, err := os.Stat(filepath.Join(folder, "begun")); return err == nil })
	if len(servers(folder)) != 1 {
		t.Error("there is a server")
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	until(t, "the server has ended", func() bool { return len(servers(folder)) == 0 })
}

func TestWhatIsMissingOrWrongIsTold(t *testing.T) {
	for _, one := range []struct{ inner, env, told string }{
		{"user", "PATH=/nowhere", "testbed is not in PATH"},
		{"refused", "A=b", "testbed run -q --with oracle has ended (exit status 2):\nerror: "},
	} {
		output, err := alone(t, t.TempDir(), one.inner, one.env).CombinedOutput()
		// The lines of what is told stand below each other.
		said := strings.ReplaceAll(string(output), "\n        ", "\n")
		if err == nil || !strings.Contains(said, one.told) {
			t.Errorf("%v: %s", err, said)
		}
	}
}

func TestAFailedTestLeavesItsDatabaseWhereThatIsAskedFor(t *testing.T) {
	other := New(t, nil)
	for _, keep := range []string{"", "1"} {
		command := alone(t, t.TempDir(), "failing", "TESTBED_KEEP_FAILED="+keep, variable+"="+os.Getenv(variable))
		output, _ := command.CombinedOutput()
		_, after, _ := bytes.Cut(output, []byte("database "))
		name, _, _ := bytes.Cut(after, []byte("\n"))
		count := func() string {
			return query(t, other, "SELECT count(*) FROM pg_database WHERE datname = '"+string(name)+"'")
		}
		if keep == "" {
			until(t, "it is gone", func() bool { return count() == "0" })
		} else if count() != "1" || !bytes.Contains(output, []byte("is kept")) {
			t.Errorf("%s", output)
		}
	}
}
