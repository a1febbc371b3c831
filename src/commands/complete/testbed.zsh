#compdef testbed
# Completes testbed's command line in zsh: source <(testbed completions zsh), after compinit
_testbed() {
    local -i at=${words[(i)--]}
    if (( at < CURRENT )); then
        # What comes here is another command's.
        shift $at words
        (( CURRENT -= at ))
        _normal
        return
    fi
    local line
    local -a values texts
    for line in ${(f)"$($words[1] __complete described "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)"}; do
        values+=("${line%%$'\t'*}")
        texts+=("${${line%%$'\t'*}} -- ${line#*$'\t'}")
    done
    local -a ending=(-S ' ')
    if [[ ${#values} == 1 && $values[1] == *[=:/] ]]; then ending=(-S ''); fi
    compadd -V testbed -Q $ending -l -d texts -a values
}
compdef _testbed testbed
