//! What Linux says of the machine.

use std::fs;
use std::path::Path;

/// Devicetree Specification 0.4, 2.3.1: the names of the machine, the most general, its chip's, last, each with a zero behind it.
const COMPATIBLE: &str = "/proc/device-tree/compatible";
/// Linux, `Documentation/admin-guide/pm/cpufreq.rst`: a folder for cores that share a clock.
const CLOCKS: &str = "/sys/devices/system/cpu/cpufreq";

/// The chip as the device tree calls it, without its maker; empty where there is none.
pub fn chip() -> String {
    let names = fs::read(COMPATIBLE).unwrap_or_default();
    let names = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let name = String::from_utf8_lossy(names.last().unwrap_or_default()).into_owned();
    name.split_once(',')
        .map_or(name.clone(), |(_, chip)| chip.to_owned())
}

/// The highest clock of the fastest cores; 0 where Linux does not say.
pub fn clock_hz() -> u32 {
    let folders = fs::read_dir(CLOCKS).into_iter().flatten().flatten();
    let highest = folders.filter_map(|folder| kilohertz(&folder.path().join("cpuinfo_max_freq")));
    highest
        .max()
        .and_then(|kilohertz| kilohertz.checked_mul(1000))
        .unwrap_or(0)
}

fn kilohertz(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
