// Package shows sells tickets; each of its tests has a database of its own, with all migrations in it.
package shows

import (
	"database/sql"
	"errors"
	"testing"

	"example.com/testbed"
	"github.com/lib/pq"
)

// fresh is a copy of the seed, which nobody but this test has.
func fresh(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", testbed.New(t, testbed.Seed).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func number(t *testing.T, db *sql.DB, query string) (number int) {
	t.Helper()
	if err := db.QueryRow(query).Scan(&number); err != nil {
		t.Fatal(err)
	}
	return number
}

func TestTheLastMigrationIsIn(t *testing.T) {
	t.Parallel()
	if version := number(t, fresh(t), "SELECT max(version_id) FROM goose_db_version"); version != 2 {
		t.Errorf("it is %d", version)
	}
}

// Whichever of the two is first, the other does not find its tickets.
func TestASoldOutShowIsNobodyElsesTrouble(t *testing.T) {
	for _, holder := range []string{"Ophelia", "Horatio"} {
		holder := holder
		t.Run(holder, func(t *testing.T) {
			t.Parallel()
			db := fresh(t)
			if _, err := db.Exec("INSERT INTO tickets SELECT 1, seat, $1 FROM generate_series(1, 2) seat", holder); err != nil {
				t.Fatal(err)
			}
			if sold := number(t, db, "SELECT count(*) FROM tickets"); sold != 2 {
				t.Errorf("%d are sold", sold)
			}
		})
	}
}

func TestTicketsAreForShowsThatThereAre(t *testing.T) {
	t.Parallel()
	_, err := fresh(t).Exec("INSERT INTO tickets VALUES (2, 1, 'Ophelia')")
	var refused *pq.Error
	if !errors.As(err, &refused) || refused.Code.Name() != "foreign_key_violation" {
		t.Errorf("it says %v", err)
	}
}
