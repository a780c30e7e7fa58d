# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_holdfast_global_optspecs
    string join \n config= json h/help V/version
end

function __fish_holdfast_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_holdfast_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_holdfast_using_subcommand
    set -l cmd (__fish_holdfast_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c holdfast -n "__fish_holdfast_needs_command" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_needs_command" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_needs_command" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_needs_command" -s V -l version -d 'Print version'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "run" -d 'Run the server in the foreground'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "check" -d 'Check the configuration and the own zones without running anything'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "status" -d 'Show the state of the running server'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "top" -d 'Watch the running server: rates, mirrors, who asks most and what is asked most'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "mirror" -d 'Look at the mirrors of the running server and command them'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "cache" -d 'Look at the answer cache of the running server, or empty it'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "trace" -d 'Resolve a question in the running server and show the whole way to its answer, and why'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "readiness" -d 'Say which of the names that clients ask for would survive a national cut-off, which would not, why, and what would fix it'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "drill" -d 'Rehearse a cut-off'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "clock" -d 'Work on the floor that bounds the clock from below'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "zone" -d 'Work on zone files'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "convert" -d 'Make a configuration out of another program\'s'
complete -c holdfast -n "__fish_holdfast_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand check" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand status" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand top" -l every -d 'Seconds between two looks' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand top" -l count -d 'Stop after so many looks' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand top" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand top" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand top" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "list" -d 'List the mirrors and their state'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "show" -d 'List the stored versions of a mirror, newest first'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "refresh" -d 'Ask a mirror\'s sources now, and wait for the outcome'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "accept" -d 'Serve a version that a brake holds back'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "export" -d 'Write a stored version as a zone file; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "import" -d 'Take up a zone file: it is verified and weighed like a version from a source; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "diff" -d 'Show what differs between two stored versions; held and refused ones can be looked at too'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "rollback" -d 'Serve an older version'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and not __fish_seen_subcommand_from list show refresh accept export import diff rollback help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from list" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from list" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from show" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from show" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from refresh" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from refresh" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from refresh" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from accept" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from accept" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from accept" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from export" -l serial -d 'The version [default: the current one]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from export" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from export" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from import" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from import" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from diff" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from diff" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from rollback" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from rollback" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from rollback" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the mirrors and their state'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "show" -d 'List the stored versions of a mirror, newest first'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "refresh" -d 'Ask a mirror\'s sources now, and wait for the outcome'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "accept" -d 'Serve a version that a brake holds back'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write a stored version as a zone file; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "import" -d 'Take up a zone file: it is verified and weighed like a version from a source; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "diff" -d 'Show what differs between two stored versions; held and refused ones can be looked at too'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "rollback" -d 'Serve an older version'
complete -c holdfast -n "__fish_holdfast_using_subcommand mirror; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and not __fish_seen_subcommand_from stats flush help" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and not __fish_seen_subcommand_from stats flush help" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and not __fish_seen_subcommand_from stats flush help" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and not __fish_seen_subcommand_from stats flush help" -f -a "stats" -d 'Show how full it is and how often it helped'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and not __fish_seen_subcommand_from stats flush help" -f -a "flush" -d 'Forget what was learned about a name: answers, delegations, failures, keys; "." forgets everything'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and not __fish_seen_subcommand_from stats flush help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from stats" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from stats" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from flush" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from flush" -l tree -d 'Everything below it, too'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from flush" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from flush" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from help" -f -a "stats" -d 'Show how full it is and how often it helped'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from help" -f -a "flush" -d 'Forget what was learned about a name: answers, delegations, failures, keys; "." forgets everything'
complete -c holdfast -n "__fish_holdfast_using_subcommand cache; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand trace" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand trace" -l cd -d 'Show bogus data too (CD)'
complete -c holdfast -n "__fish_holdfast_using_subcommand trace" -l no-cache -d 'Ask with an empty memory, beside the one that clients use'
complete -c holdfast -n "__fish_holdfast_using_subcommand trace" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand trace" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand readiness" -l names -d 'Judge the names of this file (one per line, with a type where it is not A; - for standard input) instead of what clients ask' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand readiness" -l set -d 'What stays reachable: `domestic`, or a set of [reachability.sets]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand readiness" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand readiness" -l html -d 'Print one HTML page, complete in itself'
complete -c holdfast -n "__fish_holdfast_using_subcommand readiness" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand readiness" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and not __fish_seen_subcommand_from start stop report help" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and not __fish_seen_subcommand_from start stop report help" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and not __fish_seen_subcommand_from start stop report help" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and not __fish_seen_subcommand_from start stop report help" -f -a "start" -d 'Begin a drill: clients are answered as if this were cut off, with --shadow only judged so'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and not __fish_seen_subcommand_from start stop report help" -f -a "stop" -d 'End the drill'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and not __fish_seen_subcommand_from start stop report help" -f -a "report" -d 'Show what the drill has shown so far, or the last one'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and not __fish_seen_subcommand_from start stop report help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l zone -d 'Cut off the servers of this zone' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l prefix -d 'Cut off these prefixes: a set of [reachability.sets], a file, or prefixes with commas between them' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l set -d 'What stays reachable with --isolation: `domestic`, or a set of [reachability.sets]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l for -d 'End by itself after this time' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l abort-at -d 'Give up when so many more of the questions fail than before' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l isolation -d 'Cut off everything but the domestic prefixes'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l shadow -d 'Judge clients\' questions beside the true answers, which stay as they are'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from stop" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from stop" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from report" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from report" -l html -d 'Print one HTML page, complete in itself'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from report" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "start" -d 'Begin a drill: clients are answered as if this were cut off, with --shadow only judged so'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "stop" -d 'End the drill'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "report" -d 'Show what the drill has shown so far, or the last one'
complete -c holdfast -n "__fish_holdfast_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and not __fish_seen_subcommand_from reset help" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and not __fish_seen_subcommand_from reset help" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and not __fish_seen_subcommand_from reset help" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and not __fish_seen_subcommand_from reset help" -f -a "reset" -d 'Clear a floor that a clock has left behind that once ran ahead; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and not __fish_seen_subcommand_from reset help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and __fish_seen_subcommand_from reset" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and __fish_seen_subcommand_from reset" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and __fish_seen_subcommand_from help" -f -a "reset" -d 'Clear a floor that a clock has left behind that once ran ahead; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand clock; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and not __fish_seen_subcommand_from verify help" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and not __fish_seen_subcommand_from verify help" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and not __fish_seen_subcommand_from verify help" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and not __fish_seen_subcommand_from verify help" -f -a "verify" -d 'Verify a whole signed zone: keys, signatures, denial chain, ZONEMD'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and not __fish_seen_subcommand_from verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and __fish_seen_subcommand_from verify" -l at -d 'Verify as of this time: 2026-08-01T12:00:00Z, 20260801120000 or @SECONDS [default: now]' -r
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and __fish_seen_subcommand_from verify" -l anchor -d 'DS or DNSKEY records to trust [default: those of --config if given, else the built-in ones]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and __fish_seen_subcommand_from verify" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Verify a whole signed zone: keys, signatures, denial chain, ZONEMD'
complete -c holdfast -n "__fish_holdfast_using_subcommand zone; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and not __fish_seen_subcommand_from unbound help" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and not __fish_seen_subcommand_from unbound help" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and not __fish_seen_subcommand_from unbound help" -s h -l help -d 'Print help'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and not __fish_seen_subcommand_from unbound help" -f -a "unbound" -d 'Print an unbound.conf as a config.toml'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and not __fish_seen_subcommand_from unbound help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and __fish_seen_subcommand_from unbound" -l zones -d 'Write zone files for local-zone and local-data into this directory [default: these are left out]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and __fish_seen_subcommand_from unbound" -l config -d 'Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml]' -r -F
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and __fish_seen_subcommand_from unbound" -l json -d 'Print JSON instead of text'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and __fish_seen_subcommand_from unbound" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and __fish_seen_subcommand_from help" -f -a "unbound" -d 'Print an unbound.conf as a config.toml'
complete -c holdfast -n "__fish_holdfast_using_subcommand convert; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "run" -d 'Run the server in the foreground'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "check" -d 'Check the configuration and the own zones without running anything'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "status" -d 'Show the state of the running server'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "top" -d 'Watch the running server: rates, mirrors, who asks most and what is asked most'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "mirror" -d 'Look at the mirrors of the running server and command them'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "cache" -d 'Look at the answer cache of the running server, or empty it'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "trace" -d 'Resolve a question in the running server and show the whole way to its answer, and why'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "readiness" -d 'Say which of the names that clients ask for would survive a national cut-off, which would not, why, and what would fix it'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "drill" -d 'Rehearse a cut-off'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "clock" -d 'Work on the floor that bounds the clock from below'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "zone" -d 'Work on zone files'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "convert" -d 'Make a configuration out of another program\'s'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and not __fish_seen_subcommand_from run check status top mirror cache trace readiness drill clock zone convert help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "list" -d 'List the mirrors and their state'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "show" -d 'List the stored versions of a mirror, newest first'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "refresh" -d 'Ask a mirror\'s sources now, and wait for the outcome'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "accept" -d 'Serve a version that a brake holds back'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "export" -d 'Write a stored version as a zone file; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "import" -d 'Take up a zone file: it is verified and weighed like a version from a source; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "diff" -d 'Show what differs between two stored versions; held and refused ones can be looked at too'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from mirror" -f -a "rollback" -d 'Serve an older version'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from cache" -f -a "stats" -d 'Show how full it is and how often it helped'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from cache" -f -a "flush" -d 'Forget what was learned about a name: answers, delegations, failures, keys; "." forgets everything'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "start" -d 'Begin a drill: clients are answered as if this were cut off, with --shadow only judged so'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "stop" -d 'End the drill'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "report" -d 'Show what the drill has shown so far, or the last one'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from clock" -f -a "reset" -d 'Clear a floor that a clock has left behind that once ran ahead; works without a running server too'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from zone" -f -a "verify" -d 'Verify a whole signed zone: keys, signatures, denial chain, ZONEMD'
complete -c holdfast -n "__fish_holdfast_using_subcommand help; and __fish_seen_subcommand_from convert" -f -a "unbound" -d 'Print an unbound.conf as a config.toml'
