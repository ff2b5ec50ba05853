//! Ports that nobody else uses.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Mutex;

/// Below those that Linux gives to outgoing connections, so that none of these takes one before its server does.
const FIRST: u16 = 20_000;
const LAST: u16 = 29_999;

/// Locks on what was given out, for as long as this process lives; tests run in several.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 that is free for TCP and UDP, and that no other test is given while this process lives.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let directory = directory();
    let mut taken = TAKEN.lock().unwrap();
    let count = u32::from(LAST - FIRST) + 1;
    let begin = std::process::id().wrapping_mul(97).wrapping_add(7 * taken.len() as u32);
    for step in 0..count {
        let port = FIRST + (begin.wrapping_add(step) % count) as u16;
        let file =
            File::options().create(true).write(true).truncate(false).open(directory.join(port.to_string()));
        let Ok(file) = file else { continue };
        if file.try_lock().is_err() || !is_free(port) {
            continue;
        }
        taken.push(file);
        return port;
    }
    panic!("no port from {FIRST} to {LAST} is free");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}

fn directory() -> PathBuf {
    let directory = std::env::temp_dir().join("zibrato-trial-ports");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|&port| is_free(port)));
    }
}
