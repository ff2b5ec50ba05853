//! The programs that are measured, each a process of its own.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client;

/// libzmq's proxy between PULL and PUB, without limits, so that nothing is dropped.
const PROXY: &str = "
import sys, zmq
context = zmq.Context()
pull, pub = context.socket(zmq.PULL), context.socket(zmq.PUB)
for number, socket in enumerate((pull, pub)):
    socket.sndhwm = socket.rcvhwm = 0
    socket.bind('tcp://127.0.0.1:%d' % (int(sys.argv[1]) + number))
zmq.proxy(pull, pub)
";

/// Where the broker takes lines of old publishers, and passes them on, counted from its first port.
pub(crate) const LINES_IN: u16 = 3;
pub(crate) const LINES_OUT: u16 = 4;

/// A running program; it ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn broker(program: &Path, more: &[&str]) -> io::Result<Server> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--state", "none"]);
        command.args(["--legacy-port", &(port + LINES_IN).to_string()]).args(more);
        Server::start(command, port)
    }

    pub(crate) fn proxy(python: &Path) -> io::Result<Server> {
        let port = free_port()?;
        let mut command = Command::new(python);
        command.args(["-c", PROXY, &port.to_string()]);
        Server::start(command, port)
    }

    fn start(mut command: Command, port: u16) -> io::Result<Server> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Server { child, port };
        let start = Instant::now();
        // The broker opens this port last.
        while client::connect(port, "PUSH", 1).is_err() || client::connect(port + 1, "SUB", 1).is_err() {
            if start.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other("the server did not come up"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Seconds of the processor's time that it has used.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
        // utime and stime; Linux counts in hundredths of a second.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Bytes of memory that it has now, and at most since the last [`forget_peak`](Self::forget_peak).
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default() * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    pub(crate) fn forget_peak(&self) {
        // Without it the peak is that of its whole life.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    pub(crate) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    loop {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        if port < u16::MAX - LINES_OUT
            && (port..=port + LINES_OUT).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok())
        {
            return Ok(port);
        }
    }
}
