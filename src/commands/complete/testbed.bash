# Completes testbed's command line in bash: source <(testbed completions bash)
_testbed() {
    # The words up to the cursor, put together again where bash has split them at ':' and '='.
    local rest=${COMP_LINE:0:COMP_POINT} i n=-1 word words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            words[++n]=
        fi
        word=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then word=$rest; fi
        words[n]+=$word
        rest=${rest#"$word"}
    done
    local current=${words[n]}
    COMPREPLY=()
    for ((i = 1; i < n; i++)); do
        if [[ ${words[i]} == -- ]]; then
            # What comes here is another command's.
            compopt -o filenames 2>/dev/null
            if ((i == n - 1)); then COMPREPLY=($(compgen -c -- "$current")); fi
            if ((${#COMPREPLY[@]} == 0)); then COMPREPLY=($(compgen -f -- "$current")); fi
            return
        fi
    done
    # Bash puts an answer in the place of what comes after the last character that splits words.
    local before= line
    if [[ $COMP_WORDBREAKS == *:* ]]; then before=${current%"${current##*:}"}; fi
    if [[ $COMP_WORDBREAKS == *=* && ${current%"${current##*=}"} == "$before"* ]]; then before=${current%"${current##*=}"}; fi
    while IFS= read -r line; do
        COMPREPLY+=("${line#"$before"}")
    done < <("${words[0]}" __complete values "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/] ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -F _testbed testbed
