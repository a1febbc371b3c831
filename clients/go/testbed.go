// Package testbed gives each test a fresh, migrated PostgreSQL database, in milliseconds: a copy of one that was
// migrated once. The program testbed makes it, which has to be in PATH.
package testbed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Database is a database and its login. Nothing that prints it shows the password.
type Database struct {
	Host     string
	Port     int
	User     string
	Database string
	// Params is what libpq has to know besides: sslmode and sslrootcert where the server takes TLS alone.
	Params map[string]string

	password func() string
}

// Password is a method, so that no format prints it.
func (d Database) Password() string { return d.password() }

// URL is what a driver connects to.
func (d Database) URL() string {
	query := url.Values{}
	for name, value := range d.Params {
		query.Set(name, value)
	}
	if len(d.Params) == 0 {
		// lib/pq wants TLS unless it is told not to.
		query.Set("sslmode", "disable")
	}
	address := url.URL{
		Scheme:   "postgresql",
		User:     url.UserPassword(d.User, d.Password()),
		Host:     fmt.Sprintf("%s:%d", d.Host, d.Port),
		Path:     "/" + d.Database,
		RawQuery: query.Encode(),
	}
	return address.String()
}

// Env is the environment of this process with the variables that lead a command to this database.
func (d Database) Env() []string {
	env := append(os.Environ(), "DATABASE_URL="+d.URL(), "PGHOST="+d.Host, fmt.Sprintf("PGPORT=%d", d.Port),
		"PGUSER="+d.User, "PGPASSWORD="+d.Password(), "PGDATABASE="+d.Database)
	for name, variable := range map[string]string{"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"} {
		if value, is := d.Params[name]; is {
			env = append(env, variable+"="+value)
		}
	}
	return env
}

// String has no password.
func (d Database) String() string {
	return fmt.Sprintf("%s@%s:%d/%s", d.User, d.Host, d.Port, d.Database)
}

// Template is what databases are copies of. It is filled when the first of them is asked for.
type Template struct {
	// Name tells templates apart that are written in one place.
	Name string
	// Inputs are the files and folders that the template hangs on, seen from the test's folder.
	Inputs []string
	// Migrate fills it. Of the processes that `go test` starts for several packages, one does it.
	Migrate func(Database) error

	once  sync.Once
	hash  string
	place string
	mutex sync.Mutex
	err   error
}

// NewTemplate is a template of its own: another one than those that other lines make.
func NewTemplate(migrate func(Database) error, inputs ...string) *Template {
	_, file, line, _ := runtime.Caller(1)
	return &Template{Inputs: inputs, Migrate: migrate, place: fmt.Sprintf("%s:%d", file, line)}
}

// Seed is what the project's seed has put into its database, seed in testbed.yaml: there is nothing to fill.
var Seed = &Template{hash: "testbed"}

// New is a database that only this test has: a copy of the template, which is given back at its end. An empty one
// is a copy of nil.
func New(t testing.TB, template *Template) Database {
	t.Helper()
	if template == nil {
		template = &empty
	}
	lent, err := template.fresh()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("TESTBED_KEEP_FAILED") != "" {
			t.Logf("testbed: %v is kept until `testbed run` ends", lent.database)
			return
		}
		// Where that fails, the end of `testbed run` takes it.
		_ = ask("POST", fmt.Sprintf("/templates/%s/tests/%d/recreate", template.hash, lent.id), nil, nil)
	})
	return lent.database
}

var empty Template

// Refused is what the pool says that has not done what it was asked for. No answer at all is status 0.
type Refused struct {
	Status  int
	Message string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("testbed's pool answers %d: %s", r.Status, r.Message)
}

type lent struct {
	id       int
	database Database
}

func (t *Template) fresh() (lent, error) {
	if t == Seed {
		return get(t.hash)
	}
	t.once.Do(func() { t.hash, t.err = t.digest() })
	for {
		if err := t.make(); err != nil {
			return lent{}, err
		}
		given, err := get(t.hash)
		var refused *Refused
		// Somebody else was at it and has failed: here it fails too, and says why.
		if errors.As(err, &refused) && (refused.Status == 404 || refused.Status == 410) {
			continue
		}
		return given, err
	}
}

// make makes it unless it is there. Of several processes one does it, and the others do not wait here.
func (t *Template) make() error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	// A migration that has failed is not tried again for each test.
	if t.err != nil {
		return t.err
	}
	var answer answer
	err := ask("POST", "/templates", map[string]string{"hash": t.hash}, &answer)
	var refused *Refused
	if errors.As(err, &refused) && refused.Status == 423 {
		return nil
	}
	if err != nil {
		return err
	}
	if t.err = t.migrate(answer.database()); t.err == nil {
		t.err = ask("PUT", "/templates/"+t.hash, nil, nil)
	}
	if t.err != nil {
		_ = ask("DELETE", "/templates/"+t.hash, nil, nil) // Why it was not made is what has to be told.
	}
	return t.err
}

func (t *Template) migrate(database Database) (err error) {
	if t.Migrate == nil {
		return nil
	}
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("the migration panicked: %v", why)
		}
	}()
	if err := t.Migrate(database); err != nil {
		return fmt.Errorf("the migration has failed: %w", err)
	}
	return nil
}

// digest changes when a file of the inputs does: its name or what is in it.
func (t *Template) digest() (string, error) {
	digest := sha256.New()
	add := func(part []byte) {
		fmt.Fprintf(digest, "%d:", len(part))
		digest.Write(part)
	}
	add([]byte(t.place))
	add([]byte(t.Name))
	for _, input := range t.Inputs {
		err := filepath.WalkDir(input, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			add([]byte(path))
			add(content)
			return err
		})
		if err != nil {
			return "", fmt.Errorf("testbed: an input of the template: %w", err)
		}
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

type answer struct {
	ID       int `json:"id"`
	Database struct {
		Config struct {
			Host     string            `json:"host"`
			Port     int               `json:"port"`
			User     string            `json:"username"`
			Password string            `json:"password"`
			Database string            `json:"database"`
			Params   map[string]string `json:"additionalParams"`
		} `json:"config"`
	} `json:"database"`
}

func (a answer) database() Database {
	config := a.Database.Config
	return Database{
		Host: config.Host, Port: config.Port, User: config.User, Database: config.Database, Params: config.Params,
		password: func() string { return config.Password },
	}
}

func get(hash string) (lent, error) {
	var answer answer
	err := ask("GET", "/templates/"+hash+"/tests", nil, &answer)
	return lent{answer.ID, answer.database()}, err
}

// The pool itself answers within a minute. A proxy of the caller's has no part in this.
var client = http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}

func ask(method, path string, body, into any) error {
	base, err := address()
	if err != nil {
		return err
	}
	var content []byte
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequest(method, base+"/v1"+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		// The address has a secret in it.
		var told *url.Error
		if errors.As(err, &told) {
			err = told.Err
		}
		return &Refused{0, fmt.Sprintf("no answer (%v); has `testbed run` ended?", err)}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		var told struct{ Message string }
		if json.Unmarshal(text, &told) != nil {
			told.Message = string(text)
		}
		return &Refused{response.StatusCode, told.Message}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}
