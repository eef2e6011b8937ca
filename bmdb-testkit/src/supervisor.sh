# Runs a server ("$@" after two words) for as long as anybody holds its lease, the named pipe that is
# standard input; then stops it and removes its folder. Being the server's parent, this shell can
# signal it without hitting a reused process id.
#
# $1: the server's folder; $2: how many seconds to stay when the last holder is gone, 0 for a server
# that nobody else can join.
folder=$1
linger=$2
shift 2
trap '' HUP INT TERM
exec 3<&0 </dev/null
# Where the kernel can do it, the server goes at once with this shell, should that be killed.
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
        # From here on nobody can join. Whoever did so before has left a line, or is about to.
        mv "$folder/lease" "$folder/closed" || break
        read -r _ <&3 || break
        mv "$folder/closed" "$folder/lease"
    done
    # From here on there is nobody to start it again.
    rm -f "$folder/keep"
    # More than once: a server that has just been started is still deaf. The other shell kills this
    # one when its child, the server, has ended. Should that shell have been killed, the process id
    # may be somebody else's by now; but a server that has ended removes the file with its own.
    for _ in 1 2 3 4 5; do
        kill -0 $$ || { read -r pid <"$folder/data/postmaster.pid" && [ "$pid" = "$server" ]; } || break
        kill -QUIT "$server"
        { sleep 0.2 || sleep 1; } 3<&-
        [ -e "$folder/data/postmaster.pid" ] || break
    done
    # Whatever it hangs on: nobody needs it any more.
    kill -0 $$ && kill -KILL "$server"
    rm -rf "$folder"
) 2>/dev/null &
reader=$!
exec 3<&-
wait "$server"
code=$?
kill -KILL "$reader" 2>/dev/null
# A server that is to be started again leaves its data.
[ -e "$folder/keep" ] || rm -rf "$folder"
exit "$code"
