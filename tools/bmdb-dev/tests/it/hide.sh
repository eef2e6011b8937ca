# Hides every PostgreSQL of this machine, in a mount namespace that is this process's own, and
# becomes the command it is given.
set -eu

for folder in /usr/lib/postgresql* /usr/libexec/postgresql* /usr/pgsql-* /usr/local/pgsql; do
    if [ -d "$folder" ]; then
        mount -t tmpfs -o mode=755 none "$folder"
    fi
done

# What lies in a folder with other programs is hidden by itself.
IFS=:
for folder in $PATH /run/current-system/sw/bin; do
    for program in postgres pg_config; do
        if [ -f "$folder/$program" ]; then
            mount --bind /dev/null "$folder/$program"
        fi
    done
done
unset IFS

exec "$@"
