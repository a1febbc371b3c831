# What runs under the lock: appends lines `WORD FENCE RUN PROCESS UPTIME` to the log, each in one write, for as long as it is told to.
# usage: bash holder.sh LOG PIPE HUNDREDTHS [stubborn]
exec 3>>"$1" 4<>"$2"
# Some have to be killed.
if [[ ${4:-} == stubborn ]]; then trap '' TERM INT; fi

line() {
    local uptime
    # The one clock that nothing here changes.
    read -r uptime _ </proc/uptime
    printf '%s %s %s %s %s\n' "$1" "$TESTBED_LOCK_FENCE" "$TESTBED_RUN_ID" "$$" "$uptime" >&3
}

line enter
for ((i = 0; i < $3; i++)); do
    # Nobody ever writes into the pipe: a pause without another process.
    read -rt 0.01 -u 4
    line at
done
line leave
