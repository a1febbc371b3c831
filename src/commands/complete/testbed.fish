# Completes testbed's command line in fish: testbed completions fish | source
function __testbed_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l at (contains -i -- -- $words)
    if test -n "$at"
        # What comes here is another command's.
        set -e words[1..$at]
        set -l typed (string escape -- $words) $current
        complete -C "$typed"
    else
        $words[1] __complete described $words[2..-1] $current 2>/dev/null
    end
end
complete -c testbed -f -k -a '(__testbed_complete)'
