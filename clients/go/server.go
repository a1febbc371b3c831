package testbed

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

const variable = "INTEGRESQL_CLIENT_BASE_URL"

var errMissing = errors.New("testbed is not in PATH, and " + variable + " is not set. Build testbed from its repository " +
	"(`make build` makes target/release/testbed) and put it into PATH, or run the tests in " +
	"`testbed run --with postgres --pool -- go test ./...`")

// Says where the pool is, and stays until nobody has the other end of its standard input any more: also where this
// process is killed.
var holder = []string{"sh", "-c", `echo "$` + variable + `"; exec cat >/dev/null`}

// Run has the arguments of `testbed run` where the tests do not run in one. It is set before the first test asks.
var Run []string

// address is that of the pool around the tests, or of one that is started now and ends with this process.
func address() (string, error) {
	around.once.Do(func() {
		if around.url = os.Getenv(variable); around.url == "" {
			around.url, around.err = start()
		}
	})
	return around.url, around.err
}

var around struct {
	once sync.Once
	url  string
	err  error
}

func start() (string, error) {
	program, err := exec.LookPath("testbed")
	if err != nil {
		return "", errMissing
	}
	args := append([]string{"run", "-q"}, Run...)
	if len(Run) == 0 {
		args = append(args, defaults()...)
	}
	// A file, and not this process's own standard error, whose end `go test` waits for.
	told, err := os.CreateTemp("", "testbed-")
	if err != nil {
		return "", err
	}
	defer told.Close()
	_ = os.Remove(told.Name())
	command := exec.Command(program, append(append([]string{}, append(args, "--")...), holder...)...)
	command.Stderr = told
	command.Env = environment()
	detach(command)
	// It is never closed: the end of this process does that.
	if _, err = command.StdinPipe(); err != nil {
		return "", err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err = command.Start(); err != nil {
		return "", err
	}
	url, _ := bufio.NewReader(output).ReadString('\n')
	if url = strings.TrimSpace(url); url != "" {
		held = command
		return url, nil
	}
	ended := command.Wait()
	said := make([]byte, 64*1024)
	count, _ := told.ReadAt(said, 0)
	return "", fmt.Errorf("testbed %s has ended (%v):\n%s", strings.Join(args, " "), ended, said[:count])
}

// What was started: with its pipes, which the garbage collector would close.
var held *exec.Cmd

// A run around this that serves no pool has nothing to do with the one that is started.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TESTBED_RUN_ID=") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func defaults() []string {
	folder, err := os.Getwd()
	for err == nil {
		for _, name := range []string{"testbed.yaml", "testbed.yml"} {
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				return []string{"--pool"}
			}
		}
		if _, err := os.Stat(filepath.Join(folder, ".git")); err == nil || folder == filepath.Dir(folder) {
			break
		}
		folder = filepath.Dir(folder)
	}
	return []string{"--with", "postgres", "--pool"}
}
