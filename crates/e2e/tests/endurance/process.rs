//! Resources of this process, from Linux's /proc: memory, descriptors, threads.

use std::fs;

use anyhow::{Context, Result};

pub(crate) const MIB: u64 = 1024 * 1024;

/// Returns the resident memory.
pub(crate) fn resident_bytes() -> Result<u64> {
    status("VmRSS")
}

/// Returns the peak of the resident memory since [`forget_peak`].
pub(crate) fn peak_resident_bytes() -> Result<u64> {
    status("VmHWM")
}

pub(crate) fn forget_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("/proc/self/clear_refs")
}

/// Returns the number of open descriptors.
pub(crate) fn descriptors() -> Result<usize> {
    // Excludes the descriptor of this directory.
    Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1))
}

/// Returns the number of threads.
pub(crate) fn threads() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

fn status(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).with_context(|| format!("{name} in kB"))?;
    Ok(kib.parse::<u64>()? * 1024)
}
