//go:build unix

package testbed

import (
	"os/exec"
	"syscall"
)

// detach gives a command a group of its own: Ctrl-C is for the tests, which give their databases back first.
func detach(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
