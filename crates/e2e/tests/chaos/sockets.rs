//! Other processes' sockets, from Linux's /proc/net.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result};

/// Returns the number of bytes that this process sent to a listener at this port, and that the listener has not read.
pub(crate) fn unread_at(port: u16) -> Result<u64> {
    let ours = own_sockets()?;
    let sockets = sockets()?;
    let our_ports: HashSet<u16> =
        sockets.iter().filter(|one| one.remote == port && ours.contains(&one.inode)).map(|one| one.local).collect();
    let unread = sockets.iter().filter(|one| one.local == port && our_ports.contains(&one.remote));
    Ok(unread.map(|one| one.unread).sum())
}

/// Returns the number of connections from this process to a listener at this port.
pub(crate) fn connections_to(port: u16) -> Result<usize> {
    const ESTABLISHED: u8 = 1;
    let ours = own_sockets()?;
    let is_one = |one: &&Socket| one.remote == port && one.state == ESTABLISHED && ours.contains(&one.inode);
    Ok(sockets()?.iter().filter(is_one).count())
}

struct Socket {
    local: u16,
    remote: u16,
    state: u8,
    unread: u64,
    inode: u64,
}

fn sockets() -> Result<Vec<Socket>> {
    // Java uses IPv6 sockets even for IPv4.
    let tables = fs::read_to_string("/proc/net/tcp")? + &fs::read_to_string("/proc/net/tcp6")?;
    let lines = tables.lines().filter(|line| !line.contains("local_address"));
    lines.map(|line| socket(line).with_context(|| format!("/proc/net/tcp: {line:?}"))).collect()
}

/// Parses a line: number, local address, remote address, state, bytes unsent:unread, timer, retransmissions, user,
/// timeout, inode.
fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    Some(Socket {
        local: port(fields.get(1)?)?,
        remote: port(fields.get(2)?)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        unread: u64::from_str_radix(fields.get(4)?.split_once(':')?.1, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Returns the inodes of this process's sockets.
fn own_sockets() -> Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for descriptor in fs::read_dir("/proc/self/fd")? {
        // The descriptor may be closed by now.
        let Ok(target) = fs::read_link(descriptor?.path()) else { continue };
        let name = target.to_string_lossy();
        let inode = name.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(inodes)
}
