# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_loopscope_global_optspecs
    string join \n token-file= ca-file= h/help V/version
end

function __fish_loopscope_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_loopscope_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_loopscope_using_subcommand
    set -l cmd (__fish_loopscope_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c loopscope -n "__fish_loopscope_needs_command" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_needs_command" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c loopscope -n "__fish_loopscope_needs_command" -s V -l version -d 'Print version'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "ls" -d 'List instrumented processes, and what their loops are doing now'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "top" -d 'Live view of loops in the terminal: lag, utilization, running callback, sites, pool, incidents'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "doctor" -d 'Diagnose a process: what is wrong with its loops, the evidence, and how to fix it'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "incidents" -d 'List incidents, or show one in full, including those of killed processes'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "flame" -d 'Write a flamegraph: time by loop, phase, callback site and span'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "serve" -d 'Serve all loops of this host over HTTP: metrics, service discovery, incidents, captures'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "threshold" -d 'Show or change the stall thresholds of a running program'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "healthy" -d 'Exit 0 if the agent is healthy (for health checks)'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "run" -d 'Run a Node program with loopscope: `loopscope run -- node app.js`'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "attach" -d 'Attach loopscope to a running Node program, even one that hangs'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "demo" -d 'Run a demo HTTP service under load, with faults on request'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "completions" -d 'Print a completion script for bash, zsh or fish'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "man" -d 'Print a manual page, or write all of them to a directory'
complete -c loopscope -n "__fish_loopscope_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c loopscope -n "__fish_loopscope_using_subcommand ls" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand ls" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand ls" -l workers -d 'Show each worker of runtimes with several workers'
complete -c loopscope -n "__fish_loopscope_using_subcommand ls" -l all -d 'Also list processes that exited while idle'
complete -c loopscope -n "__fish_loopscope_using_subcommand ls" -l json -d 'Print JSON instead of a table, always with all processes'
complete -c loopscope -n "__fish_loopscope_using_subcommand ls" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand top" -l every -d 'Time between two refreshes, 100ms or more' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand top" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand top" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand top" -l once -d 'Print the table once and end'
complete -c loopscope -n "__fish_loopscope_using_subcommand top" -l json -d 'With --once: print JSON instead of a table'
complete -c loopscope -n "__fish_loopscope_using_subcommand top" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand doctor" -l for -d 'How long to watch: 500ms, 10s, 2m' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand doctor" -l fail-on -d 'Exit with 4 if a finding is at least this urgent' -r -f -a "warning\t'Findings that users will notice, and worse'
critical\t'Only findings that users notice now'"
complete -c loopscope -n "__fish_loopscope_using_subcommand doctor" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand doctor" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand doctor" -l json -d 'Print JSON instead of text'
complete -c loopscope -n "__fish_loopscope_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l loop -d 'Only incidents of this loop, or of all workers of this runtime; the name is as in `ls`' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l since -d 'Only incidents that ended within this time: 10m, 2h' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l class -d 'Only incidents of this class; `starved` (`starved_of_cpu` in JSON) means the thread had no processor, not starvation of the loop' -r -f -a "computing\t''
waiting\t''
starved\t''
stopped\t''
suspended\t''
debugger\t''
unknown\t''
pool\t''"
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l last -d 'List at most this many, the newest' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l flame -d 'Write a flamegraph of the incident, or of all listed ones; the format follows the extension: svg, folded, pprof ...' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l trace -d 'Write a timeline of the incident as Chrome trace events, for Perfetto and speedscope' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l dir -d 'Read incidents from this directory, where an agent wrote them, instead of asking agents' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l all -d 'Also list the last activity of processes that exited without an incident'
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l json -d 'Print JSON instead of text: the incidents, and a summary by loop and site'
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -l all-frames -d 'Show every frame of the incident\'s stacks, without folding those of libraries'
complete -c loopscope -n "__fish_loopscope_using_subcommand incidents" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l for -d 'How long to watch: 500ms, 10s, 2m [default: 10s]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l of -d 'What to draw [default: callbacks]' -r -f -a "callbacks\t'Exact time in callbacks, the jobs drained after them, and the spans inside them'
cpu\t'Processor time, sampled'
stalls\t'Time in stalls beyond their threshold, sampled while they last'
waits\t'Time in which a busy loop\'s thread was asleep, sampled'"
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -s o -l output -d 'Output file, `-` for stdout [default: loopscope-PID.svg]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l format -d 'Output format [default: by the file\'s extension, else svg]' -r -f -a "svg\t'A picture for the browser: click to zoom, Ctrl-F to search'
folded\t'One line per stack, for other tools: `frame;frame;frame microseconds`'
pprof\t'For `go tool pprof`, Pyroscope, Parca'
speedscope\t'JSON for speedscope.app'
firefox\t'JSON for profiler.firefox.com'
trace\t'A timeline as Chrome trace events, for ui.perfetto.dev and speedscope.app'"
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l hz -d 'Samples per second, for --of cpu, stalls and waits [default: 99]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l loop -d 'Only the loop of this name, such as `worker`, or `worker#2` for the second of that name' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l diff -d 'Compare with this folded file: red takes more time than before, blue less' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l fail-above -d 'With --diff: exit with 4 if a callback site grew by more than this share of the larger total: 10%' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l incident -d 'Draw a past incident instead of watching: its id, `PID-NUMBER`' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l normalize -d 'With --diff: compare shares instead of times, as if both captures had the same total'
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -l json -d 'Print a summary as JSON on stdout'
complete -c loopscope -n "__fish_loopscope_using_subcommand flame" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l listen -d 'Address to listen on, port 0 for any free port, or unix:PATH [default: 127.0.0.1:9463, one below the agents\' ports]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l keep -d 'Retention of counters after a process exits: 500ms, 10s, 2m [default: 150s, enough for two scrapes a minute apart]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l dir -d 'Directory of pages, `*` matches any name; repeatable [default: this user\'s runtime directory]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l guard-token-file -d 'Token file: clients must send this bearer token for incidents and captures; required unless on loopback' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l host-name -d 'Host name that clients may use, besides IP addresses and localhost; repeatable' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l web-config -d 'TLS, users and headers, in the format of Prometheus\'s --web.config.file' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -l few-buckets -d 'Export histograms with 9 classic buckets instead of up to 25: a third to a half fewer samples'
complete -c loopscope -n "__fish_loopscope_using_subcommand serve" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand threshold" -l loop -d 'Only the loop of this name, such as `worker`, or `worker#2` for the second of that name' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand threshold" -l warning -d 'Stall threshold (warning): 2ms or more' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand threshold" -l critical -d 'Critical stall threshold' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand threshold" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand threshold" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand threshold" -l json -d 'Print JSON instead of a table'
complete -c loopscope -n "__fish_loopscope_using_subcommand threshold" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand healthy" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand healthy" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand healthy" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand run" -l listen -d 'Address of each process\'s agent: 127.0.0.1:9464, unix:/path or off [default: next free port from 127.0.0.1:9464]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand run" -l warning -d 'Stall threshold: how long a loop may go without polling; critical is ten times this. Replaces LOOPSCOPE_THRESHOLDS [default: 100ms]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand run" -l incidents-dir -d 'Also write every incident to this directory, for `loopscope incidents --dir`' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand run" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand run" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand run" -l quiet -d 'Do not print the address of each live page'
complete -c loopscope -n "__fish_loopscope_using_subcommand run" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand attach" -l listen -d 'Address of its agent: 127.0.0.1:9464, unix:/path or off [default: next free port from 127.0.0.1:9464]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand attach" -l warning -d 'Stall threshold: how long a loop may go without polling; critical is ten times this. LOOPSCOPE_THRESHOLDS of the program wins [default: 100ms]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand attach" -l incidents-dir -d 'Also write every incident to this directory, for `loopscope incidents --dir`' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand attach" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand attach" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand attach" -l detach -d 'Detach: remove the addon\'s hooks, page and agent'
complete -c loopscope -n "__fish_loopscope_using_subcommand attach" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l listen -d 'Address of the service; port 0 for any [default: next free port from 127.0.0.1:8080]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l metrics-listen -d 'Address of the agent, /metrics and more; port 0 for any [default: next free port from 127.0.0.1:9464]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l for -d 'Stop after this time: 500ms, 10s, 2m [default: at Ctrl-C]' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l trouble -d 'Fault to inject every two seconds' -r -f -a "none\t'Nothing'
block\t'One callback that computes for 300 ms'
microtasks\t'Microtasks that keep queueing themselves'
nexttick\t'Ticks that keep queueing themselves'
pool\t'More jobs than the thread pool can take'
timers\t'More timers than can be run in time'
mixed\t'All of these in turn'"
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l rate -d 'Requests per second that the demo sends to itself; 0 for none' -r
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l incidents-dir -d 'Also write every incident to this directory, for `loopscope incidents --dir`' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l node -d 'Run the service on the installed Node, with the addon, instead of on loopscope\'s own loop'
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -l quiet -d 'Do not print a line every second'
complete -c loopscope -n "__fish_loopscope_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c loopscope -n "__fish_loopscope_using_subcommand completions" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand completions" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c loopscope -n "__fish_loopscope_using_subcommand man" -s o -l output -d 'Write all pages to this directory; it is created if it does not exist' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand man" -l token-file -d 'Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand man" -l ca-file -d 'CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]' -r -F
complete -c loopscope -n "__fish_loopscope_using_subcommand man" -s h -l help -d 'Print help'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "ls" -d 'List instrumented processes, and what their loops are doing now'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "top" -d 'Live view of loops in the terminal: lag, utilization, running callback, sites, pool, incidents'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "doctor" -d 'Diagnose a process: what is wrong with its loops, the evidence, and how to fix it'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "incidents" -d 'List incidents, or show one in full, including those of killed processes'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "flame" -d 'Write a flamegraph: time by loop, phase, callback site and span'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "serve" -d 'Serve all loops of this host over HTTP: metrics, service discovery, incidents, captures'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "threshold" -d 'Show or change the stall thresholds of a running program'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "healthy" -d 'Exit 0 if the agent is healthy (for health checks)'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "run" -d 'Run a Node program with loopscope: `loopscope run -- node app.js`'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "attach" -d 'Attach loopscope to a running Node program, even one that hangs'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "demo" -d 'Run a demo HTTP service under load, with faults on request'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "completions" -d 'Print a completion script for bash, zsh or fish'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "man" -d 'Print a manual page, or write all of them to a directory'
complete -c loopscope -n "__fish_loopscope_using_subcommand help; and not __fish_seen_subcommand_from ls top doctor incidents flame serve threshold healthy run attach demo completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
