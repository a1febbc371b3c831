# What runs under the lock: appends lines `WORD FENCE RUN PROCESS UPTIME` to the log, each in one write, for as long as it is told to.
# usage: bash holder.sh LOG PIPE HUNDREDTHS [stubborn] [helped]
exec 3>>"$1" 4<>"$2"
# Some have to be killed.
if [[ " $* " == *" stubborn "* ]]; then trap '' TERM INT; fi

line() {
    local uptime
    # The one clock that nothing here changes.
    read -r uptime _ </proc/uptime
    printf '%s %s %s %s %s\n' "$1" "$TESTBED_LOCK_FENCE" "$TESTBED_RUN_ID" "$2" "$uptime" >&3
}

work() {
    local i
    for ((i = 0; i < $1; i++)); do
        # Nobody ever writes into the pipe: a pause without another process.
        read -rt 0.01 -u 4
        line at "$2"
    done
}

# A process of the command in a session of its own, as servers are: what it does counts as well.
if [[ " $* " == *" helper "* ]]; then
    work "$3" "$4"
    exit
fi
line enter $$
if [[ " $* " == *" helped "* ]]; then setsid bash "$0" "$1" "$2" "$3" $$ helper & fi
work "$3" $$
wait
line leave $$
