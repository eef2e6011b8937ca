#!/bin/sh
# Pretends to start an agent on a machine, as a provider's API or an SSH login would: it takes 5 to
# 40 ms, or 5 s for two machines of a hundred, and fails for some, always or the first two times.
# A checksum of the provider's id decides, so a machine behaves the same way at every attempt.
# Prints the agent's public key; on failure the last line of standard error says why.
set -eu

sum=$(printf '%s' "$BMDB_PROVIDER_ID" | cksum)
sum=${sum%% *}

case $((sum % 100)) in
0 | 1) sleep 5 ;;
*) sleep "$(printf '0.%03d' $((5 + sum / 100 % 36)))" ;;
esac

case $((sum % 100)) in
2 | 3 | 4)
    echo "no answer on port 22" >&2
    exit 1
    ;;
5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14)
    if [ "$BMDB_ATTEMPT" -le 2 ]; then
        echo "connection reset by peer (attempt $BMDB_ATTEMPT)" >&2
        exit 1
    fi
    ;;
esac

printf 'agent-key-%s-%s\n' "$BMDB_MACHINE_ID" "$BMDB_FENCE"
