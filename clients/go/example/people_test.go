package example

import (
	"os/exec"
	"strings"
	"testing"

	"example.com/testbed"
)

var people = testbed.NewTemplate(func(database testbed.Database) error {
	command := exec.Command("psql", "-qv", "ON_ERROR_STOP=1", "-f", "migrations/1-people.sql")
	command.Env = database.Env()
	return command.Run()
}, "migrations")

// query asks through psql; a project has its driver for that, and database.URL().
func query(t *testing.T, database testbed.Database, sql string) string {
	t.Helper()
	command := exec.Command("psql", "-qAtc", sql)
	command.Env = database.Env()
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return strings.TrimSpace(string(output))
}

func TestWhoeverGoesIsMissedByNobodyElse(t *testing.T) {
	for _, name := range []string{"Ada", "Grace", "Ada", "Grace"} {
		name := name
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := testbed.New(t, people)
			if count := query(t, database, "SELECT count(*) FROM people"); count != "2" {
				t.Errorf("there are %s people", count)
			}
			query(t, database, "DELETE FROM people WHERE name = '"+name+"'")
			if count := query(t, database, "SELECT count(*) FROM people"); count != "1" {
				t.Errorf("there are %s people", count)
			}
		})
	}
}
