# Sourced by quickstart, check and the scripts beside this one: where the repository is, and phases with their times.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
program=$(basename "$0")

say() { printf '%s: %s\n' "$program" "$*"; }
fail() {
  printf '%s: %s\n' "$program" "$*" >&2
  exit 1
}

# The processors this process may use, but no more than one per GiB of memory: a unit with LibTorch's headers takes one.
job_count() {
  local processors gib
  processors=$(nproc)
  gib=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo 2>/dev/null || true)
  [ "${gib:-0}" -ge 1 ] || gib=1
  echo $((processors < gib ? processors : gib))
}

# phase NAME COMMAND...: runs it and says how long it took; a failure ends the script with the command's exit status.
phase_times=()
phase() {
  local name=$1 start=$EPOCHREALTIME status=0 seconds
  shift
  say "$name"
  "$@" || status=$?
  seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  if [ "$status" -ne 0 ]; then
    printf '%s: %s failed after %s s (exit status %s)\n' "$program" "$name" "$seconds" "$status" >&2
    exit "$status"
  fi
  phase_times+=("$(printf '%9s s  %s' "$seconds" "$name")")
}
print_phases() {
  say "time by phase"
  printf '%s\n' "${phase_times[@]}"
}

# quietly LOG COMMAND...: keeps the output in a file, and shows its end when the command fails.
quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 || {
    local status=$?
    tail -n 30 "$log" >&2
    return "$status"
  }
}

configure() { quietly "build/$1-configure.log" cmake --preset "$1"; }
build() {
  local preset=$1
  shift
  cmake --build "build/$preset" --parallel "$(job_count)" "$@"
}
run_ctest() {
  local preset=$1
  shift
  ctest --test-dir "build/$preset" --parallel "$(job_count)" --output-on-failure --no-tests=error "$@"
}
