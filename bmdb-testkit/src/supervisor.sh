# Supervisor: runs a server as long as any process holds its lease, the named pipe that is standard
# input; then stops it and removes its folder. As the server's parent it can signal the server without
# the risk of a reused process id.
#
# $1: the server's folder; $2: how many seconds the server stays after the last holder is gone, 0 for a
# server that no other process can join; the rest: the server's command.
folder=$1
linger=$2
shift 2
trap '' HUP INT TERM
exec 3<&0 </dev/null
# If the kernel supports it, the server ends at once when this shell is killed.
if setpriv --pdeathsig QUIT true 2>/dev/null; then
    set -- setpriv --pdeathsig QUIT "$@"
fi
"$@" 3<&- &
server=$!
(
    while :; do
        while read -r _ <&3; do :; done
        [ "$linger" = 0 ] && break
        sleep "$linger" 3<&-
        # From here on no process can join. One that joined before has written a line, or is about to.
        mv "$folder/lease" "$folder/closed" || break
        read -r _ <&3 || break
        mv "$folder/closed" "$folder/lease"
    done
    # No process is left that could start it again.
    rm -f "$folder/keep"
    # More than once, because a server that has just started ignores the signal. The other shell kills
    # this one when its child, the server, has ended. If that shell was killed, the process id may have
    # been reused; but a server that has ended removes the file with its process id.
    for _ in 1 2 3 4 5; do
        kill -0 $$ || { read -r pid <"$folder/data/postmaster.pid" && [ "$pid" = "$server" ]; } || break
        kill -QUIT "$server"
        { sleep 0.2 || sleep 1; } 3<&-
        [ -e "$folder/data/postmaster.pid" ] || break
    done
    # It hangs, and no process needs it any more.
    kill -0 $$ && kill -KILL "$server"
    rm -rf "$folder"
) 2>/dev/null &
reader=$!
exec 3<&-
wait "$server"
code=$?
kill -KILL "$reader" 2>/dev/null
# The data of a server that may be started again stays.
[ -e "$folder/keep" ] || rm -rf "$folder"
exit "$code"
