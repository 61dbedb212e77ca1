# Waits until the process that owns the server is gone, then stops the server and removes its directory.
# Our standard input is a pipe whose other end only the owner holds: the kernel closes it however the owner dies.
trap '' HUP INT TERM
dir=$1
while read -r word; do
  [ "$word" = keep ] && exit 0
done

# The owner may have died between starting the server and the server's writing its pid file.
turn=0
while [ -e "$dir/starting" ] && [ ! -s "$dir/data/postmaster.pid" ] && [ $turn -lt 30 ]; do
  sleep 0.1
  turn=$((turn + 1))
done

# A pid alone proves nothing, for it may have been given to another process: its arguments must name our directory.
ours() {
  { tr '\000' ' ' <"/proc/$1/cmdline" || ps -o args= -p "$1"; } 2>/dev/null | grep -qF -- "$dir/data"
}

pid=
[ -s "$dir/data/postmaster.pid" ] && read -r pid <"$dir/data/postmaster.pid"
if [ -n "$pid" ] && ours "$pid"; then
  kill -QUIT "$pid" 2>/dev/null
  turn=0
  while ours "$pid" && [ $turn -lt 100 ]; do
    sleep 0.1
    turn=$((turn + 1))
  done
  ours "$pid" && kill -KILL "$pid" 2>/dev/null
fi

# Processes that are just ending may still write, so one removal is not always enough.
turn=0
while [ -d "$dir" ] && [ $turn -lt 50 ]; do
  rm -rf -- "$dir" 2>/dev/null
  [ -d "$dir" ] && sleep 0.2
  turn=$((turn + 1))
done
