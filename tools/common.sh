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
  # The command may be a function, which would read these instead of variables of its own that have their names.
  local phase_name=$1 phase_start=$EPOCHREALTIME phase_status=0 phase_seconds
  shift
  say "$phase_name"
  "$@" || phase_status=$?
  phase_seconds=$(awk -v a="$phase_start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  if [ "$phase_status" -ne 0 ]; then
    printf '%s: %s failed after %s s (exit status %s)\n' "$program" "$phase_name" "$phase_seconds" "$phase_status" >&2
    exit "$phase_status"
  fi
  phase_times+=("$(printf '%9s s  %s' "$phase_seconds" "$phase_name")")
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
