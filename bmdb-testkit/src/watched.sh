# Runs a server ("$@") until standard input ends, which is when the process that holds the other
# end of the pipe lets go or dies by whatever death; then stops the server and removes its folder.
# Being the server's parent, this shell can signal it without hitting a reused process id.
folder=$1
shift
trap '' HUP INT TERM
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
(
    read -r _ <&3
    kill -QUIT "$server"
) &
reader=$!
exec 3<&-
wait "$server"
code=$?
kill -KILL "$reader" 2>/dev/null
rm -rf "$folder"
exit "$code"
