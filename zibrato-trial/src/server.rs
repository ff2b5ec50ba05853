//! Server programs, started and stopped as a test needs them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::installed::find;
use crate::until::until;

/// How long a server may take to end after TERM.
const ENDING: Duration = Duration::from_secs(20);
const LOG: &str = "server.log";

type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a server is started with. Its working directory is a temporary one, where its files are.
pub struct Setup {
    program: OsString,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: Arc<TempDir>,
    ready: Ready,
}

/// A server that runs on loopback; it is killed when it is dropped.
pub struct Server {
    setup: Setup,
    child: Option<Child>,
}

impl Server {
    /// Prepares to run a program: a path, or a name to be found as shells do, or where Debian has daemons.
    ///
    /// # Panics
    /// When no directory can be made for it.
    #[expect(clippy::new_ret_no_self, reason = "a server is one that runs")]
    pub fn new(program: impl AsRef<OsStr>) -> Setup {
        let name = program.as_ref();
        let found = name.to_str().and_then(find).map_or_else(|| name.to_owned(), Into::into);
        Setup {
            program: found,
            args: Vec::new(),
            variables: Vec::new(),
            directory: Arc::new(tempfile::Builder::new().prefix("zibrato-trial-").tempdir().unwrap()),
            ready: Arc::new(|| Ok(())),
        }
    }

    /// Starts it again, after [`stop`](Server::stop) or [`kill`](Server::kill): with the same ports and files. Waits
    /// until it is ready.
    ///
    /// # Panics
    /// When it runs already, ends instead of starting, or is not ready in time: with what it logged last.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let setup = &self.setup;
        let log = File::options().create(true).append(true).open(self.directory().join(LOG)).unwrap();
        let child = Command::new(&setup.program)
            .args(&setup.args)
            .envs(setup.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let child =
            child.unwrap_or_else(|why| panic!("{} cannot be started: {why}", setup.program.display()));
        self.child = Some(child);
        let ready = setup.ready.clone();
        let name = self.setup.program.display().to_string();
        until(&format!("{name} is ready"), || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if let Some(status) = ended {
                panic!("{name} has ended ({status}); it said: {}", last_lines(&self.log()));
            }
            ready().map_err(|why| format!("{why}; it said: {}", last_lines(&self.log())))
        });
    }

    /// Ends it with TERM, or KILL where that does not help, and waits until it is gone.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let mut child = self.child.take()?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status);
            }
            if began.elapsed() > ENDING {
                child.kill().unwrap();
                return child.wait().ok();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it with KILL, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only where it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops its threads with STOP: connections are taken by the kernel and nothing answers, as on a machine that
    /// hangs.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Server::pause).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends it any signal, if it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let id = Pid::from_child(child);
            kill_process(id, signal).unwrap();
        }
    }

    /// Its process, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything it has printed, of all starts.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.directory().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its working directory, which is removed with it.
    pub fn directory(&self) -> &Path {
        self.setup.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let log = self.log();
        self.kill();
        if std::thread::panicking() {
            eprintln!("{} said last: {}", self.setup.program.display(), last_lines(&log));
        }
    }
}

impl Setup {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Setup::arg)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Lets Debian's own Python run, where the program is one of Debian's in Python and users have another.
    #[must_use]
    pub fn debian_python(self) -> Self {
        self.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// Writes a file into its directory, and the directories above it.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.directory().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Its working directory, for configurations that want whole paths.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How to tell that it is ready: the text says what is not.
    #[must_use]
    pub fn ready(mut self, ready: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.ready = Arc::new(ready);
        self
    }

    /// It is ready when it takes connections on this port.
    #[must_use]
    pub fn ready_when_listening(self, port: u16) -> Self {
        self.ready(move || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|why| format!("port {port}: {why}"))
        })
    }

    /// It is ready when it has printed this.
    #[must_use]
    pub fn ready_when_it_says(self, text: &str) -> Self {
        let (text, log) = (text.to_owned(), self.directory().join(LOG));
        self.ready(move || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.contains(&text).then_some(()).ok_or_else(|| format!("it has not said {text:?}"))
        })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start(self) -> Server {
        let mut server = Server { setup: self, child: None };
        server.start();
        server
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.len().saturating_sub(30);
    format!("\n{}", lines[from..].join("\n"))
}
