#!/usr/bin/env bash
# Quiet cores for Bot4: prints, applies or undoes the tuning of this host. `bot4-doctor` tells what is worth doing.
#
#   tools/cpu_pin.sh [print]  [--cores LIST]   what would be done, nothing is touched (the default)
#   tools/cpu_pin.sh apply    [--cores LIST]   do what can be done while the machine runs; each old value is kept first
#   tools/cpu_pin.sh undo                      put every old value back
#
# LIST: the cores that shall be quiet, like 2-5,7; by default all but the first. What only the boot loader can do
# (isolcpus, nohz_full, rcu_nocbs) is printed, never written. Exit codes: 0 done, 1 something could not be done (said
# line by line), 2 wrong usage. BOT4_HOST_ROOT is put before /proc, /sys and /run, for rehearsals.
set -euo pipefail

root="${BOT4_HOST_ROOT:-}"
undo_file="$root/run/bot4-cpu-pin.undo"
failures=0

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; }
die() { echo "cpu_pin.sh: $*" >&2; exit 2; }

# 2-5,7 -> 2 3 4 5 7
expand() {
    local part
    for part in ${1//,/ }; do
        [[ $part =~ ^[0-9]+(-[0-9]+)?$ ]] || die "--cores $1: write a list like 2-5,7"
        seq "${part%-*}" "${part#*-}"
    done
}

# 2 3 4 5 7 -> 2-5,7
shorten() {
    local core first="" last="" out=""
    for core in $(printf '%s\n' "$@" | sort -nu) end; do
        if [[ -n $last && $core != end && $core -eq $((last + 1)) ]]; then last=$core; continue; fi
        if [[ -n $first ]]; then
            if [[ $first == "$last" ]]; then out+=",$first"; else out+=",$first-$last"; fi
        fi
        first=$core last=$core
    done
    echo "${out#,}"
}

read_value() { cat "$1" 2>/dev/null || true; }

# Set FILE to VALUE: `print` says so, `apply` keeps the old value and does it. A value may be shown as one of several,
# as in "always [madvise] never".
set_value() {
    local file=$1 value=$2 old
    old=$(read_value "$root$file")
    if [[ $old == *"["*"]"* ]]; then old=${old#*[}; old=${old%%]*}; fi
    if [[ $old == "$value" ]]; then echo "  ok        $file is $value"; return; fi
    if [[ $action == print ]]; then echo "  would set $file: $old -> $value"; return; fi
    keep "file" "$file" "$old"
    if { echo "$value" > "$root$file"; } 2>/dev/null; then
        echo "  set       $file: $old -> $value"
    else
        cannot "$file: this machine or user does not allow it"
    fi
}

keep() {
    mkdir -p "$root/run" 2>/dev/null || true
    if ! grep -qsF "$1	$2	" "$undo_file" && ! { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >> "$undo_file"; } 2>/dev/null; then
        echo "  CANNOT    keep the old value in $undo_file (run as root): nothing is changed" >&2
        exit 1
    fi
}

cannot() { echo "  CANNOT    $*"; failures=$((failures + 1)); }

present() {
    local file
    for file in "$@"; do [[ -e $file ]] && return 0; done
    return 1
}

# --- the command line ---------------------------------------------------------------------------------------------
action=print cores=""
while [[ $# -gt 0 ]]; do
    case $1 in
        print | apply | undo) action=$1 ;;
        --cores) [[ $# -ge 2 ]] || die "--cores: a list is missing"; cores=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        *) die "$1: not known; see --help" ;;
    esac
    shift
done

if [[ $action == undo ]]; then
    [[ -s $undo_file ]] || { echo "nothing to undo: $undo_file is not there"; exit 0; }
    left=""
    while IFS=$'\t' read -r kind target old; do
        if [[ $kind == file && $(read_value "$root$target") == "$old" ]]; then
            echo "  ok        $target is $old"
        elif [[ $kind == file ]] && { echo "$old" > "$root$target"; } 2>/dev/null; then
            echo "  restored  $target: $old"
        elif [[ $kind == task ]] && { [[ ! -d $root/proc/$target ]] || taskset -pc "$old" "$target" > /dev/null 2>&1; }; then
            echo "  restored  process $target: cores $old"
        else
            cannot "$target: $old"
            left+="$kind	$target	$old"$'\n'
        fi
    done < "$undo_file"
    if [[ -n $left ]]; then printf '%s' "$left" > "$undo_file"; else rm -f "$undo_file"; fi
    exit $((failures > 0))
fi

present_cores=$(read_value "$root/sys/devices/system/cpu/present")
[[ -n $present_cores ]] || die "$root/sys/devices/system/cpu/present cannot be read"
mapfile -t all < <(expand "$present_cores")
if [[ -n $cores ]]; then
    chosen=$(expand "$cores") || exit 2
    mapfile -t quiet <<< "$chosen"
else
    quiet=("${all[@]:1}")
fi
[[ ${#quiet[@]} -gt 0 ]] || die "this machine has one core: nothing can be kept free for Bot4"
house=()
for core in "${quiet[@]}"; do
    [[ " ${all[*]} " == *" $core "* ]] || die "--cores: this machine has no core $core (it has $present_cores)"
done
for core in "${all[@]}"; do
    [[ " ${quiet[*]} " == *" $core "* ]] || house+=("$core")
done
[[ ${#house[@]} -gt 0 ]] || die "--cores: leave at least one core to the rest of the machine"
quiet_list=$(shorten "${quiet[@]}") house_list=$(shorten "${house[@]}")

# --- what is done -------------------------------------------------------------------------------------------------
echo "cores $quiet_list for Bot4, $house_list for everything else"

echo "kernel command line (by hand: GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub and reboot)"
line=$(read_value "$root/proc/cmdline")
for wanted in "isolcpus=managed_irq,domain,$quiet_list" "nohz_full=$quiet_list" "rcu_nocbs=$quiet_list"; do
    if [[ " $line " == *" $wanted "* ]]; then echo "  ok        $wanted"; else echo "  add       $wanted"; fi
done

echo "SMT siblings (a spinning worker slows the one beside it)"
found=0
for core in "${quiet[@]}"; do
    siblings=$(read_value "$root/sys/devices/system/cpu/cpu$core/topology/thread_siblings_list")
    if [[ $siblings == *[,-]* ]]; then echo "  mind      core $core shares its execution units: $siblings"; found=1; fi
done
[[ $found == 1 ]] || echo "  ok        none are visible"

echo "frequency governor"
if present "$root"/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; then
    for core in "${quiet[@]}"; do set_value "/sys/devices/system/cpu/cpu$core/cpufreq/scaling_governor" performance; done
else
    echo "  nothing   the frequency is not ours to set (a virtual machine, or no driver)"
fi

echo "transparent huge pages"
if [[ -e $root/sys/kernel/mm/transparent_hugepage/enabled ]]; then
    set_value /sys/kernel/mm/transparent_hugepage/enabled madvise
else
    echo "  nothing   this kernel has none"
fi

echo "interrupts"
if present "$root"/proc/irq/*/smp_affinity_list; then
    for file in "$root"/proc/irq/*/smp_affinity_list; do
        now=$(read_value "$file")
        [[ -n $now ]] || continue
        busy=0
        for core in $(expand "$now"); do [[ " ${quiet[*]} " == *" $core "* ]] && busy=1; done
        if [[ $busy == 1 ]]; then set_value "${file#"$root"}" "$house_list"; fi
    done
    echo "  ok        every other interrupt is on $house_list (irqbalance would move them back: stop it)"
else
    echo "  nothing   no interrupt can be seen"
fi

echo "running workers"
found=0 next=0
for comm in "$root"/proc/[0-9]*/comm; do
    name=$(read_value "$comm")
    [[ $name == bot4-* && $name != bot4-template ]] || continue
    found=1
    pid=$(basename "$(dirname "$comm")")
    now=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$root/proc/$pid/status" 2>/dev/null || true)
    if [[ $now =~ ^[0-9]+$ ]]; then echo "  ok        $name (pid $pid) is pinned to core $now"; continue; fi
    core=${quiet[$((next % ${#quiet[@]}))]}
    next=$((next + 1))
    if [[ $action == print ]]; then
        echo "  would run taskset -pc $core $pid   # $name, now on $now"
    else
        keep task "$pid" "$now"
        if taskset -pc "$core" "$pid" > /dev/null 2>&1; then
            echo "  set       $name (pid $pid): cores $now -> $core"
        else
            cannot "taskset -pc $core $pid"
        fi
    fi
done
[[ $found == 1 ]] || echo "  nothing   none run; a worker pins itself as config/topology.toml says"

if [[ $action == apply && -s $undo_file ]]; then echo "undo with: $0 undo"; fi
exit $((failures > 0))
